// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"path"
	"strings"
	"testing"

	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

// index is a mirror with a few kernels, and suites that are out of reach.
type index struct {
	releases map[string][]string // by the first suite, newest first
	down     map[string]error
	sysdig   string            // the version of every userland's
	configs  map[string]string // of the kernels whose packages are held, by release
}

func (x index) Kernels(_ context.Context, e matrix.Kernel, latest int) ([]Found, error) {
	suite := e.Suites[0].V
	if err := x.down[suite]; err != nil {
		return nil, err
	}
	var out []Found
	for _, r := range x.releases[suite] {
		if ok, _ := path.Match(e.Match.V, r); ok && (latest == 0 || len(out) < latest) {
			out = append(out, kernelOf("debian", r))
		}
	}
	return out, nil
}

func kernelOf(distro, release string) Found {
	return Found{Resolved: &kernels.Resolved{Kernel: kernels.Kernel{Distro: distro, Release: release, Version: "1", Arch: "x86_64"},
		Image: []kernels.Package{{Name: "linux-image-" + release}}}}
}

// Named is a catalogue with one kernel of COS, which refuses modules and cannot boot.
func (x index) Named(_ context.Context, selector string) ([]Found, error) {
	if selector != "cos:17800.*" {
		return nil, errors.New("the catalogue has no " + selector)
	}
	k := kernelOf("cos", "17800.570.5")
	k.Policies = []kernels.Policy{{Variant: "kmod", Cause: cause.PolicyDenied, Reason: "LoadPin"}}
	k.Unbootable = "no image is published"
	return []Found{k}, nil
}

func (x index) Find(_ context.Context, suites []string, name string) (kernels.Package, error) {
	if err := x.down[suites[0]]; err != nil {
		return kernels.Package{}, err
	}
	if name == "sysdig" {
		return kernels.Package{Name: name, Version: x.sysdig}, nil
	}
	return kernels.Package{Name: name, Version: "0.23.2-6"}, nil
}

func (x index) Config(_ context.Context, r *kernels.Resolved) *kernels.Config {
	text, held := x.configs[r.Kernel.Release]
	if !held {
		return nil
	}
	c, err := kernels.ParseConfig(strings.NewReader(text))
	if err != nil {
		panic(err)
	}
	return c
}

func testIndex() index {
	return index{sysdig: "0.41.4+repack-2", releases: map[string][]string{
		"bullseye-security": {"5.10.0-46-cloud-amd64"},
		"bookworm-security": {"6.1.0-56-cloud-amd64", "6.1.0-55-cloud-amd64"},
		"trixie-security":   {"6.12.117+deb13-cloud-amd64", "6.12.116+deb13-cloud-amd64"},
		"trixie-backports":  {"7.3.4+deb13-cloud-amd64"},
	}}
}

func shippedMatrix(t *testing.T) (*matrix.Matrix, *scenarios.Catalog) {
	t.Helper()
	cat, err := scenarios.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	voc := matrix.Vocabulary{RuleOverlays: scenarios.RuleOverlays(), Compilers: []string{"gcc-10", "clang-9"}, Builtins: []string{"modern", "modern-bad-upper", "modern-bad-openhow", "ptrace", matrix.Embedded}}
	for _, s := range cat.All() {
		voc.Scenarios = append(voc.Scenarios, s.Name)
	}
	m, err := matrix.Load("../matrix.yaml", voc)
	if err != nil {
		t.Fatal(err)
	}
	return m, cat
}

func ids(p *Plan) string {
	var out []string
	for _, c := range p.Cells {
		out = append(out, c.ID)
	}
	return strings.Join(out, " ")
}

