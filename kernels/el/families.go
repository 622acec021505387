// SPDX-License-Identifier: Apache-2.0

package el

import "github.com/mews-farm/mews/kernels/internal/yum"

// family is where one distribution keeps its kernels.
type family struct {
	mirrors     map[string]string // the public ones, by name
	keys        []string          // globs
	keyAt       string
	signedIndex bool
	releases    []release
	subscribed  string // file with the releases of kernels that need a subscription
}

// release is one release of a distribution, or all minor ones of a major.
type release struct {
	name        string // Entry.Repo; %d stands for the minor
	first, last int    // minors; 0, 0 where there is none
	open        bool   // there may be minors after last
	repos       []repo
	lines       []yum.Line
}

// repo is a repository and the places where it may lie, of which the first that is there counts: minor releases move
// to the vault when the next one is out. A place is the name of a mirror, a colon and a path.
type repo struct {
	name string
	at   []string
}

// Since el8 the image is in kernel-core; since 9.2 the modules that machines start with are in kernel-modules-core.
var core = yum.Line{Image: "kernel-core", With: []string{"kernel-modules-core", "kernel-modules", "kernel-modules-extra"}}

// Oracle's own kernel; in kernel-uek up to UEK 6, in kernel-uek-core since UEK 7. Its uname -v begins with #2.
var uek = []yum.Line{
	{Image: "kernel-uek-core", With: []string{"kernel-uek-modules-core", "kernel-uek-modules", "kernel-uek-modules-extra"}, Flavour: "uek", Version: "2"},
	{Image: "kernel-uek", Flavour: "uek", Version: "2"},
}

// pair are the repositories of one release: its kernels are in BaseOS, and from 9 on kernel-devel is in AppStream.
func pair(places ...string) []repo {
	out := []repo{{name: "BaseOS"}, {name: "AppStream"}}
	for i := range out {
		for _, p := range places {
			out[i].at = append(out[i].at, p+"/{release}/"+out[i].name+"/{arch}/os")
		}
	}
	return out
}

// base is pair for 8, where BaseOS has all.
func base(places ...string) []repo { return pair(places...)[:1] }

// oracle is one of Oracle's repositories.
func oracle(name string) []repo {
	return []repo{{name, []string{"main:/" + name + "/{arch}"}}}
}

func keys(glob, dir string) []string {
	return []string{"/etc/pki/rpm-gpg/RPM-GPG-KEY-" + glob, "/usr/share/distribution-gpg-keys/" + dir + "/RPM-GPG-KEY-*"}
}

var families = map[string]*family{
	"rocky": {
		mirrors: map[string]string{
			"main":  "https://dl.rockylinux.org/pub/rocky",
			"vault": "https://dl.rockylinux.org/vault/rocky",
		},
		keys:  keys("Rocky-*", "rocky"),
		keyAt: "https://dl.rockylinux.org/pub/rocky/RPM-GPG-KEY-Rocky-8 (and -9, -10)",
		releases: []release{
			{name: "8.%d", first: 3, last: 10, repos: base("main:", "vault:"), lines: []yum.Line{core}},
			{name: "9.%d", first: 0, last: 6, open: true, repos: pair("main:", "vault:"), lines: []yum.Line{core}},
			{name: "10.%d", first: 0, last: 0, open: true, repos: pair("main:", "vault:"), lines: []yum.Line{core}},
		},
	},
	"almalinux": {
		mirrors: map[string]string{
			"main":  "https://repo.almalinux.org/almalinux",
			"vault": "https://vault.almalinux.org",
		},
		keys:  keys("AlmaLinux*", "alma"),
		keyAt: "https://repo.almalinux.org/almalinux/RPM-GPG-KEY-AlmaLinux-8 (and -9, -10)",
		releases: []release{
			{name: "8.%d", first: 3, last: 10, repos: base("main:", "vault:"), lines: []yum.Line{core}},
			{name: "9.%d", first: 0, last: 6, open: true, repos: pair("main:", "vault:"), lines: []yum.Line{core}},
			{name: "10.%d", first: 0, last: 0, open: true, repos: pair("main:", "vault:"), lines: []yum.Line{core}},
		},
	},
	"centos": {
		mirrors: map[string]string{
			"vault":  "https://vault.centos.org",
			"stream": "https://mirror.stream.centos.org",
		},
		keys:  keys("*entos*", "centos"),
		keyAt: "https://www.centos.org/keys/RPM-GPG-KEY-CentOS-Official",
		releases: []release{
			{name: "8.0.1905", repos: base("vault:"), lines: []yum.Line{core}},
			{name: "8.1.1911", repos: base("vault:"), lines: []yum.Line{core}},
			{name: "8.2.2004", repos: base("vault:"), lines: []yum.Line{core}},
			{name: "8.3.2011", repos: base("vault:"), lines: []yum.Line{core}},
			{name: "8.4.2105", repos: base("vault:"), lines: []yum.Line{core}},
			{name: "8.5.2111", repos: base("vault:"), lines: []yum.Line{core}},
			{name: "8-stream", repos: base("vault:"), lines: []yum.Line{core}},
			{name: "9-stream", repos: pair("stream:"), lines: []yum.Line{core}},
			{name: "10-stream", repos: pair("stream:"), lines: []yum.Line{core}},
		},
	},
	"ol": {
		mirrors: map[string]string{"main": "https://yum.oracle.com/repo/OracleLinux"},
		keys:    keys("oracle*", "oracle"),
		keyAt:   "https://yum.oracle.com/RPM-GPG-KEY-oracle-ol8 (and -ol9, -ol10)",
		releases: []release{
			{name: "OL8", repos: oracle("OL8/baseos/latest"), lines: []yum.Line{core}},
			{name: "OL8/UEKR6", repos: oracle("OL8/UEKR6"), lines: uek},
			{name: "OL8/UEKR7", repos: oracle("OL8/UEKR7"), lines: uek},
			{name: "OL9", repos: append(oracle("OL9/baseos/latest"), oracle("OL9/appstream")...), lines: []yum.Line{core}},
			{name: "OL9/UEKR7", repos: oracle("OL9/UEKR7"), lines: uek},
			{name: "OL9/UEKR8", repos: oracle("OL9/UEKR8"), lines: uek},
			{name: "OL10", repos: append(oracle("OL10/baseos/latest"), oracle("OL10/appstream")...), lines: []yum.Line{core}},
			{name: "OL10/UEKR8", repos: oracle("OL10/UEKR8"), lines: uek},
		},
	},
	"redhat": {subscribed: "eus.txt"},
}
