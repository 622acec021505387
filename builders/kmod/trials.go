// SPDX-License-Identifier: Apache-2.0

package kmod

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/mews-farm/mews/builders/kbuild"
	"github.com/mews-farm/mews/builders/sandbox"
)

// Falco's module asks what the kernel's API is like by trial builds, configure/*, each a kbuild of its own with one small
// file, and together more than half the work of building the module.

// trials is what is spared in each of them. Nobody reads their debug information, and what -g and pahole add to an object
// decides nothing of whether it is made. What follows modpost is made of what modpost wrote, for the driver's own module
// too: where it fails, that fails (scripts/Makefile.modpost says of KBUILD_MODPOST_NOFINAL that it is there "to speed up
// test compiles").
var trials = []string{"CONFIG_DEBUG_INFO=", "CONFIG_DEBUG_INFO_BTF_MODULES=", "KBUILD_MODPOST_NOFINAL=1"}

// together makes all trials in one kbuild, each as a module of its own, before the driver asks: most of what a kbuild takes is
// to begin. Those that compile, and whose symbols resolve, are answered with yes. A no is never taken from here: the
// driver makes what did not go well itself, as it makes all of them where they are not what is known of Falco's.
func together(ctx context.Context, b *kbuild.Build) (seconds float64, err error) {
	if _, err := b.Scratch.Lstat(path.Join(b.In, "configure")); err != nil || b.Plain {
		return 0, nil // nothing is asked, or not so
	}
	b.Spared = true
	names, err := known(b)
	if err != nil || len(names) == 0 {
		return 0, err
	}
	defer func() { err = errors.Join(err, kbuild.WriteErrOr(b.Scratch.RemoveAll(trialsAt))) }()
	for {
		if err := lay(b, names); err != nil {
			return seconds, kbuild.WriteErr(err)
		}
		ok, took, err := b.Try(ctx, path.Join(sandbox.ScratchAt, trialsAt), append(slices.Clone(b.Trials()), "-k", "modules")...)
		seconds += took
		if err != nil {
			return seconds, err
		}
		if ok {
			return seconds, b.Answer(inside(b, names))
		}
		compiled := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
			_, err := b.Scratch.Lstat(path.Join(trialsAt, name, "test.o"))
			return err != nil
		})
		if len(compiled) == 0 || len(compiled) == len(names) { // modpost does not take them: it says so of each by itself
			return seconds, nil
		}
		names = compiled
	}
}

// trialsAt is where the trials are made together, in the scratch directory.
const trialsAt = "trials"

// inside are the directories of trials as the driver has them.
func inside(b *kbuild.Build, names []string) []string {
	var out []string
	for _, name := range names {
		out = append(out, path.Join(b.Base, "configure", name))
	}
	return out
}

// lay writes the trials' files and what makes a module of each. One that was compiled before is not compiled again.
func lay(b *kbuild.Build, names []string) error {
	var makefile strings.Builder
	for _, name := range names {
		text, err := b.Scratch.ReadFile(path.Join(b.In, "configure", name, "test.c"))
		if err != nil {
			return err
		}
		to := path.Join(trialsAt, name)
		if _, err := b.Scratch.Lstat(to); errors.Is(err, fs.ErrNotExist) {
			if err := errors.Join(b.Scratch.MkdirAll(to, 0o755), b.Scratch.WriteFile(path.Join(to, "test.c"), text, 0o644)); err != nil {
				return err
			}
		}
		fmt.Fprintf(&makefile, "obj-m += trial_%[1]s.o\ntrial_%[1]s-y := %[1]s/test.o\n", name)
	}
	return b.Scratch.WriteFile(path.Join(trialsAt, "Kbuild"), []byte(makefile.String()), 0o644)
}

// known names the trials that are made as those of Falco's drivers since 2023 are: anything else in them could have a say in
// how they end.
func known(b *kbuild.Build) ([]string, error) {
	at := path.Join(b.In, "configure")
	dirs, err := fs.ReadDir(b.Scratch.FS(), at)
	if err != nil {
		return nil, kbuild.WriteErr(err)
	}
	var out []string
	for _, d := range dirs {
		if !d.IsDir() || !trialName.MatchString(d.Name()) {
			continue
		}
		text := map[string]string{}
		for _, f := range []string{"Makefile", "Makefile.inc", "build.sh", "test.c"} {
			if data, err := b.Scratch.ReadFile(path.Join(at, d.Name(), f)); err == nil {
				text[f] = string(data)
			}
		}
		if knownTrial(text) {
			out = append(out, d.Name())
		}
	}
	return out, nil
}

var (
	trialName = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
	// trialLines are what a trial's Makefile and build.sh may hold besides comments, and asks is how Makefile.inc runs them: in an
	// empty environment, with the tools of the driver's own kbuild.
	trialLines = map[string]*regexp.Regexp{
		"Makefile": regexp.MustCompile(`^(testmod-y \+= test\.o|obj-m \+= testmod\.o|KERNELDIR \?= \S.*|TOP := \$\(shell pwd\)|all:|clean:|install: all|` +
			`\t\$\(MAKE\) -C \$\(KERNELDIR\) M=\$\(TOP\) (modules|clean|modules_install))$`),
		"build.sh": regexp.MustCompile(`^(SCRIPT=\$\(readlink -f "\$0"\)|SCRIPT_DIR=\$\(dirname \$\{SCRIPT\}\)|make CC="\$\{CC\}" -C \$\{SCRIPT_DIR\} > \$\{SCRIPT_DIR\}/build\.log 2>&1)$`),
	}
	asks = `env -i CC="$(CC)" KBUILD_MODPOST_WARN="$(KBUILD_MODPOST_WARN)" PATH="$(PATH)" KERNELDIR="$(KERNELDIR)" sh $(MODULE_MAKEFILE_DIR)/build.sh ; echo $$?`
	// elsewhere is what could tell a file where it is compiled, and as which module.
	elsewhere = regexp.MustCompile(`KBUILD_|__FILE__|__has_include|#\s*include\s*[^<\s]`)
)

func knownTrial(text map[string]string) bool {
	for file, line := range trialLines {
		for l := range strings.Lines(text[file]) {
			l = strings.TrimRight(l, " \r\n")
			if l != "" && !strings.HasPrefix(l, "#") && !line.MatchString(l) {
				return false
			}
		}
	}
	return strings.Contains(text["Makefile"], "testmod-y += test.o") && strings.Contains(text["Makefile"], "obj-m += testmod.o") &&
		strings.Contains(text["build.sh"], "make CC=") && strings.Contains(text["Makefile.inc"], asks) &&
		text["test.c"] != "" && !elsewhere.MatchString(text["test.c"])
}
