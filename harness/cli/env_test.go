// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An excuse that is over must be heard of by whoever runs the matrix, and goes into the run's record as a warning.
func TestOpenWarnsOfWhatExpired(t *testing.T) {
	shipped, err := os.ReadFile("../../matrix.yaml")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	rooted := strings.NewReplacer(": testdata/btf", ": "+filepath.Join(root, "testdata/btf"), ": builders/", ": "+filepath.Join(root, "builders")+"/")
	text := rooted.Replace(string(shipped)) + `allow_splats:
  - {match: "^WARNING: of old", reason: known, until: 2001-01-01}
  - {match: "^WARNING: for long", reason: known, until: 9999-01-01}
`
	file := filepath.Join(t.TempDir(), "matrix.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var said []string
	if _, err := open(selectFlags{file: file, offline: true}, "", func(text string) { said = append(said, text) }); err != nil {
		t.Fatal(err)
	}
	if len(said) != 1 || !strings.Contains(said[0], `allow_splats "^WARNING: of old" ended with 2001-01-01`) {
		t.Errorf("warnings: %q", said)
	}
}
