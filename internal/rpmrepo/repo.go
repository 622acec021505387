// SPDX-License-Identifier: Apache-2.0

package rpmrepo

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Index says which form the index of a repository has.
type Index string

// The forms.
const (
	SQLite Index = "sqlite" // beside primary.xml
	XML    Index = "xml"    // primary.xml alone
)

// Repo is a repository to make.
type Repo struct {
	Root     string                        // what a web server serves
	At       string                        // the path of the repository below it
	Packages []string                      // files
	Place    func(file, sum string) string // where below Root a package is to lie: Beside, Blobstore
	Index    Index
	Release  string // uname -r of the kernel in the packages
}

// Publish makes a repository, and signs its index.
func (f *Forge) Publish(ctx context.Context, r Repo) error {
	base := filepath.Join(r.Root, r.At)
	scan, err := os.MkdirTemp(f.Dir, "scan-")
	if err != nil {
		return err
	}
	for _, p := range r.Packages {
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		where := r.Place(filepath.Base(p), hex.EncodeToString(sum[:]))
		for _, to := range []string{filepath.Join(r.Root, where), filepath.Join(scan, where)} {
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(to, b, 0o644); err != nil {
				return err
			}
		}
	}
	up, err := filepath.Rel("/"+r.At, "/")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(base, 0o755); err != nil {
		return err
	}
	if err := f.run(ctx, "createrepo_c", "--no-database", "--compatibility", "--location-prefix", up, "-o", base, scan); err != nil {
		return err
	}
	if err := f.unflat(ctx, base, r.Release); err != nil {
		return err
	}
	if r.Index == SQLite {
		if err := f.run(ctx, "sqliterepo_c", "--compress-type", "gz", base); err != nil {
			return err
		}
	}
	return f.signIndex(ctx, base)
}

// unflat puts the release that rpmbuild did not take into the index, where nobody minds its hyphens.
func (f *Forge) unflat(ctx context.Context, base, release string) error {
	found, err := filepath.Glob(filepath.Join(base, "repodata/*primary.xml.gz"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("createrepo_c made not one primary.xml.gz, but %q", found)
	}
	packed, err := os.ReadFile(found[0])
	if err != nil {
		return err
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(release, "-")
	_, flatRest, _ := strings.Cut(flat(release), "-")
	put := bytes.ReplaceAll(text, []byte(`rel="`+flatRest+`"`), []byte(`rel="`+rest+`"`))
	if bytes.Equal(put, text) && rest != flatRest {
		return fmt.Errorf("no package of %s provides %s", base, flat(release))
	}
	primary := filepath.Join(f.Dir, "primary.xml")
	if err := os.WriteFile(primary, put, 0o644); err != nil {
		return err
	}
	return f.run(ctx, "modifyrepo_c", "--mdtype=primary", "--simple-md-filenames", primary, filepath.Join(base, "repodata"))
}

// Beside is the usual place of packages: Packages/k below the repository at.
func Beside(at string) func(file, sum string) string {
	return func(file, _ string) string { return path.Join(at, "Packages", file[:1], file) }
}

// Blobstore is Amazon's place for them.
func Blobstore(file, sum string) string { return path.Join("blobstore", sum, file) }

// Server serves root, and for each path of lists a mirror.list that leads to the repository at its value on
// the same host, with $basearch in it as Amazon's have.
func Server(root string, lists map[string]string) http.Handler {
	files := http.FileServer(http.Dir(root))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if at, ok := lists[r.URL.Path]; ok {
			fmt.Fprintf(w, "http://%s%s\n", r.Host, strings.ReplaceAll(at, "x86_64", "$basearch"))
			return
		}
		files.ServeHTTP(w, r)
	})
}
