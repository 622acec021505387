// SPDX-License-Identifier: Apache-2.0

// Package house holds the project to its own rules: who may know whom, and what every file must have.
package house

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/mews-farm/mews/"

// pkg is what `go list -json` says of a package, as far as it matters here.
type pkg struct {
	ImportPath, Name, Doc              string
	Imports, TestImports, XTestImports []string
	Deps                               []string
}

func (p pkg) short() string { return strings.TrimPrefix(p.ImportPath, module) }

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Name,Doc,Imports,TestImports,XTestImports,Deps", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list found %d packages: the rules would hold of nothing", len(all))
	}
	return all
}

// under reports whether path is one of the folders or below one.
func under(path string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return path == f || strings.HasPrefix(path, f+"/") })
}

// violations lists who knows somebody that it must not know.
func violations(all []pkg) []string {
	var out []string
	for _, p := range all {
		from := p.short()
		for _, imp := range p.Imports {
			to, ours := strings.CutPrefix(imp, module)
			switch {
			case ours && under(to, "harness") && under(from, "kernels", "builders", "driver", "scenarios", "results"):
				out = append(out, from+" imports "+to+": nobody below the harness may know it")
			case ours && under(from, "results") && under(to, "kernels", "builders", "driver", "scenarios"):
				out = append(out, from+" imports "+to+": results knows only its own record")
			case ours && under(from, "internal") && !under(to, "internal", "results/cause"):
				out = append(out, from+" imports "+to+": internal parts know nothing of the rest")
			case under(from, "harness/bisect") && strings.Contains(imp, "."):
				out = append(out, from+" imports "+imp+": bisect is pure search on the standard library")
			case imp == "net/http" && !under(from, "kernels", "builders", "harness/machine/ec2", "harness/machine/gce", "results/serve", "internal/rpmrepo" /* serves a test its repository on loopback */):
				out = append(out, from+" imports net/http: only kernels and builders touch the network")
			}
		}
	}
	return out
}

func TestLayering(t *testing.T) {
	for _, v := range violations(packages(t)) {
		t.Error(v)
	}
}

// The rules themselves must be able to fail.
func TestLayeringSeesViolations(t *testing.T) {
	for _, p := range []pkg{
		{ImportPath: module + "kernels/debian", Imports: []string{module + "harness"}},
		{ImportPath: module + "results", Imports: []string{module + "kernels"}},
		{ImportPath: module + "internal/splat", Imports: []string{module + "driver/modern"}},
		{ImportPath: module + "harness/bisect", Imports: []string{"golang.org/x/sync/errgroup"}},
		{ImportPath: module + "scenarios", Imports: []string{"net/http"}},
	} {
		if len(violations([]pkg{p})) != 1 {
			t.Errorf("%s importing %s was not seen", p.ImportPath, p.Imports)
		}
	}
}

func TestEveryPackageHasADoc(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" && !under(p.short(), "internal/house") {
			t.Errorf("%s: no package comment that says what it knows", p.short())
		}
	}
}

// generated files are as long, and as commented, as their generators make them.
var generated = regexp.MustCompile(`^// Code generated .* DO NOT EDIT\.$`)

func TestFiles(t *testing.T) {
	root := os.DirFS("../..")
	seen := 0
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (path == ".git" || path == "out" || path == "bin" || path == ".tools" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		ext := filepath.Ext(path)
		if d.IsDir() || ext != ".go" && ext != ".c" && ext != ".h" {
			return nil
		}
		seen++
		lines, gen, head := scan(t, filepath.Join("../..", path))
		want := "// SPDX-License-Identifier: Apache-2.0"
		if strings.HasSuffix(path, ".bpf.c") || under(path, "bpf") && ext != ".go" {
			want = "GPL-2.0-only OR MIT"
		}
		switch {
		case gen:
		case !strings.Contains(head, want):
			t.Errorf("%s: its first lines do not name the licence (%s)", path, want)
		case ext == ".go" && strings.Contains(head, "\x00qemu") && !under(path, "harness/machine/qemu"):
			t.Errorf("%s: only harness/machine/qemu starts QEMU", path)
		case lines > 600:
			t.Errorf("%s: %d lines; a file that long holds more than one concept", path, lines)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 20 {
		t.Errorf("looked at %d files only: the walk is broken", seen)
	}
}

// scan counts a file's lines, and returns its first four, where the licence stands (in C behind the build constraint
// that keeps it from cgo), with a mark behind them if it names the QEMU binary outside a test.
func scan(t *testing.T, path string) (lines int, gen bool, head string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); lines++ {
		if lines < 4 {
			head += s.Text() + "\n"
		}
		if strings.Contains(s.Text(), `"qemu-system`) && !strings.HasSuffix(path, "_test.go") {
			head += "\x00qemu"
		}
		gen = gen || generated.MatchString(s.Text())
	}
	return lines, gen, head
}
