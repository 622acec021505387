// SPDX-License-Identifier: Apache-2.0

package apt

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/apttest"
)

// TestKeep: of what is not kept nothing is held, neither as a package nor as one that provides another.
func TestKeep(t *testing.T) {
	r := apttest.New(t)
	r.Suite("sid",
		apttest.P("tool", "1", "Provides: linux-image\n"),
		apttest.P("linux-image-1", "1", "Depends: tool\n"),
		apttest.P("linuxdoc", "1", ""),
		apttest.P("linux-image-2", "1", ""))
	s, _ := source(r, func(o *Options) { o.Keep = func(name []byte) bool { return bytes.HasPrefix(name, []byte("linux-")) } })
	x, err := s.Index(t.Context(), "sid")
	if err != nil {
		t.Fatal(err)
	}
	if got := x.Names(); !slices.Equal(got, []string{"linux-image-1", "linux-image-2"}) {
		t.Errorf("kept %q", got)
	}
	if len(x.providing) > 0 {
		t.Errorf("provides %q", x.providing)
	}
	if p := (Universe{x}).Best(Relation{Name: "linux-image-1"}); p == nil || p.Version != "1" || p.Depends != "tool" {
		t.Errorf("record %+v", p)
	}
}

// TestIndexIsNamed: an archive evicts what has no name, and offline an InRelease is nothing without its index.
func TestIndexIsNamed(t *testing.T) {
	r := apttest.New(t)
	r.Suite("sid", tool)
	s, _ := source(r, nil)
	if _, err := s.Index(t.Context(), "sid"); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"debian/sid": inRelease, "debian-index/sid/main-binary-amd64": index} {
		if d, err := s.o.Archive.Ref(name); err != nil || d != archive.DigestOf(r.Files[path]) {
			t.Errorf("%s: %s, %v", name, d, err)
		}
	}
}

// TestBeginning: of the names those that begin so, and of one name every version; what is beside them in the order is not taken.
func TestBeginning(t *testing.T) {
	r := apttest.New(t)
	r.Suite("sid",
		apttest.P("linux-b", "2", ""), apttest.P("linux.", "1", ""), apttest.P("linux", "1", ""), apttest.P("linux-a", "1", ""),
		apttest.P("linux-b", "1", ""), apttest.P("zsh", "1", ""))
	s, _ := source(r, nil)
	x, err := s.Index(t.Context(), "sid")
	if err != nil {
		t.Fatal(err)
	}
	for prefix, want := range map[string]string{
		"linux-": "linux-a=1 linux-b=2 linux-b=1", "zsh": "zsh=1", "zz": "", "a": "",
	} {
		var got []string
		for r := range x.Beginning(prefix) {
			got = append(got, r.Name+"="+r.Version)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %s", prefix, got, want)
		}
	}
}
