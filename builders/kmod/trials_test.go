// SPDX-License-Identifier: Apache-2.0

package kmod

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/builders/source"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// asFalco are a trial's files as Falco's drivers have them.
func asFalco(name string) map[string]string {
	return map[string]string{
		"Makefile": "# comment\ntestmod-y += test.o\nobj-m += testmod.o\n\nKERNELDIR ?= /lib/modules/$(shell uname -r)/build\nTOP := $(shell pwd)\n\nall:\n\t$(MAKE) -C $(KERNELDIR) M=$(TOP) modules\n",
		"Makefile.inc": "HAS_" + name + ` := $(shell env -i CC="$(CC)" KBUILD_MODPOST_WARN="$(KBUILD_MODPOST_WARN)" PATH="$(PATH)" KERNELDIR="$(KERNELDIR)"` +
			" sh $(MODULE_MAKEFILE_DIR)/build.sh ; echo $$?)\n",
		"build.sh": "#!/bin/sh\nSCRIPT=$(readlink -f \"$0\")\nSCRIPT_DIR=$(dirname ${SCRIPT})\n\nmake CC=\"${CC}\" -C ${SCRIPT_DIR} > ${SCRIPT_DIR}/build.log 2>&1\n",
		"test.c":   "#include <linux/module.h>\n",
	}
}

func TestKnownTrial(t *testing.T) {
	if !knownTrial(asFalco("X")) {
		t.Fatal("Falco's own is not known")
	}
	for name, spoil := range map[string]func(map[string]string){
		"flags of its own":          func(f map[string]string) { f["Makefile"] += "ccflags-y += -Werror\n" },
		"a tree of its own":         func(f map[string]string) { f["Makefile"] += "\t$(MAKE) -C $(KERNELDIR) M=$(TOP) W=1 modules\n" },
		"another object":            func(f map[string]string) { f["Makefile"] += "testmod-y += other.o\n" },
		"no Makefile":               func(f map[string]string) { delete(f, "Makefile") },
		"an environment of its own": func(f map[string]string) { f["build.sh"] = "export W=1\n" + f["build.sh"] },
		"no script":                 func(f map[string]string) { delete(f, "build.sh") },
		"asked in another way": func(f map[string]string) {
			f["Makefile.inc"] = strings.Replace(f["Makefile.inc"], "env -i", "env -i W=1", 1)
		},
		"nothing to compile":           func(f map[string]string) { delete(f, "test.c") },
		"a header beside it":           func(f map[string]string) { f["test.c"] += "#  include \"x.h\"\n" },
		"a header by a macro":          func(f map[string]string) { f["test.c"] += "#include WHICH\n" },
		"a question about headers":     func(f map[string]string) { f["test.c"] += "#if __has_include(<x.h>)\n" },
		"a question about itself":      func(f map[string]string) { f["test.c"] += "char *a = KBUILD_MODNAME;\n" },
		"a question about where it is": func(f map[string]string) { f["test.c"] += "char *a = __FILE__;\n" },
	} {
		files := asFalco("X")
		spoil(files)
		if knownTrial(files) {
			t.Errorf("%s is taken for Falco's", name)
		}
	}
}

// bench is a runner that runs nothing: make of the trials compiles those of good, and succeeds when all it is asked for are; any
// other make fails.
type bench struct {
	good     []string
	modpost  bool     // whether symbols resolve
	together []string // the modules of each make of the trials
	own      []string // the trial builds' make, as each make of the driver finds it
	argv     []string
}

func (r *bench) Run(_ context.Context, s sandbox.Spec) (*sandbox.Result, error) {
	line := strings.Join(s.Argv, " ")
	r.argv = append(r.argv, line)
	if !strings.Contains(line, "M=/build/trials ") {
		script, err := os.ReadFile(filepath.Join(s.Scratch, "bin/make"))
		if err != nil {
			script = []byte("none")
		}
		r.own = append(r.own, string(script))
		fmt.Fprintln(s.Log, "  CC [M]  /build/usr/src/scap-1/main.o\n/build/usr/src/scap-1/main.c:1:1: error: unknown type name 'x'")
		return &sandbox.Result{ExitCode: 2}, nil
	}
	kbuild, err := os.ReadFile(filepath.Join(s.Scratch, "trials/Kbuild"))
	if err != nil {
		return nil, err
	}
	var asked []string
	res := &sandbox.Result{}
	for l := range strings.Lines(string(kbuild)) {
		name, ok := strings.CutPrefix(l, "obj-m += trial_")
		if !ok {
			continue
		}
		name = strings.TrimSuffix(name, ".o\n")
		asked = append(asked, name)
		if !slices.Contains(r.good, name) {
			res.ExitCode = 2
		} else if err := os.WriteFile(filepath.Join(s.Scratch, "trials", name, "test.o"), nil, 0o644); err != nil {
			return nil, err
		}
	}
	if !r.modpost {
		res.ExitCode = 2
	}
	r.together = append(r.together, strings.Join(asked, " "))
	return res, nil
}

