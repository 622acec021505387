// SPDX-License-Identifier: Apache-2.0

package repodata

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/debtest"
	"github.com/mews-farm/mews/kernels/internal/get"
	"github.com/mews-farm/mews/kernels/internal/pgp"
	"github.com/mews-farm/mews/kernels/internal/rpmtest"
	"github.com/mews-farm/mews/results/cause"
)

const digest = "a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90"

// amazonHref is how Amazon Linux 2 names its packages.
const amazonHref = "../../../../blobstore/" + digest + "/kernel-5.10.219-208.866.amzn2.x86_64.rpm"

// columns are those of a primary.sqlite that matter here.
const columns = `CREATE TABLE packages (pkgKey INTEGER PRIMARY KEY, pkgId TEXT, name TEXT, arch TEXT, version TEXT, epoch TEXT, release TEXT,
	rpm_sourcerpm TEXT, size_package INTEGER, location_href TEXT, location_base TEXT, checksum_type TEXT);
	CREATE TABLE provides (name TEXT, flags TEXT, epoch TEXT, version TEXT, release TEXT, pkgKey INTEGER);`

// two packages, one that nobody asks for, and what the first provides.
const rows = `INSERT INTO packages VALUES (1, '` + digest + `', 'kernel', 'x86_64', '5.10.219', '0', '208.866.amzn2', 'kernel-5.10.219-208.866.amzn2.src.rpm', 33000000, '` + amazonHref + `', NULL, 'sha256');
	INSERT INTO packages VALUES (2, '` + digest + `', 'kernel', 'x86_64', '5.10.179', '0', '168.710.amzn2', NULL, 1, 'Packages/k.rpm', NULL, 'sha256');
	INSERT INTO packages VALUES (3, '` + digest + `', 'bash', 'x86_64', '5', NULL, '1', NULL, 1, 'Packages/b.rpm', NULL, 'sha256');
	INSERT INTO provides VALUES ('kernel-uname-r', 'EQ', '0', '5.10.219-208.866.amzn2.x86_64', NULL, 1);
	INSERT INTO provides VALUES ('kernel(printk)', 'EQ', '0', '0x1', NULL, 1);
	INSERT INTO provides VALUES ('kernel', 'EQ', '0', '5.10.219', '208.866.amzn2', 1);`

// primaryXML says the same.
var primaryXML = `<?xml version="1.0" encoding="UTF-8"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="3">
` + packageXML("kernel", "5.10.179", "168.710.amzn2", `href="Packages/k.rpm"`, 1, "") +
	packageXML("kernel", "5.10.219", "208.866.amzn2", `href="`+amazonHref+`"`, 33000000, `
    <rpm:sourcerpm>kernel-5.10.219-208.866.amzn2.src.rpm</rpm:sourcerpm>
    <rpm:provides><rpm:entry name="kernel-uname-r" flags="EQ" epoch="0" ver="5.10.219-208.866.amzn2.x86_64"/>
      <rpm:entry name="kernel(printk)" flags="EQ" epoch="0" ver="0x1"/>
      <rpm:entry name="kernel" flags="EQ" epoch="0" ver="5.10.219" rel="208.866.amzn2"/></rpm:provides>`) +
	packageXML("bash", "5", "1", `href="Packages/b.rpm"`, 1, "") + "</metadata>\n"

func packageXML(name, version, release, location string, size int, format string) string {
	return fmt.Sprintf(`<package type="rpm"><name>%s</name><arch>x86_64</arch><version epoch="0" ver="%s" rel="%s"/>
  <checksum type="sha256" pkgid="YES">%s</checksum><summary>A &amp; B</summary><size package="%d" installed="2" archive="3"/>
  <location %s/><format>%s<file>/etc/x</file></format></package>
`, name, version, release, digest, size, location, format)
}

func database(t testing.TB, statements string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "primary.sqlite")
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statements); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// site serves files by their paths.
type site struct {
	*httptest.Server
	files map[string][]byte
}

const root = "/2/core/2.0/x86_64/hash"

func newSite(t *testing.T) *site {
	s := &site{files: map[string][]byte{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, ok := s.files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(b)
	}))
	t.Cleanup(s.Close)
	return s
}

