// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// SidecarSchema names the form of a [Sidecar]. Changes to it are additions only.
const SidecarSchema = "mews/artifact/v1"

// Supported says what a store has for one kernel and variant.
type Supported string

// What a store can say. Only Available stands for a driver that can be had.
const (
	Available   Supported = "available"   // built, and there
	Unavailable Supported = "unavailable" // cannot exist, for a known reason
	Failed      Supported = "failed"      // should exist; its build fell short
	Pending     Supported = "pending"     // promised by a sidecar, and not all of its kernel's artifacts are there: a publisher is at work, or died
	Missing     Supported = "missing"     // nobody said anything
)

// Sidecar is the JSON beside an artifact, or beside where it would be: everything known of how it came to be, or why it did not.
type Sidecar struct {
	Schema        string          `json:"schema"`
	File          string          `json:"file"` // base name in the store
	DriverVersion string          `json:"driver_version"`
	Arch          string          `json:"arch"`
	Names                         // target, kernel_release, kernel_version: as in File
	Variant       product.Variant `json:"variant"`
	Kernel        kernels.Kernel  `json:"kernel"` // as the catalogue knows it; its release is uname -r

	Supported Supported         `json:"supported"` // never Pending or Missing
	Reason    string            `json:"reason,omitempty"`
	Finding   *cause.Finding    `json:"finding,omitempty"`  // of what Failed
	Artifact  *product.Artifact `json:"artifact,omitempty"` // of what is Available
	Log       archive.Digest    `json:"log,omitempty"`      // of the build's log: logs/<digest>.log
	Inputs    string            `json:"inputs,omitempty"`   // digest of all that decided the build, as the grid computes it
}

// maxSidecar bounds a sidecar and a provenance statement, in bytes; those of Falco's module have 8 KB.
const maxSidecar = 2 << 20

// Key is where the sidecar belongs.
func (s *Sidecar) Key() Key {
	return Key{DriverVersion: s.DriverVersion, Arch: s.Arch, Kernel: s.Names, Variant: s.Variant}
}

// check reports what is missing of a sidecar, or contradicts itself.
func (s *Sidecar) check() error {
	if s.Schema != SidecarSchema {
		return fmt.Errorf("schema %.100q, not %s", s.Schema, SidecarSchema)
	}
	if err := s.Key().Check(); err != nil {
		return err
	}
	if f := s.Key().File(); s.File != f {
		return fmt.Errorf("file %.300q, not %s as its other fields say", s.File, f)
	}
	if s.Log != "" && !s.Log.Valid() {
		return fmt.Errorf("log %.100q is not a SHA-256", string(s.Log))
	}
	switch s.Supported {
	case Available:
		if s.Artifact == nil || s.Finding != nil || s.Reason != "" {
			return fmt.Errorf("available needs an artifact, and nothing else")
		}
		if s.Artifact.Variant != s.Variant || s.Artifact.Log != s.Log {
			return fmt.Errorf("its artifact is of another variant, or has another log")
		}
		return s.Artifact.Check()
	case Unavailable:
		if s.Reason == "" || s.Artifact != nil || s.Finding != nil {
			return fmt.Errorf("unavailable needs a reason, and nothing else")
		}
		return nil
	case Failed:
		if s.Finding == nil || s.Artifact != nil {
			return fmt.Errorf("failed needs a finding, and no artifact")
		}
		if s.Finding.State == cause.Pass {
			return fmt.Errorf("failed with a finding that is a pass")
		}
		return s.Finding.Check()
	}
	return fmt.Errorf("supported: %.100q is none of available, unavailable, failed", string(s.Supported))
}

// ParseSidecar reads a sidecar, which may come from anywhere.
func ParseSidecar(data []byte) (*Sidecar, error) {
	if len(data) > maxSidecar {
		return nil, fmt.Errorf("sidecar of %d bytes, more than %d", len(data), maxSidecar)
	}
	var s Sidecar
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("sidecar: %w", err)
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("sidecar: %w", err)
	}
	return &s, nil
}

// encode is the one form in which JSON is kept here: the same bytes for the same content, readable, without HTML's escapes.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(v); err != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "store: %w", err)
	}
	return b.Bytes(), nil
}

// logName is where the log of that digest lies.
func logName(d archive.Digest) string { return logsDir + "/" + string(d) + ".log" }
