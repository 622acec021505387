// SPDX-License-Identifier: Apache-2.0

package parts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mews-farm/mews/builders/grid"
	"github.com/mews-farm/mews/builders/images"
	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/builders/store"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

// A probe's clang is of the kernel's own suite: modpost of its headers runs beside it.
func TestLegacyClang(t *testing.T) {
	set, err := images.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for suite, image := range map[string]string{
		"bullseye-security": "debian-bullseye", "bookworm": "debian-bookworm", "trixie-backports": "debian-trixie", "sid": "debian-sid", "": "debian-bookworm",
	} {
		w := images.Want{Distro: "debian", Suite: suite, Arch: "x86_64"}
		c, err := legacyClang(set.All(w), w)
		if err != nil || c.Image.Name != image || c.Compiler.Family != "clang" || c.Compiler.Major < oldestClang {
			t.Errorf("%s: %s, %v; want one of %s", suite, c, err, image)
		}
	}
	if _, err := legacyClang(nil, images.Want{}); cause.Of(err).Cause != cause.ToolchainMismatch {
		t.Errorf("no image at all: %v", err)
	}
}

func TestHeadersKnown(t *testing.T) {
	gone := []kernels.Policy{{Variant: "kmod", Cause: cause.HeadersMissing, Reason: "a is not in x; b is not in x"}}
	r := &kernels.Resolved{Suite: "trixie-backports/amd64"}
	if !headersKnown(r, gone) || len(r.HeadersMissing) != 2 || r.Suite != "trixie-backports" {
		t.Errorf("%+v", r)
	}
	if !headersKnown(&kernels.Resolved{Headers: []kernels.Package{{}}}, nil) {
		t.Error("headers that are there are not known")
	}
	if headersKnown(&kernels.Resolved{}, []kernels.Policy{{Cause: cause.PolicyDenied}}) {
		t.Error("nothing is known, and that is taken for something")
	}
}

func FuzzPlainName(f *testing.F) {
	for _, s := range []string{"scap-0.23.2-kmod", "..", "", "\xff/../x", "-a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id := "k--" + plainName(s); len(s) < 100 && results.CheckID(id) != nil {
			t.Errorf("%q: %v", s, results.CheckID(id))
		}
	})
}

// result is one of a cell whose artifact lies in dir.
func result(t *testing.T, dir, content string) *grid.Result {
	t.Helper()
	k := &grid.Kernel{Name: "debian:6.1.0-56-amd64", Resolved: &kernels.Resolved{
		Kernel: kernels.Kernel{Distro: "debian", Release: "6.1.0-56-amd64", Version: "1", Arch: "x86_64"}, PackageVersion: "6.1.192-2",
	}}
	d := &grid.Driver{Name: "falco-kmod", Variant: product.KMod, Version: "0.23.2"}
	file, log := filepath.Join(dir, content+".ko"), filepath.Join(dir, "log")
	for name, text := range map[string]string{file: content, log: "log"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	in := &grid.Inputs{Compiler: "gcc-12", Root: content}
	return &grid.Result{
		Cell: &grid.Cell{ID: "x", Kernel: k, Driver: d}, Kernel: k.Kernel, Driver: d.Name, Variant: d.Variant, Version: d.Version,
		Finding: cause.Finding{State: cause.Pass}, Origin: grid.Built, Inputs: in,
		Artifact: &product.Artifact{
			Path: file, LogPath: log, Variant: product.KMod, File: content + ".ko", SHA256: archive.DigestOf([]byte(content)), Size: int64(len(content)),
			Kernel: k.Kernel, DriverVersion: d.Version, Source: archive.DigestOf([]byte("source")), Log: archive.DigestOf([]byte("log")),
		},
	}
}

// failed is r fallen short.
func failed(r *grid.Result, err *cause.Err) *grid.Result {
	out := *r
	out.Artifact, out.Finding = nil, cause.Of(err)
	return &out
}

func TestShelf(t *testing.T) {
	st, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	s := &Shelf{Store: st}
	r := result(t, t.TempDir(), "one")
	holds := func(key string) bool {
		t.Helper()
		a, err := s.Find(t.Context(), r.Cell, key)
		if err != nil {
			t.Fatal(err)
		}
		return a != nil
	}
	publish := func(rs ...*grid.Result) error { return s.Publish(t.Context(), rs) }
	// What is of the day only, or of nobody, is not told of.
	nobody := *r
	nobody.Version = ""
	if err := publish(failed(r, cause.Errorf(cause.DiskFull, cause.FaultInfra, "full")), &nobody); err != nil || holds(r.Inputs.Key()) {
		t.Fatal(err)
	}
	if err := publish(failed(r, cause.Failf(cause.CompileError, cause.FaultDriver, "x"))); err != nil || holds(r.Inputs.Key()) {
		t.Fatal(err)
	}
	if err := publish(r); err != nil || !holds(r.Inputs.Key()) || holds("another") {
		t.Fatalf("%v: it is not there, or for every input", err)
	}
	// That its headers are gone from the mirror today takes nothing away; that it is said again costs nothing.
	if err := publish(failed(r, cause.Errorf(cause.HeadersMissing, cause.FaultKernel, "gone"))); err != nil || !holds(r.Inputs.Key()) {
		t.Fatal(err)
	}
	if err := os.Remove(r.Artifact.Path); err != nil {
		t.Fatal(err)
	}
	if err := publish(r); err != nil {
		t.Errorf("what is there was read again: %v", err)
	}
	other := result(t, t.TempDir(), "two")
	if err := publish(other); cause.Of(err).Cause != cause.StoreConflict || !holds(r.Inputs.Key()) {
		t.Errorf("other content: %v", err)
	}
	if err := publish(other, r); cause.Of(err).Cause != cause.StoreConflict || !strings.Contains(err.Error(), "two drivers") {
		t.Errorf("two of one name: %v", err)
	}
	s.Replace = true
	if err := publish(other); err != nil || !holds(other.Inputs.Key()) {
		t.Errorf("--replace: %v", err)
	}
}

// A publisher that died before its last step left an index, or a page of it, that does not tell of what is there: who has
// nothing to publish makes it again.
func TestShelfListsAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	st, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	r := result(t, t.TempDir(), "one")
	if err := (&Shelf{Store: st}).Publish(t.Context(), []*grid.Result{r}); err != nil {
		t.Fatal(err)
	}
	stored := *r
	stored.Origin = grid.Stored
	for _, file := range []string{"index.json", "index.html", "matrix.json"} {
		for _, again := range []*grid.Result{r, &stored} {
			if err := os.Remove(filepath.Join(dir, r.Version, file)); err != nil {
				t.Fatal(err)
			}
			s := &Shelf{Store: st}
			for range 2 {
				if err := s.Publish(t.Context(), []*grid.Result{again}); err != nil {
					t.Fatal(err)
				}
			}
			if c, err := st.Verify(t.Context(), ""); err != nil || !c.Clean() || c.Artifacts != 1 {
				t.Errorf("without %s, %s: %+v, %v", file, again.Origin, c, err)
			}
		}
	}
}