// data is one entry of repomd.xml.
func data(kind, file string, content []byte, more string) string {
	sum := sha256.Sum256(content)
	return fmt.Sprintf(`<data type="%s"><checksum type="sha256">%s</checksum><location href="repodata/%s"/><size>%d</size>%s</data>`,
		kind, hex.EncodeToString(sum[:]), file, len(content), more)
}

// add puts an index on the site, and returns its entry for repomd.xml.
func (s *site) add(kind, file string, content []byte) string {
	s.files[root+"/repodata/"+file] = content
	return data(kind, file, content, "")
}

func (s *site) repomd(data ...string) {
	s.files[root+"/repodata/repomd.xml"] = []byte(`<?xml version="1.0"?><repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1</revision>` + strings.Join(data, "") + `</repomd>`)
}

func client(t *testing.T) *get.Client {
	t.Helper()
	a, err := archive.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return get.New(get.Options{Archive: a, Patience: get.Patience{Stall: 5 * time.Second, Backoff: time.Millisecond}})
}

func (s *site) list(t *testing.T, names ...string) ([]Package, error) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	packages, err := List(t.Context(), s.URL+root, Options{Client: client(t), Policy: Checksummed}, names...)
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	return packages, err
}

func TestList(t *testing.T) {
	db := database(t, columns+rows)
	for _, tc := range []struct {
		name, kind, file string
		content          []byte
	}{
		{"sqlite", "primary_db", "primary.sqlite", db},
		{"sqlite, gzip", "primary_db", "x-primary.sqlite.gz", debtest.Compress(t, ".gz", db)},
		{"sqlite, xz", "primary_db", "x-primary.sqlite.xz", debtest.Compress(t, ".xz", db)},
		{"sqlite, zstd", "primary_db", "x-primary.sqlite.zst", debtest.Compress(t, ".zst", db)},
		{"XML", "primary", "primary.xml", []byte(primaryXML)},
		{"XML, gzip", "primary", "x-primary.xml.gz", debtest.Compress(t, ".gz", []byte(primaryXML))},
		{"XML, zstd", "primary", "x-primary.xml.zst", debtest.Compress(t, ".zst", []byte(primaryXML))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t)
			s.repomd(data("other", "other.xml.gz", nil, ""), s.add(tc.kind, tc.file, tc.content))
			got, err := s.list(t, "kernel", "kernel-devel")
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 2 {
				t.Fatalf("got %+v", got)
			}
			p := got[0]
			if p.EVR.String() != "5.10.219-208.866.amzn2" || p.Arch != "x86_64" || p.Size != 33000000 || p.Sum != "sha256:"+digest ||
				p.SourceRPM != "kernel-5.10.219-208.866.amzn2.src.rpm" || p.URL != s.URL+"/2/blobstore/"+digest+"/kernel-5.10.219-208.866.amzn2.x86_64.rpm" {
				t.Errorf("%+v", p)
			}
			var provides []string
			for _, d := range p.Provides {
				provides = append(provides, d.String())
			}
			if want := []string{"kernel-uname-r = 5.10.219-208.866.amzn2.x86_64", "kernel = 5.10.219-208.866.amzn2"}; !slices.Equal(provides, want) {
				t.Errorf("provides %q", provides)
			}
			if got[1].EVR.Release != "168.710.amzn2" || got[1].URL != s.URL+root+"/Packages/k.rpm" {
				t.Errorf("%+v", got[1])
			}
			if k := p.Package(); string(k.Digest) != digest || k.Sum != "" || k.Version != "5.10.219-208.866.amzn2" {
				t.Errorf("%+v", k)
			}
		})
	}
}