func TestMakePlan(t *testing.T) {
	m, cat := shippedMatrix(t)
	for _, c := range []struct {
		name string
		sel  Selection
		want string
	}{
		{"one kernel of the default profile", Selection{Kernels: []string{"6.1.*"}}, "debian-6.1.0-56-cloud-amd64--falco-kmod debian-6.1.0-56-cloud-amd64--mews-modern"},
		{"by the matrix's name", Selection{Profile: "quick", Kernels: []string{"debian-7"}, Drivers: []string{"falco-*"}}, "debian-7.3.4+deb13-cloud-amd64--falco-kmod"},
		{"kernel and driver need no profile, and see all kernels", Selection{Kernels: []string{"debian:6.12.*-cloud-amd64"}, Drivers: []string{"mews-modern"}},
			"debian-6.12.117+deb13-cloud-amd64--mews-modern debian-6.12.116+deb13-cloud-amd64--mews-modern"},
		{"an older kernel by its release", Selection{Kernels: []string{"6.1.0-55-cloud-amd64"}, Drivers: []string{"mews-modern"}}, "debian-6.1.0-55-cloud-amd64--mews-modern"},
		{"all drivers", Selection{Profile: "control", Kernels: []string{"5.10.*"}, Drivers: []string{"all"}}, "debian-5.10.0-46-cloud-amd64--falco-kmod-2022"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := MakePlan(t.Context(), m, c.sel, cat, testIndex())
			if err != nil {
				t.Fatal(err)
			}
			if got := ids(p); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestMakePlanQuickIsEightCells(t *testing.T) {
	m, cat := shippedMatrix(t)
	p, err := MakePlan(t.Context(), m, Selection{}, cat, testIndex())
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Cells) != 8 {
		t.Fatalf("%d cells: %s", len(p.Cells), ids(p))
	}
	c := p.Cells[0]
	if c.Version != "0.23.2" || c.Driver.Name != "falco-kmod" || c.Consumer.Kind.V != "sysdig" || len(c.Scenarios) != 2 || len(c.Rules) != 2 {
		t.Errorf("first cell: version %q, driver %q, consumer %q, %d scenarios, %d rules", c.Version, c.Driver.Name, c.Consumer.Kind.V, len(c.Scenarios), len(c.Rules))
	}
}

func TestMakePlanRefusesNothing(t *testing.T) {
	m, cat := shippedMatrix(t)
	for _, c := range []struct {
		name string
		sel  Selection
		want string
	}{
		{"unknown profile", Selection{Profile: "quik"}, `unknown profile "quik"; did you mean "quick"?`},
		{"kernel", Selection{Kernels: []string{"4.19.*"}}, "--kernel 4.19.* matches no kernel of profile quick, which has debian:5.10.0-46-cloud-amd64"},
		{"second kernel", Selection{Kernels: []string{"6.1.*", "4.19.*"}}, "--kernel 4.19.* matches no kernel"},
		{"second driver", Selection{Drivers: []string{"mews-modern", "falco-kmdo"}}, `--driver falco-kmdo matches no driver of profile quick; did you mean "falco-kmod"?`},
		{"second scenario", Selection{Scenarios: []string{"drop-and-execute", "opnat2-*"}}, "--scenario opnat2-* matches no scenario"},
		{"no pattern", Selection{Kernels: []string{"[bad"}}, `"[bad" is not a pattern`},
		{"driver", Selection{Drivers: []string{"mews-moden"}}, `matches no driver of profile quick; did you mean "mews-modern"?`},
		{"scenario", Selection{Scenarios: []string{"drop-and-exec"}}, "matches no scenario of profile quick"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := MakePlan(t.Context(), m, c.sel, cat, testIndex())
			var usage *UsageError
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// A mirror's trouble is the error of its own kernels; the others keep their verdicts.
func TestMakePlanKeepsCellsOfADeadMirror(t *testing.T) {
	m, cat := shippedMatrix(t)
	x := testIndex()
	gone := errors.New("mirror gone")
	x.down = map[string]error{"bookworm-security": gone}
	p, err := MakePlan(t.Context(), m, Selection{}, cat, x)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Cells) != 8 {
		t.Fatalf("%d cells: %s", len(p.Cells), ids(p))
	}
	for _, c := range p.Cells {
		if down := c.Kernel.Name == "debian-6.1"; down != errors.Is(c.Err, gone) {
			t.Errorf("cell %s: error %v", c.ID, c.Err)
		}
	}
}

// What is known to be impossible is said before anything starts, with the reason.
func TestMakePlanSaysWhatCannotBe(t *testing.T) {
	m, cat := shippedMatrix(t)
	p, err := MakePlan(t.Context(), m, Selection{Kernels: []string{"cos:17800.*"}, Drivers: []string{"falco-kmod", "mews-modern"}}, cat, testIndex())
	if err != nil {
		t.Fatal(err)
	}
	if got := ids(p); got != "cos-17800.570.5--falco-kmod cos-17800.570.5--mews-modern" {
		t.Fatalf("cells %s", got)
	}
	for i, want := range []cause.Cause{cause.PolicyDenied, cause.NotBootable} {
		d := p.Cells[i].Denied
		if d == nil || d.State != cause.Unsupported || d.Cause != want || d.Check() != nil {
			t.Errorf("cell %s: denied %+v, want %s", p.Cells[i].ID, d, want)
		}
	}
	p, err = MakePlan(t.Context(), m, Selection{Kernels: []string{"rocky:4.18.*"}, Drivers: []string{"mews-modern"}}, cat, testIndex())
	if err != nil || len(p.Cells) != 1 || p.Cells[0].Err == nil {
		t.Fatalf("a kernel that the catalogue lacks: cells %+v, error %v", p, err)
	}
	if err := results.CheckID(p.Cells[0].ID); err != nil {
		t.Errorf("its cell has no directory: %v", err)
	}
}
