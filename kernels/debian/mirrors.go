// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"io/fs"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/mews-farm/mews/results/cause"
)

// Mirrors are the base URLs of Debian's two archives, without a trailing slash.
type Mirrors struct {
	Main     string // ends in /debian, as a rule
	Security string
}

// public is what is used when neither the user nor the host names a mirror.
var public = Mirrors{
	Main:     "http://deb.debian.org/debian",
	Security: "http://security.debian.org/debian-security",
}

// EnvMirror names the environment variable that overrides the host's apt sources: the URL of the main archive and,
// after white space, that of the security archive. Without the second it is <main>-security.
const EnvMirror = "MEWS_DEBIAN_MIRROR"

// Discover finds the mirrors: $MEWS_DEBIAN_MIRROR, else the host's apt sources, else Debian's own servers.
func Discover() (Mirrors, error) {
	return discover(os.Getenv(EnvMirror), os.DirFS("/etc/apt"))
}

func discover(env string, apt fs.FS) (Mirrors, error) {
	if f := strings.Fields(env); len(f) > 0 {
		m := Mirrors{Main: f[0]}
		if len(f) > 1 {
			m.Security = f[1]
		}
		return m.complete()
	}
	m, err := hostMirrors(apt)
	if err != nil {
		return Mirrors{}, err
	}
	if m.Main == "" {
		return public, nil
	}
	return m.complete()
}

// complete derives the security archive where only the main one is named, and checks both.
func (m Mirrors) complete() (Mirrors, error) {
	m.Main = strings.TrimRight(m.Main, "/")
	m.Security = strings.TrimRight(m.Security, "/")
	if m.Security == "" {
		m.Security = m.Main + "-security"
	}
	for _, raw := range []string{m.Main, m.Security} {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return Mirrors{}, cause.Errorf(cause.MirrorUnreachable, cause.FaultInfra, "%q is not the URL of a Debian mirror", raw).
				Advise("give one such as %s", public.Main)
		}
	}
	return m, nil
}

// of returns the base URL of the archive that holds suite.
func (m Mirrors) of(suite string) string {
	if isSecurity(suite) {
		return m.Security
	}
	return m.Main
}

func isSecurity(suite string) bool { return strings.HasSuffix(suite, "-security") }

// hostMirrors reads sources.list and sources.list.d, apt's way; the first entry of each archive wins.
func hostMirrors(apt fs.FS) (Mirrors, error) {
	files := []string{"sources.list"}
	for _, glob := range []string{"sources.list.d/*.list", "sources.list.d/*.sources"} {
		more, err := fs.Glob(apt, glob)
		if err != nil {
			return Mirrors{}, cause.Errorf(cause.Internal, cause.FaultHarness, "list apt sources: %w", err)
		}
		files = append(files, more...)
	}
	var m Mirrors
	for _, name := range files {
		text, err := fs.ReadFile(apt, name)
		if err != nil {
			continue // not there, or not ours to read: apt warns about it, the next file may do
		}
		parse := oneLine
		if path.Ext(name) == ".sources" {
			parse = deb822
		}
		for _, e := range parse(string(text)) {
			main, security := e.debian()
			if m.Main == "" && main {
				m.Main = strings.TrimRight(e.uri, "/")
			}
			if m.Security == "" && security {
				m.Security = strings.TrimRight(e.uri, "/")
			}
		}
	}
	return m, nil
}

// aptSource is one URI of an apt source with what belongs to it.
type aptSource struct {
	uri    string
	suites []string
	comps  []string
}

// debian tells whether e is Debian's main or security archive. Other vendors' repositories lie in the same files,
// with suites and components of the same names; the last part of the path is what all mirrors of Debian have in common.
func (e aptSource) debian() (main, security bool) {
	u, err := url.Parse(e.uri)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || !slices.Contains(e.comps, "main") {
		return false, false
	}
	p := "/" + strings.Trim(u.Path, "/") + "/"
	if slices.ContainsFunc(e.suites, func(s string) bool { return isSecurity(strings.TrimSuffix(s, "/updates")) }) || strings.Contains(p, "/debian-security/") {
		return false, strings.Contains(p, "/debian-security/") || u.Host == "security.debian.org"
	}
	return strings.Contains(p, "/debian/"), false
}

// oneLine reads the sources.list(5) one-line style: deb [ option=value ... ] uri suite [component ...]
func oneLine(text string) []aptSource {
	var out []aptSource
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if open := strings.IndexByte(line, '['); open >= 0 {
			if end := strings.IndexByte(line, ']'); end > open {
				line = line[:open] + " " + line[end+1:]
			}
		}
		f := strings.Fields(line)
		if len(f) < 3 || f[0] != "deb" {
			continue
		}
		out = append(out, aptSource{uri: f[1], suites: f[2:3], comps: f[3:]})
	}
	return out
}

// deb822 reads the sources.list(5) deb822 style. Only a line that begins with # is a comment, and it does not end
// a paragraph.
func deb822(text string) []aptSource {
	var out []aptSource
	field := map[string]string{}
	var last string
	flush := func() {
		types := strings.Fields(field["types"])
		if slices.Contains(types, "deb") && !strings.EqualFold(strings.TrimSpace(field["enabled"]), "no") {
			for _, uri := range strings.Fields(field["uris"]) {
				out = append(out, aptSource{uri, strings.Fields(field["suites"]), strings.Fields(field["components"])})
			}
		}
		clear(field)
		last = ""
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			flush()
		case line[0] == ' ' || line[0] == '\t':
			if last != "" {
				field[last] += " " + line
			}
		default:
			if k, v, ok := strings.Cut(line, ":"); ok {
				last = strings.ToLower(strings.TrimSpace(k))
				field[last] = v
			}
		}
	}
	flush()
	return out
}