func TestSQLiteIsPreferred(t *testing.T) {
	s := newSite(t)
	s.repomd(data("primary", "primary.xml.gz", []byte("not fetched"), ""), s.add("primary_db", "p.sqlite.gz", debtest.Compress(t, ".gz", database(t, columns+rows))))
	if got, err := s.list(t, "bash"); err != nil || len(got) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestSignedIndex(t *testing.T) {
	now := time.Now()
	key, old := rpmtest.Key(t, now.AddDate(-1, 0, 0), 0), rpmtest.Key(t, now.AddDate(-1, 0, 0), time.Hour)
	ring := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(ring, rpmtest.Public(t, key, old), 0o644); err != nil {
		t.Fatal(err)
	}
	keys, err := pgp.Load(ring)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		sign func(repomd []byte) []byte // nil: there is no signature
		is   error
	}{
		{"good", rpmtest.Signer(t, key, now), nil},
		{"none", nil, get.ErrNotFound},
		{"unknown key", rpmtest.Signer(t, rpmtest.Key(t, now, 0), now), pgp.ErrUnknownKey},
		{"expired key", rpmtest.Signer(t, old, now.AddDate(-1, 0, 0)), pgp.ErrExpired},
		{"of something else", func([]byte) []byte { return rpmtest.Signer(t, key, now)(nil) }, pgp.ErrMismatch},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t)
			s.repomd(s.add("primary", "p.xml", []byte(primaryXML)))
			if tc.sign != nil {
				s.files[root+"/repodata/repomd.xml.asc"] = tc.sign(s.files[root+"/repodata/repomd.xml"])
			}
			got, err := List(t.Context(), s.URL+root, Options{Client: client(t), Policy: Signed, Keys: keys, Now: now.Add(time.Minute)}, "bash")
			if tc.is == nil {
				if err != nil || len(got) != 1 {
					t.Errorf("%+v, %v", got, err)
				}
				return
			}
			if cause.Of(err).Cause != cause.SignatureInvalid || !errors.Is(err, tc.is) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestBadRepositories(t *testing.T) {
	db := database(t, columns+rows)
	good := debtest.Compress(t, ".gz", db)
	xmlOf := func(packages ...string) []byte {
		return []byte("<metadata>" + strings.Join(packages, "") + "</metadata>")
	}
	sql := func(statements string) func(*site) {
		return func(s *site) { s.repomd(s.add("primary_db", "p.sqlite", database(t, statements))) }
	}
	primary := func(text []byte) func(*site) {
		return func(s *site) { s.repomd(s.add("primary", "p.xml", text)) }
	}
	at := func(location string) func(*site) {
		return primary(xmlOf(packageXML("kernel", "1", "1", location, 1, "")))
	}
	served := func(b []byte) func(*site) {
		return func(s *site) { s.files[root+"/repodata/repomd.xml"] = b }
	}
	for _, tc := range []struct {
		name  string
		make  func(s *site)
		cause cause.Cause // empty: PACKAGE_CORRUPT
		is    error
		says  string
	}{
		{"no repository", func(*site) {}, cause.MirrorUnreachable, get.ErrNotFound, "repomd.xml"},
		{"a web page", served([]byte("<!DOCTYPE html><html><body>log in</body></html>")), cause.MirrorUnreachable, get.ErrWebPage, "repomd.xml"},
		{"repomd.xml cut short", served([]byte("<repomd><data type='primary'>")), "", nil, "repomd.xml"},
		{"repomd.xml is something else", served([]byte("<rss/>")), "", nil, "repomd"},
		{"repomd.xml without packages", func(s *site) { s.repomd() }, "", nil, "names no primary"},
		{"repomd.xml with a compression not known", func(s *site) { s.repomd(data("primary", "p.xml.zck", nil, "")) }, "", nil, "names no primary"},
		{"repomd.xml with MD5", func(s *site) {
			s.repomd(`<data type="primary"><checksum type="md5">d41d8cd98f00b204e9800998ecf8427e</checksum><location href="p.xml"/></data>`)
		}, "", nil, "md5"},
		{"repomd.xml with no checksum", func(s *site) { s.repomd(`<data type="primary"><location href="p.xml"/></data>`) }, "", nil, "checksum"},
		{"repomd.xml with a short checksum", func(s *site) {
			s.repomd(`<data type="primary"><checksum type="sha256">ab</checksum><location href="p.xml"/></data>`)
		}, "", nil, "no sha256"},
		{"index on another host", func(s *site) {
			s.repomd(`<data type="primary"><checksum type="sha256">` + digest + `</checksum><location href="http://evil.example/p.xml"/></data>`)
		}, "", ErrElsewhere, "evil.example"},
		{"index of 1 TB", func(s *site) {
			s.repomd(`<data type="primary"><checksum type="sha256">` + digest + `</checksum><location href="p.xml"/><size>1000000000000</size></data>`)
		}, "", ErrLimit, ""},
		{"index missing", func(s *site) { s.repomd(data("primary", "p.xml", []byte("x"), "")) }, cause.MirrorUnreachable, get.ErrNotFound, "p.xml"},
		{"index altered", func(s *site) {
			s.repomd(s.add("primary_db", "p.sqlite.gz", good))
			s.files[root+"/repodata/p.sqlite.gz"] = append(bytes.Clone(good[:len(good)-1]), 'x')
		}, "", ErrChecksum, "p.sqlite.gz"},
		{"index cut short", func(s *site) {
			s.repomd(s.add("primary_db", "p.sqlite.gz", good))
			s.files[root+"/repodata/p.sqlite.gz"] = good[:len(good)-10]
		}, "", ErrChecksum, "p.sqlite.gz"},
		{"index too long", func(s *site) {
			s.repomd(s.add("primary_db", "p.sqlite.gz", good))
			s.files[root+"/repodata/p.sqlite.gz"] = append(bytes.Clone(good), 'x')
		}, "", ErrLimit, "p.sqlite.gz"},
		{"gzip cut short", func(s *site) { s.repomd(s.add("primary_db", "p.sqlite.gz", good[:len(good)-10])) }, "", nil, "EOF"},
		{"gzip that is none", func(s *site) { s.repomd(s.add("primary_db", "p.sqlite.gz", []byte("nothing"))) }, "", nil, "gzip"},
		{"bzip2 that is none", func(s *site) { s.repomd(s.add("primary_db", "p.sqlite.bz2", []byte("nothing"))) }, "", nil, "bzip2"},
		{"decompression bomb", func(s *site) {
			zeros := debtest.Compress(t, ".gz", append(bytes.Clone(db), make([]byte, 8<<20)...))
			s.files[root+"/repodata/p.sqlite.gz"] = zeros
			s.repomd(data("primary_db", "p.sqlite.gz", zeros, "<open-size>"+fmt.Sprint(len(db))+"</open-size>"))
		}, "", ErrLimit, ""},
		{"SQLite that is none", func(s *site) { s.repomd(s.add("primary_db", "p.sqlite", []byte("<xml/>"))) }, "", ErrSQLite, "p.sqlite"},
		{"SQLite that only begins as one", func(s *site) {
			s.repomd(s.add("primary_db", "p.sqlite", append([]byte(sqliteMagic), bytes.Repeat([]byte{0x5a}, 4096)...)))
		}, "", ErrSQLite, "p.sqlite"},
		{"SQLite damaged", func(s *site) {
			b := bytes.Clone(db)
			for i := 4096; i < len(b); i++ {
				b[i] = 0xff
			}
			s.repomd(s.add("primary_db", "p.sqlite", b))
		}, "", ErrSQLite, ""},
		{"SQLite of something else", sql("CREATE TABLE t (x)"), "", ErrSQLite, "no table packages"},
		{"SQLite with other columns", sql("CREATE TABLE packages (x); CREATE TABLE provides (x)"), "", ErrSQLite, ""},
		{"SQLite with a view that does not end", sql(`CREATE TABLE provides (x); CREATE VIEW packages AS
			WITH RECURSIVE n(name) AS (SELECT 1 UNION ALL SELECT name+1 FROM n) SELECT * FROM n`), "", ErrSQLite, "no plain table"},
		{"SQLite with a virtual table", sql("CREATE TABLE provides (x); CREATE VIRTUAL TABLE packages USING rtree(id, a, b)"), "", ErrSQLite, "no plain table"},
		{"SQLite with a computed column", sql("CREATE TABLE provides (x); CREATE TABLE packages (x, name AS (hex(zeroblob(x))))"), "", ErrSQLite, "computed"},
		{"XML cut short", primary([]byte(primaryXML[:len(primaryXML)-300])), "", nil, "primary.xml"},
		{"XML without its end", primary([]byte(strings.TrimSuffix(primaryXML, "</metadata>\n"))), "", nil, "EOF"},
		{"XML of something else", primary([]byte("<filelists/>")), "", nil, "<filelists>"},
		{"XML element crossed", primary([]byte("<metadata><package></metadata></package>")), "", nil, "primary.xml"},
		{"package of no size", primary([]byte(strings.ReplaceAll(primaryXML, `<size package="1"`, `<size package="big"`))), "", nil, "size"},
		{"package of a negative size", primary([]byte(strings.ReplaceAll(primaryXML, `<size package="1"`, `<size package="-1"`))), "", nil, "negative"},
		{"package without a version", primary(xmlOf("<package><name>kernel</name></package>")), "", nil, "no part"},
		{"package whose version is a path", primary(xmlOf(packageXML("kernel", "../../x", "1", `href="k.rpm"`, 1, ""))), "", nil, "no part"},
		{"package with text in its name", primary(xmlOf("<package><name>kernel<b/></name></package>")), "", nil, "inside of text"},
		{"package on another host", at(`href="https://evil.example/k.rpm"`), "", ErrElsewhere, "evil.example"},
		{"package on another host, without a scheme", at(`href="//evil.example/k.rpm"`), "", ErrElsewhere, "evil.example"},
		{"package by another user", func(s *site) {
			at(`href="http://root@` + s.Listener.Addr().String() + `/k.rpm"`)(s)
		}, "", ErrElsewhere, "root@"},
		{"package in a file", at(`href="file:///etc/passwd"`), "", nil, "not on the web"},
		{"package in a file by xml:base", at(`xml:base="file:///etc" href="passwd"`), "", nil, "not on the web"},
		{"package away from its xml:base", at(`xml:base="http://cdn.example/" href="http://evil.example/k.rpm"`), "", ErrElsewhere, "evil.example"},
		{"package nowhere", at(``), "", nil, "no location"},
		{"package at what is no URL", at(`href="http://[x/k.rpm"`), "", nil, "location"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t)
			tc.make(s)
			got, err := s.list(t, "kernel")
			if err == nil {
				t.Fatalf("listed %+v", got)
			}
			if tc.cause == "" {
				tc.cause = cause.PackageCorrupt
			}
			if f := cause.Of(err); f.Cause != tc.cause || f.Fault != cause.FaultInfra {
				t.Errorf("%v is %+v", err, f)
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("%v is not %v", err, tc.is)
			}
			if !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%q does not say %q", err, tc.says)
			}
			var c *cause.Err
			if !errors.As(err, &c) || c.Hint == "" {
				t.Errorf("%q does not say what to do", err)
			}
		})
	}
}

