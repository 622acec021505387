// SPDX-License-Identifier: Apache-2.0

// Package yumtest knows how to serve RPM repositories, good and bad, to tests.
package yumtest

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	_ "modernc.org/sqlite" // the driver that writes indexes

	"github.com/mews-farm/mews/kernels/internal/debtest"
)

// Package is a package of a repository. Its file is Content; without any, the index alone knows it.
type Package struct {
	Name, Version, Release, Arch string
	Epoch                        string // "": 0
	Href                         string // "": Packages/<file>
	Uname                        string // what it provides as kernel-uname-r; "": nothing
	Sum                          string // sha256 in the index; "": of Content
	Content                      []byte
}

// Kernel is a package whose release is evr.arch, as most kernels are.
func Kernel(name, version, release, arch string) Package {
	return Package{Name: name, Version: version, Release: release, Arch: arch, Content: []byte("content of " + name + version + release + arch)}
}

// File is the name of its file.
func (p Package) File() string {
	return p.Name + "-" + p.Version + "-" + p.Release + "." + p.Arch + ".rpm"
}

func (p Package) href() string {
	if p.Href != "" {
		return p.Href
	}
	return "Packages/" + p.File()
}

func (p Package) sum() string {
	if p.Sum != "" {
		return p.Sum
	}
	sum := sha256.Sum256(p.Content)
	return hex.EncodeToString(sum[:])
}

// Form is what a repository has for an index.
type Form string

// The forms.
const (
	SQLite Form = "primary_db"
	XML    Form = "primary"
)

// Server serves what is put into it.
type Server struct {
	URL  string
	Sign func(content []byte) []byte // of repomd.xml; nil: no repomd.xml.asc

	t        testing.TB
	mu       sync.Mutex
	files    map[string][]byte
	handlers map[string]http.HandlerFunc
	asked    map[string]int
}

// New starts a server that ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, files: map[string][]byte{}, handlers: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked[r.URL.Path]++
	content, there := s.files[r.URL.Path]
	handler := s.handlers[r.URL.Path]
	s.mu.Unlock()
	switch {
	case handler != nil:
		handler(w, r)
	case there:
		w.Write(content)
	default:
		http.NotFound(w, r)
	}
}

// Put serves content at a path.
func (s *Server) Put(at string, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[at] = content
}

// File is what is served at a path.
func (s *Server) File(at string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[at]
}

// Handle lets h answer for a path.
func (s *Server) Handle(at string, h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers[at] = h
}

// Asked is how often a path was asked for.
func (s *Server) Asked(at string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[at]
}

// Publish makes a repository of packages at a path.
func (s *Server) Publish(at string, form Form, packages ...Package) {
	s.t.Helper()
	for _, p := range packages {
		if p.Content != nil {
			s.Put(path.Join(at, p.href()), p.Content)
		}
	}
	name, content := "primary.xml.gz", debtest.Compress(s.t, ".gz", primaryXML(s.t, packages))
	if form == SQLite {
		name, content = "primary.sqlite.gz", debtest.Compress(s.t, ".gz", primarySQLite(s.t, packages))
	}
	s.Index(at, form, name, content)
}

// Index makes repomd.xml of one index.
func (s *Server) Index(at string, form Form, name string, content []byte) {
	sum := sha256.Sum256(content)
	s.Put(at+"/repodata/"+name, content)
	repomd := fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo">
  <data type="%s"><checksum type="sha256">%x</checksum><location href="repodata/%s"/><size>%d</size></data>
</repomd>
`, form, sum, name, len(content))
	s.Put(at+"/repodata/repomd.xml", repomd)
	if s.Sign != nil {
		s.Put(at+"/repodata/repomd.xml.asc", s.Sign(repomd))
	}
}

func primaryXML(t testing.TB, packages []Package) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="%d">`, len(packages))
	for _, p := range packages {
		fmt.Fprintf(&b, `<package type="rpm"><name>%s</name><arch>%s</arch><version epoch="%s" ver="%s" rel="%s"/>`+
			`<checksum type="sha256" pkgid="YES">%s</checksum><size package="%d" installed="1" archive="1"/><location href="%s"/><format>`,
			escape(t, p.Name), p.Arch, p.epoch(), p.Version, p.Release, p.sum(), len(p.Content), escape(t, p.href()))
		if p.Uname != "" {
			version, release, _ := strings.Cut(p.Uname, "-")
			fmt.Fprintf(&b, `<rpm:provides><rpm:entry name="kernel-uname-r" flags="EQ" epoch="0" ver="%s" rel="%s"/></rpm:provides>`, version, release)
		}
		b.WriteString("</format></package>")
	}
	b.WriteString("</metadata>")
	return b.Bytes()
}

func (p Package) epoch() string {
	if p.Epoch == "" {
		return "0"
	}
	return p.Epoch
}

func escape(t testing.TB, s string) string {
	var b strings.Builder
	must(t, xml.EscapeText(&b, []byte(s)))
	return b.String()
}

// primarySQLite is what createrepo_c makes, as far as anybody reads it.
func primarySQLite(t testing.TB, packages []Package) []byte {
	name := filepath.Join(t.TempDir(), "primary.sqlite")
	db, err := sql.Open("sqlite", name)
	must(t, err)
	exec := func(query string, args ...any) {
		_, err := db.Exec(query, args...)
		must(t, err)
	}
	exec(`CREATE TABLE db_info (dbversion INTEGER, checksum TEXT)`)
	exec(`INSERT INTO db_info VALUES (10, '')`)
	exec(`CREATE TABLE packages (pkgKey INTEGER PRIMARY KEY, pkgId TEXT, name TEXT, arch TEXT, version TEXT, epoch TEXT, release TEXT,
		size_package INTEGER, location_href TEXT, location_base TEXT, checksum_type TEXT, rpm_sourcerpm TEXT)`)
	exec(`CREATE TABLE provides (name TEXT, flags TEXT, epoch TEXT, version TEXT, release TEXT, pkgKey INTEGER)`)
	for i, p := range packages {
		exec(`INSERT INTO packages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, 'sha256', '')`,
			i, p.sum(), p.Name, p.Arch, p.Version, p.epoch(), p.Release, len(p.Content), p.href())
		if p.Uname != "" {
			version, release, _ := strings.Cut(p.Uname, "-")
			exec(`INSERT INTO provides VALUES ('kernel-uname-r', 'EQ', '0', ?, ?, ?)`, version, release, i)
		}
	}
	must(t, db.Close())
	b, err := os.ReadFile(name)
	must(t, err)
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
