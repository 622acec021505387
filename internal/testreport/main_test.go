// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"strings"
	"testing"
)

const good = `{"Action":"output","Package":"p","Test":"TestA","Output":"ok\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestS","Output":"mews-spec: {\"text\":\"boots\",\"state\":\"passed\"}\n"}
{"Action":"pass","Package":"p","Test":"TestS"}
{"Action":"pass","Package":"p","Elapsed":1.5}
`

func TestReport(t *testing.T) {
	skip := `{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:3: ../shared is absent\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
`
	specSkip := `{"Action":"output","Package":"p","Test":"TestS","Output":"mews-spec: {\"text\":\"boots 7\",\"state\":\"skipped\",\"reason\":\"no QEMU\"}\n"}` + "\n"
	shared := []*regexp.Regexp{regexp.MustCompile("shared is absent")}
	for _, c := range []struct {
		name, in string
		strict   bool
		rc       int
		want     string
	}{
		{"good", good, true, 0, "3 passed, 0 failed, 0 skipped"},
		{"nothing ran", `{"Action":"pass","Package":"p"}` + "\n", false, 1, "no test ran"},
		{"explained skip", good + skip, true, 0, "SKIPPED p TestB: b_test.go:3: ../shared is absent\n"},
		{"unexplained spec skip", good + specSkip, true, 1, "SKIPPED p boots 7: no QEMU (not an allowed reason"},
		{"not strict", good + specSkip, false, 0, "1 skipped"},
		{"failed", good + `{"Action":"output","Package":"p","Test":"TestC","Output":"boom\n"}` + "\n" + `{"Action":"fail","Package":"p","Test":"TestC"}` + "\n" + `{"Action":"fail","Package":"p"}` + "\n", false, 1, "FAILED p TestC\nboom"},
		{"did not build", good + `{"Action":"build-output","ImportPath":"q [q.test]","Output":"undefined: x\n"}` + "\n" + `{"Action":"fail","Package":"q","FailedBuild":"q [q.test]"}` + "\n", false, 1, "FAILED q\nundefined: x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tl := newTally()
			if err := tl.read(strings.NewReader(c.in)); err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			if rc := tl.print(&b, c.strict, shared); rc != c.rc {
				t.Errorf("exit code %d, want %d", rc, c.rc)
			}
			if !strings.Contains(b.String(), c.want) {
				t.Errorf("got:\n%s\nwant: %s", b.String(), c.want)
			}
		})
	}
}
