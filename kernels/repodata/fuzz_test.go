// SPDX-License-Identifier: Apache-2.0

package repodata

import (
	"net/url"
	"strings"
	"testing"
)

func FuzzRepomd(f *testing.F) {
	f.Add([]byte(`<repomd>` + data("primary", "p.xml.gz", nil, "<open-size>9</open-size>") + `</repomd>`))
	f.Add([]byte(`<repomd>` + strings.Replace(data("primary_db", "../p.sqlite", nil, ""), "<location ", `<location xml:base="http://cdn.example/x" `, 1) + `</repomd>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Parse("https://mirror.example/repo", text)
		if err != nil {
			return
		}
		u, err := url.Parse(r.primary.url)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			t.Errorf("index at %q", r.primary.url)
		}
		if kind, _, _ := strings.Cut(r.primary.sum, ":"); sums[kind] == nil {
			t.Errorf("checksum %q", r.primary.sum)
		}
		if r.primary.size < -1 || r.primary.size > maxPacked || r.primary.openSize < 0 || r.primary.openSize > maxIndex {
			t.Errorf("sizes %d and %d", r.primary.size, r.primary.openSize)
		}
	})
}

func FuzzPrimary(f *testing.F) {
	f.Add(primaryXML)
	f.Add(`<metadata><x/><package><name>kernel</name></package></metadata>`)
	f.Fuzz(func(t *testing.T, text string) {
		base, err := url.Parse("https://mirror.example/repo/")
		if err != nil {
			t.Fatal(err)
		}
		packages, err := (&Repo{base: base}).fromXML(t.Context(), strings.NewReader(text), []string{"kernel"})
		if err != nil {
			return
		}
		for _, p := range packages {
			u, err := url.Parse(p.URL)
			if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
				t.Errorf("%s at %q", p.Name, p.URL)
			}
			if p.Name != "kernel" || p.Arch == "" || p.Size < 0 || p.Sum == "" || strings.ContainsRune(p.EVR.Version+p.EVR.Release+p.Arch, '/') {
				t.Errorf("%+v", p)
			}
		}
	})
}
