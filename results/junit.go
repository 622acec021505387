// SPDX-License-Identifier: Apache-2.0

package results

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mews-farm/mews/results/cause"
)

// The elements and attributes that Jenkins' junit plugin reads, and no others.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Time       string          `xml:"time,attr"`
		Timestamp  string          `xml:"timestamp,attr,omitempty"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Classname string        `xml:"classname,attr"`
		Name      string        `xml:"name,attr"`
		Time      string        `xml:"time,attr"`
		Skipped   *junitMessage `xml:"skipped"`
		Error     *junitMessage `xml:"error"`
		Failure   *junitMessage `xml:"failure"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// RenderJUnit writes the run as JUnit XML: a suite for each cell, a case for each stage and scenario. Error
// and missing are <error>; skipped, unsupported and what was not reached are <skipped>.
func RenderJUnit(w io.Writer, r Run) error {
	r = r.Settled()
	all := junitSuites{Name: "mews " + r.Profile}
	var seconds float64
	for _, c := range r.Cells {
		s := junitCell(r, c)
		all.Suites = append(all.Suites, s)
		seconds += c.Seconds()
	}
	if len(r.Cells) == 0 {
		// A report without tests is green in most CI systems.
		s := junitSuite{Name: "plan", Time: secs(0)}
		s.add("plan", "cells", 0, NotRecorded(cause.Text("the run has no cells")...), "")
		all.Suites = append(all.Suites, s)
	}
	for _, s := range all.Suites {
		all.Tests, all.Failures, all.Errors = all.Tests+s.Tests, all.Failures+s.Failures, all.Errors+s.Errors
	}
	all.Time = secs(seconds)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(all); err != nil {
		return fmt.Errorf("writing JUnit XML: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func junitCell(r Run, c Cell) junitSuite {
	s := junitSuite{Name: c.ID, Time: secs(c.Seconds()), Properties: []junitProperty{
		{"kernel", c.Kernel.String()},
		{"arch", c.Kernel.Arch},
		{"driver", c.Driver.Name},
		{"variant", c.Driver.Variant},
		{"consumer", c.Driver.Consumer},
		{"accelerator", r.Host.Accelerator},
	}}
	for _, sc := range c.Scenarios {
		if sc.Repeats != nil {
			s.Properties = append(s.Properties, junitProperty{"same verdict: " + sc.Name, sc.Repeats.String()})
		}
	}
	if len(c.Stages) > 0 && !c.Stages[0].Started.IsZero() {
		s.Timestamp = c.Stages[0].Started.UTC().Format(time.RFC3339)
	}
	for _, st := range c.Stages {
		s.add(c.ID, "stage "+st.Name, st.Seconds, st.Finding, st.Hint)
	}
	for _, name := range c.Declared.Stages {
		if _, ok := c.Stage(name); !ok {
			s.notReached(c.ID, "stage "+name, c.StoppedBefore(name))
		}
	}
	for _, sc := range c.Scenarios {
		s.add(c.ID, "scenario "+sc.Name, 0, sc.Finding, sc.Hint)
	}
	for _, name := range c.Declared.Scenarios {
		if _, ok := c.Scenario(name); !ok {
			s.notReached(c.ID, "scenario "+name, c.ScenariosStopped())
		}
	}
	if s.Tests == 0 {
		s.add(c.ID, "record", 0, c.Finding, "")
	}
	return s
}

func (s *junitSuite) add(class, name string, seconds float64, f cause.Finding, hint string) {
	tc := junitCase{Classname: class, Name: name, Time: secs(seconds)}
	p := Problem{Where: name, Finding: f, Next: next(f, hint)}
	switch f.State {
	case cause.Pass:
	case cause.Fail:
		tc.Failure = p.junit()
		s.Failures++
	case cause.Unsupported, cause.Skipped:
		tc.Skipped = p.junit()
		// The schema gives <skipped> a message and nothing else.
		tc.Skipped.Type, tc.Skipped.Text = "", ""
		s.Skipped++
	default:
		tc.Error = p.junit()
		s.Errors++
	}
	s.Tests++
	s.Cases = append(s.Cases, tc)
}

func (s *junitSuite) notReached(class, name, stoppedBy string) {
	s.Tests++
	s.Skipped++
	s.Cases = append(s.Cases, junitCase{Classname: class, Name: name, Time: secs(0),
		Skipped: &junitMessage{Message: "not reached: stage " + stoppedBy + " ended the cell"}})
}

func (p Problem) junit() *junitMessage {
	m := &junitMessage{Type: string(p.Cause), Message: fmt.Sprintf("%s: %s (fault: %s): %s", p.State, p.Cause, p.Fault, p.first())}
	var b strings.Builder
	for _, e := range p.Evidence {
		b.WriteString(e.String() + "\n")
	}
	if p.Next != "" {
		b.WriteString("next: " + p.Next + "\n")
	}
	m.Text = b.String()
	return m
}

func secs(s float64) string { return fmt.Sprintf("%.3f", s) }
