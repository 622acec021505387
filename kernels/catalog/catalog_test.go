// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// source is a kernels.Source that lists what it is told.
type source struct {
	kernels.Source
	entries []kernels.Entry
	err     error
}

func (s *source) Name() string { return "debian" }

func (s *source) Enumerate(context.Context) ([]kernels.Entry, error) { return s.entries, s.err }

func entry(repo, release string) kernels.Entry {
	return kernels.Entry{
		Kernel: kernels.Kernel{Distro: "debian", Release: release, Version: "1", Arch: "x86_64"},
		Source: "debian", Repo: repo, PackageVersion: "1",
		Image: []kernels.Package{{Name: "linux-image-" + release, Digest: archive.DigestOf([]byte(release)), Size: 7}},
	}
}

// numbered makes n entries of repo.
func numbered(repo string, n int) []kernels.Entry {
	var out []kernels.Entry
	for i := range n {
		out = append(out, entry(repo, fmt.Sprintf("6.1.0-%d-%s", i, repo)))
	}
	return out
}

var day = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

func open(t testing.TB, path string) *Catalog {
	t.Helper()
	c, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func fresh(t testing.TB) *Catalog { return open(t, filepath.Join(t.TempDir(), "mews", "catalog.db")) }

func feed(t *testing.T, c *Catalog, now time.Time, err error, entries ...kernels.Entry) *Report {
	t.Helper()
	r, uerr := c.Update(t.Context(), &source{entries: entries, err: err}, now, false)
	if uerr != nil {
		t.Fatal(uerr)
	}
	return r
}

// state is what the catalogue lists: release availability, one a line.
func state(t *testing.T, c *Catalog, f Filter) string {
	t.Helper()
	list, err := c.List(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range list {
		out = append(out, r.Release+" "+string(r.Availability))
	}
	return strings.Join(out, "\n")
}

func TestUpdateMergesAndNeverDeletes(t *testing.T) {
	c := fresh(t)
	twenty := numbered("sid", 20)
	if r := feed(t, c, day, nil, twenty...); r.Failed() != nil || r.Repos[0].Added != 20 {
		t.Fatalf("%+v", r)
	}
	r := feed(t, c, day.AddDate(0, 0, 1), nil, twenty[1:]...)
	if r.Failed() != nil || r.Repos[0] != (Change{Repo: "sid", Count: 19, Withdrawn: 1}) {
		t.Fatalf("%+v", r)
	}
	gone, err := c.Get(t.Context(), "6.1.0-0-sid", "")
	if err != nil || gone.Availability != kernels.Withdrawn || !gone.LastSeen.Equal(day) || len(gone.Image) != 1 {
		t.Fatalf("%+v, %v", gone, err)
	}
	if r := feed(t, c, day.AddDate(0, 0, 2), nil, twenty...); r.Repos[0] != (Change{Repo: "sid", Count: 20, Back: 1}) {
		t.Fatalf("%+v", r)
	}
	back, err := c.Get(t.Context(), "6.1.0-0-sid", "")
	if err != nil || back.Availability != kernels.Available || !back.FirstSeen.Equal(day) || !back.LastSeen.Equal(day.AddDate(0, 0, 2)) {
		t.Fatalf("%+v, %v", back, err)
	}
}

func TestUpdateKeepsTheLastGoodList(t *testing.T) {
	unreachable := cause.Errorf(cause.MirrorUnreachable, cause.FaultInfra, "it does not answer")
	sid, forky := numbered("sid", 20), numbered("forky", 20)
	all := slices.Concat(sid, forky)
	for _, tc := range []struct {
		name    string
		entries []kernels.Entry
		err     error
		accept  bool
		says    string // of the report's error
		left    int    // kernels available after it
	}{
		{"nothing failed", all, nil, false, "", 40},
		{"a tenth less", slices.Concat(sid[2:], forky), nil, false, "", 38},
		{"over a tenth less", slices.Concat(sid[3:], forky), nil, false, "sid: lists 17 kernels where it listed 20", 40},
		{"over a tenth less, accepted", slices.Concat(sid[3:], forky), nil, true, "", 37},
		{"a repo is gone", forky, nil, false, "sid: lists 0 kernels", 40},
		{"a repo fails", forky, &kernels.RepoError{Repo: "sid", Err: unreachable}, false, "debian sid: it does not answer", 40},
		{"a repo fails halfway", slices.Concat(sid[:19], forky[1:]), errors.Join(fmt.Errorf("read: %w", &kernels.RepoError{Repo: "sid", Err: unreachable})), false, "does not answer", 39},
		{"both fail", nil, fmt.Errorf("all: %w", errors.Join(&kernels.RepoError{Repo: "sid", Err: unreachable}, &kernels.RepoError{Repo: "forky", Err: unreachable})), false, "debian forky", 40},
		{"something fails", slices.Concat(sid[1:], forky[1:]), unreachable, false, "it does not answer", 40},
		{"something fails, accepted or not", nil, unreachable, true, "it does not answer", 40},
		{"it lists nothing", nil, nil, true, "lists no kernel at all", 40},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := fresh(t)
			feed(t, c, day, nil, all...)
			next := day.AddDate(0, 0, 1)
			r, err := c.Update(t.Context(), &source{entries: tc.entries, err: tc.err}, next, tc.accept)
			if err != nil {
				t.Fatal(err)
			}
			failed := r.Failed()
			if tc.says == "" && failed != nil || tc.says != "" && (failed == nil || !strings.Contains(failed.Error(), tc.says)) {
				t.Errorf("reports %v, not %q", failed, tc.says)
			}
			if n := len(strings.Fields(state(t, c, Filter{Availability: kernels.Available}))) / 2; n != tc.left {
				t.Errorf("%d kernels are available, not %d", n, tc.left)
			}
			if n := len(strings.Fields(state(t, c, Filter{}))) / 2; n != 40 {
				t.Errorf("the catalogue has %d kernels of 40", n)
			}
			health, err := c.Health(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			bad := 0
			for _, h := range health {
				if !h.LastTry.Equal(next) {
					t.Errorf("%+v: the try is not noted", h)
				}
				if h.Error == "" {
					continue
				}
				bad++
				if !h.LastSuccess.Equal(day) || h.Repo != "" && h.Count != 20 {
					t.Errorf("%+v: the last success is lost", h)
				}
			}
			if tc.err == error(unreachable) && bad != 3 {
				t.Errorf("an error that names no repo is not noted of all: %+v", health)
			}
			if (bad > 0) != (tc.says != "") {
				t.Errorf("health %+v", health)
			}
		})
	}
}

func TestTwoPackagesOfOneRelease(t *testing.T) {
	older, newer := entry("sid", "6.1.0-9-amd64"), entry("sid", "6.1.0-9-amd64")
	older.PackageVersion, newer.PackageVersion = "6.1.99-1", "6.1.100-1"
	for _, order := range [][]kernels.Entry{{older, newer}, {newer, older}} {
		c := fresh(t)
		if r := feed(t, c, day, nil, order...); r.Repos[0].Count != 1 {
			t.Errorf("%+v", r)
		}
		got, err := c.Get(t.Context(), "debian:6.1.0-9-amd64", "x86_64")
		if err != nil || got.PackageVersion != "6.1.100-1" || !strings.Contains(got.Note, "6.1.99-1") {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

func TestOneKernelInTwoRepos(t *testing.T) {
	c := fresh(t)
	a, b := entry("bookworm", "6.1.0-9-amd64"), entry("bookworm-security", "6.1.0-9-amd64")
	b.PackageVersion = "2"
	rest := numbered("bookworm", 20)
	feed(t, c, day, nil, append(rest, a, b)...)
	if got, err := c.Get(t.Context(), "6.1.0-9-amd64", ""); err != nil || got.Repo != "bookworm-security" {
		t.Errorf("%+v, %v: the newer package is elsewhere", got, err)
	}
	// Gone from one of them, it can still be had of the other.
	if _, err := c.Update(t.Context(), &source{entries: append(rest, a)}, day, true); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Get(t.Context(), "6.1.0-9-amd64", ""); err != nil || got.Repo != "bookworm" || got.Availability != kernels.Available {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWhatWasResolvedIsKept(t *testing.T) {
	c := fresh(t)
	lazy := entry("sid", "6.1.0-9-amd64")
	lazy.Image = []kernels.Package{{Name: "vmlinux", Sum: "md5:0"}}
	feed(t, c, day, nil, lazy)
	known := lazy
	known.Image = []kernels.Package{{Name: "vmlinux", Sum: "md5:0", Digest: archive.DigestOf(nil)}}
	known.Headers = []kernels.Package{{Name: "headers"}}
	if err := c.Add(t.Context(), []kernels.Entry{known}, day); err != nil {
		t.Fatal(err)
	}
	feed(t, c, day, nil, lazy)
	if got, err := c.Get(t.Context(), lazy.Release, ""); err != nil || got.Image[0].Digest == "" || len(got.Headers) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	lazy.PackageVersion = "2"
	feed(t, c, day, nil, lazy)
	if got, err := c.Get(t.Context(), lazy.Release, ""); err != nil || len(got.Headers) != 0 {
		t.Errorf("a new package has the old one's files: %+v, %v", got, err)
	}
}

func TestAReleaseThatIsLearnt(t *testing.T) {
	c := fresh(t)
	listed := entry("cos-tools", "")
	listed.BuildID = "17800.570.5"
	feed(t, c, day, nil, listed)
	known := listed
	known.Release = "6.1.112+"
	if err := c.Add(t.Context(), []kernels.Entry{known}, day); err != nil {
		t.Fatal(err)
	}
	feed(t, c, day, nil, listed)
	if list, err := c.List(t.Context(), Filter{}); err != nil || len(list) != 1 || list[0].Release != "6.1.112+" {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestUpdateInterrupted(t *testing.T) {
	c := fresh(t)
	feed(t, c, day, nil, numbered("sid", 3)...)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Update(ctx, &source{}, day, true)
	if cause.Of(err).Cause != cause.Cancelled {
		t.Errorf("got %v", err)
	}
	if health, err := c.Health(t.Context()); err != nil || health[0].Error != "" {
		t.Errorf("%+v, %v", health, err)
	}
}

func TestTwoAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			c, err := Open(t.Context(), path)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for range 5 {
				if err := c.Add(t.Context(), numbered(fmt.Sprint("repo", i), 50), day); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if list, err := open(t, path).List(t.Context(), Filter{}); err != nil || len(list) != 200 {
		t.Errorf("%d kernels, %v", len(list), err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.db")
	if err := os.WriteFile(text, []byte(strings.Repeat("this is not a database\n", 100)), 0o644); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(dir, "newer.db")
	if _, err := open(t, newer).db.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{text: "move that file away", newer: "use the newer mews"} {
		_, err := Open(t.Context(), path)
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if got, err := os.ReadFile(text); err != nil || !strings.HasPrefix(string(got), "this is not") {
		t.Errorf("the file was touched: %q, %v", got, err)
	}
}

func TestMigrationsAreWholeOrNot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	feed(t, open(t, path), day, nil, numbered("sid", 3)...)
	shipped := migrations
	t.Cleanup(func() { migrations = shipped })
	migrations = append(slices.Clone(shipped), "ALTER TABLE listing ADD COLUMN more TEXT; SELECT nonsense")
	if _, err := Open(t.Context(), path); err == nil {
		t.Fatal("a migration that fails is taken for done")
	}
	migrations = append(slices.Clone(shipped), "ALTER TABLE listing ADD COLUMN more TEXT NOT NULL DEFAULT ''")
	c := open(t, path) // fails when half of the other migration is left
	if list, err := c.List(t.Context(), Filter{}); err != nil || len(list) != 3 {
		t.Errorf("%d kernels, %v", len(list), err)
	}
}

func BenchmarkList100000(b *testing.B) {
	c := fresh(b)
	var all []kernels.Entry
	for i := range 100_000 {
		e := entry(fmt.Sprint("repo", i%50), fmt.Sprintf("%d.%d.%d-%d-amd64", 4+i%4, i%20, i%250, i))
		for range 5 {
			e.Headers = append(e.Headers, kernels.Package{Name: "linux-headers", URL: "https://mirror.example/pool/main/l/linux/x.deb", Digest: archive.DigestOf(nil)})
		}
		all = append(all, e)
	}
	if _, err := c.Update(b.Context(), &source{entries: all}, day, false); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if list, err := c.List(b.Context(), Filter{Match: "debian:*"}); err != nil || len(list) != len(all) {
			b.Fatal(len(list), err)
		}
	}
}
