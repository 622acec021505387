// SPDX-License-Identifier: Apache-2.0

package images

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

const good = `why: because
rank: 1
base:
  debian: [bookworm]
arch: x86_64
packages: [make]
compilers:
  - {name: gcc-12, packages: [gcc-12]}
`

func TestParseRefuses(t *testing.T) {
	if i, err := parse("a.yaml", []byte(good)); err != nil || i.Name != "a" || i.Target != "x86_64" || i.Compilers[0].Command != "gcc-12" {
		t.Fatalf("%+v, %v", i, err)
	}
	for _, c := range []struct{ name, from, to, want string }{
		{"an unknown key", "arch:", "arhc:", `a.yaml:5:1: unknown key "arhc"`},
		{"no reason", "why: because\n", "", `a.yaml:1:1: key "why" is missing`},
		{"no base", "  debian: [bookworm]", "  debian: []", "a.yaml:1:6: base is either debian or registry"},
		{"two bases", "  debian: [bookworm]", "  debian: [bookworm]\n  registry: x@sha256:" + strings.Repeat("0", 64), "a.yaml:1:6: base is either"},
		{"a tag instead of a digest", "debian: [bookworm]", "registry: docker.io/library/amazonlinux:2", "a.yaml:4:13: \"docker.io/library/amazonlinux:2\" does not name an image by its digest"},
		{"a short digest", "debian: [bookworm]", "registry: amazonlinux:2@sha256:00", "a.yaml:4:13:"},
		{"another machine", "x86_64", "riscv64", `a.yaml:5:7: "riscv64" is not x86_64 or aarch64`},
		{"no compilers", "  - {name: gcc-12, packages: [gcc-12]}", "  []", "a.yaml:1:6: an image without compilers"},
		{"no compiler's name", "name: gcc-12", "name: tcc-1", `a.yaml:8:12: "tcc-1" is not gcc-N or clang-N`},
		{"a compiler twice", "  - {", "  - {name: gcc-12}\n  - {", `a.yaml:9:12: "gcc-12" is there twice`},
		{"a path for a command", "name: gcc-12", "name: gcc-12, command: ../gcc", `is not the name of a command`},
		{"an option for a package", "[make]", "[--force]", `a.yaml:6:12: "--force" is not a name`},
		{"install of packages", "arch:", "install: [/bin/sh]\narch:", "a.yaml:1:6: install is for what is pulled"},
		{"a relative command", "debian: [bookworm]", "registry: x@sha256:" + strings.Repeat("0", 64) + "\ninstall: [sh]", `a.yaml:5:11: "sh" is not an absolute path`},
		{"no rank", "rank: 1", "rank: first", "a.yaml:2:7: a whole number was expected"},
		{"too large", "because", strings.Repeat("x", maxDefinition), "a.yaml:1:1: larger than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(good, c.from, c.to, 1)
			if text == good {
				t.Fatal("changes nothing")
			}
			if _, err := parse("a.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestLoadNamesEveryBadFile(t *testing.T) {
	_, err := Load(fstest.MapFS{"a.yaml": {Data: []byte("why: x")}, "b.yaml": {Data: []byte(good)}, "c.yaml": {Data: []byte("[]")}})
	if err == nil || !strings.Contains(err.Error(), "a.yaml:1:1") || !strings.Contains(err.Error(), "c.yaml:1:1") || strings.Contains(err.Error(), "b.yaml") {
		t.Errorf("got %v", err)
	}
}

func TestChoose(t *testing.T) {
	s, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, family string
		major        int
		want         Want
		expect       string // image/compiler, and what it stands in for
	}{
		{"5.10 of bullseye", "gcc", 10, Want{Distro: "debian", Suite: "bullseye-security"}, "debian-bullseye/gcc-10"},
		{"6.1 of bookworm", "gcc", 12, Want{Distro: "debian", Suite: "bookworm"}, "debian-bookworm/gcc-12"},
		{"6.12 built for bookworm", "gcc", 12, Want{Distro: "debian", Suite: "bookworm-backports"}, "debian-bookworm/gcc-12"},
		{"gcc-12 of a kernel of trixie", "gcc", 12, Want{Distro: "debian", Suite: "trixie"}, "debian-trixie/gcc-12"},
		{"what its own suite does not have", "gcc", 14, Want{Distro: "debian", Suite: "bookworm-backports"}, "debian-trixie/gcc-14"},
		{"7.2 of sid", "gcc", 15, Want{Distro: "debian", Suite: "sid"}, "debian-sid/gcc-15"},
		{"clang", "clang", 17, Want{Distro: "cos"}, "debian-trixie/clang-17"},
		{"older than there is", "gcc", 4, Want{NoRegistry: true}, "debian-bullseye/gcc-9 for gcc-4: no image has gcc-4; this is the nearest newer one"},
		{"a gap in the middle", "clang", 12, Want{}, "debian-bookworm/clang-13 for clang-12: no image has clang-12; this is the nearest newer one"},
		{"el8 with a registry", "gcc", 8, Want{Distro: "rocky"}, "rockylinux-8/gcc-8"},
		{"el8 without", "gcc", 8, Want{Distro: "rocky", NoRegistry: true}, "debian-bullseye/gcc-9 for gcc-8: no image has gcc-8 but rockylinux-8, which is pulled from a registry; this is the nearest newer one"},
		{"Amazon's own", "gcc", 10, Want{Distro: "amazonlinux2"}, "amazonlinux-2/gcc-10"},
		{"Amazon's without a registry", "gcc", 10, Want{Distro: "amazonlinux2", NoRegistry: true}, "debian-bullseye/gcc-10"},
		{"arm64", "gcc", 12, Want{Distro: "debian", Suite: "bookworm", Arch: "aarch64"}, "debian-bookworm-aarch64/gcc-12"},
		{"newer than there is", "gcc", 99, Want{}, "TOOLCHAIN_MISMATCH: no builder image has gcc-99 or a newer gcc for x86_64"},
		{"the other family is no substitute", "clang", 99, Want{}, "TOOLCHAIN_MISMATCH: no builder image has clang-99 or a newer clang for x86_64"},
		{"no clang for arm64", "clang", 14, Want{Arch: "aarch64"}, "TOOLCHAIN_MISMATCH: no builder image has clang-14 or a newer clang for aarch64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := s.Choose(kernels.Compiler{Family: c.family, Major: c.major, Text: "text"}, c.want)
			text := ""
			switch {
			case err != nil:
				text = fmt.Sprintf("%s: %s", cause.Of(err).Cause, err)
			case got.Substituted != nil:
				text = fmt.Sprintf("%s for %s: %s", got, got.Substituted.From, got.Substituted.Why)
			default:
				text = got.String()
			}
			if err != nil && strings.HasPrefix(text, c.expect) && strings.Contains(fmt.Sprintf("%+v", err), "gcc-9, gcc-10, gcc-11") {
				return
			}
			if text != c.expect {
				t.Errorf("got %s, want %s", text, c.expect)
			}
		})
	}
}

func TestNamed(t *testing.T) {
	s, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	if c, err := s.Named("clang-14", Want{}); err != nil || c.String() != "debian-bookworm/clang-14" {
		t.Errorf("%s, %v", c, err)
	}
	if c, err := s.Named("gcc-12", Want{Arch: "aarch64"}); err != nil || c.Compiler.Command != "aarch64-linux-gnu-gcc-12" || c.Image.Cross() != "aarch64-linux-gnu-" {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := s.Named("gcc12", Want{}); err == nil || !strings.Contains(err.Error(), "gcc-12") {
		t.Errorf("no hint: %v", err)
	}
	var all []string
	for _, c := range s.All(Want{NoRegistry: true}) {
		all = append(all, c.Compiler.Name)
	}
	if got := strings.Join(all, " "); got != "gcc-9 gcc-10 gcc-11 gcc-12 gcc-13 gcc-14 gcc-15 gcc-16 clang-9 clang-11 clang-13 clang-14 clang-15 clang-16 clang-17 clang-18 clang-19 clang-21 clang-22 clang-23" {
		t.Errorf("all: %s", got)
	}
}

func TestIdentity(t *testing.T) {
	load := func(text string) *Image {
		i, err := parse("a.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	pkgs := []kernels.Package{{Digest: archive.Digest("b")}, {Digest: archive.Digest("a")}}
	base := load(good).Identity(pkgs)
	for name, other := range map[string]archive.Digest{
		"other packages":     load(good).Identity(pkgs[:1]),
		"another definition": load(strings.Replace(good, "[make]", "[make, bash]", 1)).Identity(pkgs),
	} {
		if other == base {
			t.Errorf("%s, the same identity", name)
		}
	}
	for name, same := range map[string]archive.Digest{
		"packages in another order": load(good).Identity([]kernels.Package{pkgs[1], pkgs[0]}),
		"another reason":            load(strings.Replace(good, "because", "why not", 1)).Identity(pkgs),
	} {
		if same != base {
			t.Errorf("%s, another identity", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add("compilers: [{name: gcc-99999}]\nbase: {registry: 'x@sha256:'}")
	f.Fuzz(func(t *testing.T, text string) {
		i, err := parse("a.yaml", []byte(text))
		if err != nil {
			return
		}
		for _, c := range i.Compilers {
			if c.Major == 0 || strings.Contains(c.Command, "/") || strings.HasPrefix(c.Command, "-") {
				t.Errorf("%+v came through", c)
			}
		}
	})
}