func TestLocations(t *testing.T) {
	for _, tc := range []struct{ location, want string }{
		{`href="Packages/k.rpm"`, root + "/Packages/k.rpm"},
		{`href="../../k.rpm"`, "/2/core/2.0/k.rpm"},
		{`href="../../../../../../../../k.rpm"`, "/k.rpm"},
		{`href="/k.rpm"`, "/k.rpm"},
		{`xml:base="media" href="k.rpm"`, root + "/media/k.rpm"},
		{`href="k%2B1.rpm#x"`, root + "/k%2B1.rpm"},
	} {
		s := newSite(t)
		s.repomd(s.add("primary", "p.xml", []byte("<metadata>"+packageXML("kernel", "1", "1", tc.location, 1, "")+"</metadata>")))
		got, err := s.list(t, "kernel")
		if err != nil || len(got) != 1 || got[0].URL != s.URL+tc.want {
			t.Errorf("%s: %+v, %v", tc.location, got, err)
		}
	}
	// An index of its own, too, may lie where xml:base says.
	elsewhere := strings.Replace(data("primary", "p.xml", nil, ""), "<location ", `<location xml:base="https://cdn.example/a" `, 1)
	if r, err := Parse("https://mirror.example/x", []byte("<repomd>"+elsewhere+"</repomd>")); err != nil || r.primary.url != "https://cdn.example/a/repodata/p.xml" {
		t.Errorf("%+v, %v", r, err)
	}
	s := newSite(t)
	s.repomd(s.add("primary", "p.xml", []byte("<metadata>"+packageXML("kernel", "1", "1", `xml:base="https://cdn.example/a/" href="k.rpm"`, 1, "")+"</metadata>")))
	if got, err := s.list(t, "kernel"); err != nil || got[0].URL != "https://cdn.example/a/k.rpm" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestNamesAreNoSQL: a name is a value, whatever it holds.
func TestNamesAreNoSQL(t *testing.T) {
	s := newSite(t)
	s.repomd(s.add("primary_db", "p.sqlite", database(t, columns+rows)))
	if got, err := s.list(t, "x' OR '1'='1"); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}