// request is a build of a driver with the trials, by r.
func request(t *testing.T, r sandbox.Runner, trials ...string) Request {
	t.Helper()
	write := func(dir, name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tree, tools := t.TempDir(), t.TempDir()
	write(tree, "dkms.conf", "PACKAGE_NAME=\"scap\"\nPACKAGE_VERSION=\"1\"\nBUILT_MODULE_NAME[0]=\"scap\"\nDEST_MODULE_LOCATION[0]=\"/kernel/extra\"\n")
	write(tree, "main.c", "x;\n")
	for _, name := range trials {
		for file, text := range asFalco(name) {
			write(tree, "configure/"+name+"/"+file, text)
		}
	}
	write(tools, "usr/bin/gcc-12", "")
	a, err := archive.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	src, err := source.Open(t.Context(), a, tree, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	config, err := kernels.ParseConfig(strings.NewReader("CONFIG_CC_VERSION_TEXT=\"gcc-12 (Debian 12.2.0-14) 12.2.0\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	return Request{
		Kernel: &kernels.Files{Kernel: kernels.Kernel{Release: "6.1.0-56-amd64", Arch: "x86_64"}, Config: config, Headers: t.TempDir(), HeaderDir: "/usr/src/linux-headers-6.1.0-56-amd64"},
		Source: src, Root: &root.Root{Dir: tools, Key: "k"}, Out: t.TempDir(), Runner: r, Jobs: 2,
		Compiler: product.Compiler{Command: "gcc-12", Family: "gcc", Major: 12},
	}
}

func TestTogether(t *testing.T) {
	const at = "/build/usr/src/scap-1/configure/"
	for name, c := range map[string]struct {
		bench    bench
		together []string // modules
		yes      string
	}{
		"all go well":             {bench{good: []string{"A", "B", "C"}, modpost: true}, []string{"A B C"}, at + "A'|'" + at + "B'|'" + at + "C'"},
		"one does not compile":    {bench{good: []string{"A", "C"}, modpost: true}, []string{"A B C", "A C"}, at + "A'|'" + at + "C'"},
		"none compiles":           {bench{modpost: true}, []string{"A B C"}, ""},
		"a symbol does not":       {bench{good: []string{"A", "B", "C"}}, []string{"A B C"}, ""},
		"neither, nor one's file": {bench{good: []string{"A", "B"}}, []string{"A B C", "A B"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := &c.bench
			_, err := Build(t.Context(), request(t, r, "A", "B", "C"))
			if f := cause.Of(err); f.Cause != cause.CompileError || f.Fault != cause.FaultDriver {
				t.Errorf("%v", err)
			}
			if !slices.Equal(r.together, c.together) {
				t.Errorf("made together: %q\n%s", r.together, strings.Join(r.argv, "\n"))
			}
			// What failed is built again, and nothing is spared.
			if len(r.own) != 2 || r.own[1] != "none" {
				t.Fatalf("the driver was made with %q", r.own)
			}
			for _, v := range trials {
				if !strings.Contains(r.own[0], "'"+v+"'") {
					t.Errorf("not spared: %s", v)
				}
			}
			if knows := strings.Contains(r.own[0], "exit 0"); knows != (c.yes != "") || !strings.Contains(r.own[0], c.yes) {
				t.Errorf("answered: %s", r.own[0])
			}
		})
	}
}

func TestWithoutTrialsOnce(t *testing.T) {
	r := &bench{}
	if _, err := Build(t.Context(), request(t, r)); err == nil || len(r.own) != 1 || len(r.together) != 0 {
		t.Errorf("%v, %d builds, %q together", err, len(r.own), r.together)
	}
}
