// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// Part is the environment variable that has a package run one part of its specs: "2/3" is the second of three. All parts
// together are the whole, each spec in one of them, so that several processes can share a long suite.
const Part = "MEWS_TEST_PART"

// part lists the files of dir whose specs are those of the part, as Ginkgo's filters for files. Files go in turn, whole: an
// ordered container is never divided. The filters of a part that has none match nothing.
func part(dir, which string) ([]string, error) {
	var k, n int
	if _, err := fmt.Sscanf(which, "%d/%d", &k, &n); err != nil || k < 1 || k > n {
		return nil, fmt.Errorf("$%s is %q: want one of n parts as 1/n to n/n", Part, which)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return nil, err
	}
	filters := []string{`^\b$`}
	turn := 0
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		if !bytes.Contains(text, []byte("= Describe(")) {
			continue
		}
		if turn%n == k-1 {
			filters = append(filters, "/"+regexp.QuoteMeta(filepath.Base(f))+"$")
		}
		turn++
	}
	return filters, nil
}
