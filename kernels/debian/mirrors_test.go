// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"testing"
	"testing/fstest"
)

func TestDiscover(t *testing.T) {
	type files map[string]string
	const vendors = `deb https://packages.example.com/apt cloud-sdk-bookworm main
Types: deb`
	for _, tc := range []struct {
		name string
		env  string
		apt  files
		want Mirrors
	}{
		{"nothing", "", nil, public},
		{"environment", "http://m.example/debian/", nil, Mirrors{"http://m.example/debian", "http://m.example/debian-security"}},
		{"environment with both", "http://m.example/debian http://s.example/x", nil, Mirrors{"http://m.example/debian", "http://s.example/x"}},
		{"environment before apt", "http://m.example/debian", files{"sources.list": "deb http://a.example/debian sid main"},
			Mirrors{"http://m.example/debian", "http://m.example/debian-security"}},
		{"one-line style", "", files{"sources.list": `# a comment
deb-src http://src.example/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://a.example/debian bookworm main contrib # more
deb http://s.example/debian-security/ bookworm-security main`},
			Mirrors{"http://a.example/debian", "http://s.example/debian-security"}},
		{"the security host of old", "", files{"sources.list": `deb http://a.example/debian bookworm main
deb http://security.debian.org/ bookworm-security main`},
			Mirrors{"http://a.example/debian", "http://security.debian.org"}},
		{"deb822 style", "", files{"sources.list.d/debian.sources": `Types: deb
# URIs: http://comment.example/debian
URIs: http://a.example/debian
Suites: bookworm
 bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb deb-src
URIs: http://a.example/debian-security
Suites: bookworm-security
Components: main
`}, Mirrors{"http://a.example/debian", "http://a.example/debian-security"}},
		{"deb822, switched off", "", files{"sources.list.d/debian.sources": `Types: deb
URIs: http://off.example/debian
Suites: sid
Components: main
Enabled: no

Types: deb
URIs: http://on.example/debian
Suites: sid
Components: main`}, Mirrors{"http://on.example/debian", "http://on.example/debian-security"}},
		{"other vendors only", "", files{
			"sources.list.d/cloud.list": vendors,
			"sources.list.d/node.sources": `Types: deb
URIs: https://deb.example.com/node_20.x
Suites: nodistro
Components: main`,
			"sources.list.d/ubuntu.list": "deb http://archive.example.com/ubuntu jammy main",
		}, public},
		{"mirror: and file: URIs", "", files{"sources.list": `deb file:/srv/debian sid main
deb http://a.example/pub/debian sid main`}, Mirrors{"http://a.example/pub/debian", "http://a.example/pub/debian-security"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			apt := fstest.MapFS{}
			for name, text := range tc.apt {
				apt[name] = &fstest.MapFile{Data: []byte(text)}
			}
			got, err := discover(tc.env, apt)
			if err != nil || got != tc.want {
				t.Errorf("got %v, %v; want %v", got, err, tc.want)
			}
		})
	}
	for _, env := range []string{"m.example/debian", "file:///srv/debian", "http:///debian"} {
		if m, err := discover(env, fstest.MapFS{}); err == nil {
			t.Errorf("took %q: %v", env, m)
		}
	}
}
