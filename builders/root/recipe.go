// SPDX-License-Identifier: Apache-2.0

package root

import (
	"path"
	"strings"

	"github.com/mews-farm/mews/kernels"
)

// recipeVersion is part of every key: a change of what is done to the packages makes new roots.
const recipeVersion = "1"

// Tools names the packages whose closure makes a build root for one compiler (gcc-12, ...) in any Debian suite since
// bullseye. Found by building Falco's module 0.23.2 for 5.10, 6.1, 6.12 and 7.3 with less and less:
// kbuild runs a shell, the text tools and find; pahole (in the package dwarves, which newer suites keep as
// a name that depends on pahole) writes the module's BTF from 6.12 on, where the headers ship vmlinux; its libelf and
// zlib are those that modpost, objtool and resolve_btfids of linux-kbuild need.
func Tools(compiler string) []string {
	return []string{compiler, "bash", "coreutils", "dash", "dwarves", "findutils", "grep", "make", "mawk", "sed"}
}

// unneeded are packages that the closure of Tools holds and no build of a module uses, as patterns of path.Match.
// They are a third of the download. The kernel is compiled with -nostdinc and linked with ld -r.
var unneeded = []struct{ reason, patterns string }{
	{"run-time libraries that only user space links", "libasan* libatomic* libgomp* libhwasan* libitm* liblsan* libquadmath* libtsan* libubsan*"},
	{"plug-ins of gdb and profilers", "libcc1-* libgprofng*"},
	{"package management, its data bases and dialogues", "base-files base-passwd debconf* debianutils dpkg gcc-*-base libcrypt1 libdb5* lsb-base login* passwd perl* libgdbm* libperl* tar"},
	{"a second awk", "gawk libreadline* libsigsegv* readline-common"},
	{"check sums of coreutils and signatures of kmod; nothing in kbuild of an external module", "kmod libkmod* libssl* libcap2 libsystemd0 openssl*"},
}

func needed(p kernels.Package) bool {
	for _, u := range unneeded {
		for _, pattern := range strings.Fields(u.patterns) {
			if ok, err := path.Match(pattern, p.Name); err == nil && ok {
				return false
			}
		}
	}
	return true
}

// ballast are directories and files of packages that neither a build nor a guest reads.
var ballast = []string{
	"usr/share/doc", "usr/share/info", "usr/share/lintian", "usr/share/locale", "usr/share/man", "usr/share/bug",
}

// buildBallast is what is left out of build roots beyond that: the link-time optimizer, 30 MB, which Debian's kernels do not use.
var buildBallast = []string{"usr/libexec/gcc/*/*/lto1", "usr/lib/gcc/*/*/lto1", "usr/lib/gcc/*/*/*.a"}

func isBallast(name string, more []string) bool {
	for _, b := range ballast {
		if name == b || strings.HasPrefix(name, b+"/") {
			return true
		}
	}
	for _, pattern := range more {
		if ok, err := path.Match(pattern, name); err == nil && ok {
			return true
		}
	}
	return false
}

// fixup is a link that a maintainer script would have made.
type fixup struct {
	link, target string
	needs        string // only made when this file is there, and link is not
	reason       string
}

var fixups = []fixup{
	{"usr/bin/awk", "mawk", "usr/bin/mawk", "update-alternatives in mawk's postinst"},
	{"usr/bin/sh", "dash", "usr/bin/dash", "a diversion in dash's preinst up to bullseye"},
}

// mountPoints are the directories that every root has, because something is mounted there.
var mountPoints = []string{"build", "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr/src", "var"}
