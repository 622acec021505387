// SPDX-License-Identifier: Apache-2.0

// Package suite knows how a Ginkgo suite of this project is run: with the labels that were asked for, and with
// every skip reported beside its reason, so that a test that did not run is never taken for one that passed.
package suite

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	"github.com/onsi/gomega"
)

// Labels is the environment variable that holds a Ginkgo label filter ("!boot && !build"). `go test ./...` cannot
// pass -ginkgo.label-filter: packages without Ginkgo would refuse the flag.
const Labels = "MEWS_TEST_LABELS"

// NeedDocker is the environment variable that, where it is set, makes the want of a Docker daemon a failure.
const NeedDocker = "MEWS_NEED_DOCKER"

// Docker skips a spec that needs a Docker daemon where err says that none can be used, or fails it where somebody promised
// one. It does nothing for nil.
func Docker(err error) {
	ginkgo.GinkgoHelper()
	switch {
	case err == nil:
	case os.Getenv(NeedDocker) != "":
		ginkgo.Fail(fmt.Sprintf("no Docker daemon that can be used is here, and $%s promises one: %+v", NeedDocker, err))
	default:
		ginkgo.Skip("no Docker daemon that can be used is here: " + err.Error())
	}
}

// Marker starts the line that reports one spec, followed by a [Spec] as JSON.
const Marker = "mews-spec: "

// Spec is the outcome of one spec.
type Spec struct {
	Text   string `json:"text"`
	State  string `json:"state"` // passed, failed or skipped
	Reason string `json:"reason,omitempty"`
}

// Run runs the specs of the package under t.
func Run(t *testing.T, description string) {
	gomega.RegisterFailHandler(ginkgo.Fail)
	suite, reporter := ginkgo.GinkgoConfiguration()
	if suite.LabelFilter == "" {
		suite.LabelFilter = os.Getenv(Labels)
	}
	if suite.LabelFilter == "" && testing.Short() {
		suite.LabelFilter = "!boot && !build && !net"
	}
	if which := os.Getenv(Part); which != "" {
		files, err := part(".", which)
		if err != nil {
			t.Fatal(err)
		}
		suite.FocusFiles = files
	}
	ginkgo.ReportAfterSuite("outcomes", report)
	ginkgo.RunSpecs(t, description, suite, reporter)
}

// inBeforeAll is what Ginkgo says of the specs behind the one for which a container's BeforeAll skipped.
const inBeforeAll = "Spec skipped because Skip() was called in BeforeAll"

func report(r ginkgo.Report) {
	why := "" // the last skip was
	for _, s := range r.SpecReports {
		if s.LeafNodeType != types.NodeTypeIt {
			continue
		}
		spec := Spec{Text: s.FullText(), Reason: s.Failure.Message}
		switch {
		case s.State == types.SpecStatePassed:
			spec.State = "passed"
		case s.State == types.SpecStateSkipped && s.Failure.Message == "":
			continue // left out by the label filter: another invocation's business
		case s.State == types.SpecStateSkipped, s.State == types.SpecStatePending:
			spec.State = "skipped"
			switch spec.Reason {
			case "":
				spec.Reason = "pending"
			case inBeforeAll:
				spec.Reason = why
			}
			why = spec.Reason
		default:
			spec.State = "failed"
		}
		line, err := json.Marshal(spec)
		if err != nil {
			panic(err) // strings only: cannot fail
		}
		fmt.Printf("\n%s%s\n", Marker, line)
	}
}
