// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/mews-farm/mews/kernels/archive"
)

// The types of a provenance statement (github.com/in-toto/attestation, spec/v1; slsa.dev/provenance/v1). It is not signed: who
// trusts it trusts the store. A signature is a DSSE envelope around these very bytes, which anybody with a key can make.
const (
	StatementType = "https://in-toto.io/Statement/v1"
	PredicateType = "https://slsa.dev/provenance/v1"
	buildType     = "https://github.com/mews-farm/mews/builders/%s/v1"
	builderID     = "https://github.com/mews-farm/mews"
)

// Statement is an in-toto statement with SLSA's provenance of one artifact.
type Statement struct {
	Type          string     `json:"_type"`
	Subject       []Subject  `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     Provenance `json:"predicate"`
}

// Subject is what a statement is about.
type Subject struct {
	Name   string    `json:"name"`
	Digest DigestSet `json:"digest"`
}

// DigestSet maps an algorithm to a digest: sha256, or one of our own names where there is no digest of the content.
type DigestSet map[string]string

// Provenance says what was built, of what, and by whom.
type Provenance struct {
	BuildDefinition struct {
		BuildType            string         `json:"buildType"`
		ExternalParameters   map[string]any `json:"externalParameters"`
		InternalParameters   map[string]any `json:"internalParameters,omitempty"`
		ResolvedDependencies []Resource     `json:"resolvedDependencies"`
	} `json:"buildDefinition"`
	RunDetails struct {
		Builder struct {
			ID string `json:"id"`
		} `json:"builder"`
		Metadata   *RunTimes  `json:"metadata,omitempty"`
		Byproducts []Resource `json:"byproducts,omitempty"`
	} `json:"runDetails"`
}

// Resource is something that a build read or made.
type Resource struct {
	Name   string    `json:"name,omitempty"`
	Digest DigestSet `json:"digest,omitempty"`
}

// RunTimes says when a build ran.
type RunTimes struct {
	StartedOn  time.Time `json:"startedOn"`
	FinishedOn time.Time `json:"finishedOn"`
}

// statement is the provenance of what s describes, which is available; finished is the zero time when it is not known.
func statement(s *Sidecar, finished time.Time) *Statement {
	a := s.Artifact
	st := &Statement{
		Type: StatementType, PredicateType: PredicateType,
		Subject: []Subject{{Name: s.File, Digest: DigestSet{"sha256": string(a.SHA256)}}},
	}
	d := &st.Predicate.BuildDefinition
	d.BuildType = fmt.Sprintf(buildType, a.Variant)
	d.ExternalParameters = map[string]any{
		"driver_version": s.DriverVersion, "variant": a.Variant, "arch": s.Arch, "kernel": s.Kernel,
		"target": s.Target, "kernel_release": s.Release, "kernel_version": s.Version,
	}
	d.InternalParameters = map[string]any{"compiler": a.Compiler, "source_version": a.DriverVersion}
	if a.Substitution != nil {
		d.InternalParameters["substitution"] = a.Substitution
	}
	if len(a.Flags) > 0 {
		d.InternalParameters["flags"] = a.Flags
	}
	if s.Inputs != "" {
		d.InternalParameters["inputs"] = s.Inputs
	}
	d.ResolvedDependencies = []Resource{
		{Name: "driver source", Digest: DigestSet{"mewsTree": string(a.Source)}},
		{Name: "build root", Digest: DigestSet{"mewsRoot": a.Root}},
	}
	for _, h := range a.Headers {
		d.ResolvedDependencies = append(d.ResolvedDependencies, Resource{Name: "kernel package", Digest: DigestSet{"sha256": string(h)}})
	}
	for _, sum := range a.HeaderSums {
		algorithm, value, _ := strings.Cut(sum, ":")
		d.ResolvedDependencies = append(d.ResolvedDependencies, Resource{Name: "kernel package", Digest: DigestSet{algorithm: value}})
	}
	run := &st.Predicate.RunDetails
	run.Builder.ID = builderID
	if !finished.IsZero() {
		finished = finished.UTC().Truncate(time.Second)
		run.Metadata = &RunTimes{StartedOn: finished.Add(-time.Duration(a.Seconds * float64(time.Second))).Truncate(time.Second), FinishedOn: finished}
	}
	run.Byproducts = []Resource{{Name: "build log", Digest: DigestSet{"sha256": string(s.Log)}}}
	return st
}

// ParseStatement reads a provenance statement, which may come from anywhere, and returns what it says the digest of file is.
func ParseStatement(data []byte, file string) (archive.Digest, error) {
	if len(data) > maxSidecar {
		return "", fmt.Errorf("provenance of %d bytes, more than %d", len(data), maxSidecar)
	}
	var st Statement
	if err := json.Unmarshal(data, &st); err != nil {
		return "", fmt.Errorf("provenance: %w", err)
	}
	if st.Type != StatementType || st.PredicateType != PredicateType {
		return "", fmt.Errorf("provenance: %.100q with %.100q is no SLSA provenance v1", st.Type, st.PredicateType)
	}
	for _, s := range st.Subject {
		if d := archive.Digest(s.Digest["sha256"]); s.Name == file && d.Valid() {
			return d, nil
		}
	}
	return "", fmt.Errorf("provenance: not about %s", file)
}
