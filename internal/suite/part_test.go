// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestParts(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "aa", "b", "c", "d"} {
		if err := os.WriteFile(filepath.Join(dir, name+"_test.go"), []byte("var _ = Describe(\"\", nil)\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "plain_test.go"), []byte("func TestX\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 7; n++ {
		seen := map[string]int{}
		for k := 1; k <= n; k++ {
			filters, err := part(dir, fmt.Sprintf("%d/%d", k, n))
			if err != nil {
				t.Fatal(err)
			}
			if len(filters) == 0 {
				t.Errorf("part %d of %d has no filter, and would be the whole", k, n)
			}
			for _, f := range filters[1:] {
				seen[f]++
			}
		}
		if len(seen) != 5 {
			t.Errorf("%d parts have %v", n, seen)
		}
		for f, times := range seen {
			if times != 1 {
				t.Errorf("%s is in %d of %d parts", f, times, n)
			}
		}
	}
	for _, bad := range []string{"", "1", "0/2", "3/2", "a/b"} {
		if _, err := part(dir, bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
