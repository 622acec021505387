// SPDX-License-Identifier: Apache-2.0

package store

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/kernels"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The forms that others read, byte by byte.
func TestGolden(t *testing.T) {
	s := opened(t)
	publish(t, s, Options{}, sample(t.TempDir())...)
	all := contents(t, s)
	for file, name := range map[string]string{
		"index.json": "7.2.1+driver/index.json", "index.html": "7.2.1+driver/index.html", "matrix.json": "7.2.1+driver/matrix.json",
		"sidecar.json": plusKo.sidecar(), "provenance.json": plusKo.provenance(), "failed.json": plusO.sidecar(), "unavailable.json": cosKo.sidecar(),
		"two.html": "0.23.2/index.html",
	} {
		golden := filepath.Join("testdata", file)
		if *update {
			if err := os.WriteFile(golden, []byte(all[name]), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if all[name] != string(want) {
			t.Errorf("%s is not %s; look at the difference and run with -update:\n%s", name, golden, all[name])
		}
	}
	html := all["7.2.1+driver/index.html"]
	if !strings.Contains(html, `href="x86_64/falco_debian_6.12.57%2Bdeb12-cloud-amd64_1.ko.json"`) {
		t.Error("the page's links do not say %2B")
	}
	if strings.Contains(html, "<b>f</b>") {
		t.Error("a log's text is taken for HTML")
	}
}

// An index made entry by entry, in any order, is the one made of the sidecars alone.
func TestIndexIsMadeOfSidecars(t *testing.T) {
	dir := t.TempDir()
	entries := sample(dir)
	for first := range entries {
		s := opened(t)
		for i := range entries {
			publish(t, s, Options{}, entries[(first+i)%len(entries)])
		}
		want := contents(t, s)
		d := s.b.(*dirBackend)
		for _, v := range []string{"0.23.2", "7.2.1+driver"} {
			for _, n := range []string{indexName, pageName, matrixName} {
				if err := d.root.Remove(v + "/" + n); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := s.Reindex(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(want, contents(t, s)) {
			t.Errorf("begun with %s: Reindex makes something else", entries[first].Key)
		}
	}
}

// A kernel's artifacts become available together: while one of them lacks, none is.
func TestVariantsAppearTogether(t *testing.T) {
	s := opened(t)
	publish(t, s, Options{}, sample(t.TempDir())...)
	if err := s.b.remove(t.Context(), bookwormKo.Path()); err != nil {
		t.Fatal(err)
	}
	c, err := s.Verify(t.Context(), "")
	if err != nil || len(c.Problems) > 0 || len(c.Pending) != 1 || len(c.Stale) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	if err := s.Reindex(t.Context(), "0.23.2"); err != nil {
		t.Fatal(err)
	}
	x, err := s.Index(t.Context(), "0.23.2")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range x.Kernels {
		for v, cell := range r.Variants {
			if r.Target == "debian" && cell.Supported != Pending {
				t.Errorf("%s of a kernel without its module is %s", v, cell.Supported)
			}
		}
	}
	if st, err := s.Has(t.Context(), bookwormKo); err != nil || st.Settled || st.Sidecar == nil {
		t.Errorf("%+v, %v", st, err)
	}
}

// To publish into a large store reads and writes what is new, and the index: not every sidecar again.
func TestPublishingReadsOnlyItsOwnSidecars(t *testing.T) {
	s, dir := opened(t), t.TempDir()
	publish(t, s, Options{}, sample(dir)...)
	b := &counting{backend: s.b, opened: map[string]int{}}
	k := key("0.23.2", "debian_6.1.193-1-amd64_1", product.KMod)
	publish(t, &Store{b}, Options{}, built(dir, k, "m"))
	for name := range b.opened {
		if name != "0.23.2/index.json" && !strings.HasPrefix(name, k.Path()) && !strings.Contains(name, k.Kernel.String()) {
			t.Errorf("read %s", name)
		}
	}
}

func FuzzParseSidecar(f *testing.F) {
	seed(f, "sidecar.json", "failed.json", "unavailable.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseSidecar(data)
		if err != nil {
			return
		}
		text, err := encode(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseSidecar(text)
		if err != nil || again.Key() != s.Key() || again.Supported != s.Supported {
			t.Errorf("%s\nis written as\n%s\nand that is read as %+v, %v", data, text, again, err)
		}
	})
}

func FuzzParseIndex(f *testing.F) {
	seed(f, "index.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := ParseIndex(data)
		if err != nil {
			return
		}
		if _, err := x.page(); err != nil {
			t.Error(err)
		}
		text, err := encode(x)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseIndex(text); err != nil {
			t.Errorf("%s\nis written as\n%s\nand that is %v", data, text, err)
		}
	})
}

func FuzzParseStatement(f *testing.F) {
	seed(f, "provenance.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		if d, err := ParseStatement(data, plusKo.File()); err == nil && !d.Valid() {
			t.Errorf("%q", d)
		}
	})
}

func seed(f *testing.F, files ...string) {
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
}

// What is for every kernel stands once in the index and on the page, beside the kernels of the others.
func TestAnyBTFIsListed(t *testing.T) {
	dir := t.TempDir()
	k := Key{DriverVersion: plusKo.DriverVersion, Arch: "x86_64", Kernel: AnyBTF, Variant: product.Modern}
	core := built(dir, k, "a CO-RE probe")
	core.Kernel = kernels.Kernel{Arch: "x86_64"}
	core.Artifact.Kernel = core.Kernel
	s := opened(t)
	publish(t, s, Options{}, append(sample(dir), core)...)
	if c, err := s.Verify(t.Context(), ""); err != nil || !c.Clean() || c.Artifacts != 4 {
		t.Fatalf("%+v, %v", c, err)
	}
	x, err := s.Listed(t.Context(), k.DriverVersion)
	if err != nil || x == nil || !x.Tells(core) {
		t.Fatalf("%+v, %v", x, err)
	}
	all := contents(t, s)
	if page := all[k.DriverVersion+"/index.html"]; strings.Count(page, `colspan="2">modern_ebpf, for every kernel with BTF: <a href="x86_64/falco_any_btf_1.bpf.o">`) != 1 {
		t.Error(page)
	}
	if matrix := all[k.DriverVersion+"/matrix.json"]; !strings.Contains(matrix, `"x86_64/any_btf_1"`) || strings.Count(matrix, `"modern_ebpf"`) != 1 {
		t.Error(matrix)
	}
}
