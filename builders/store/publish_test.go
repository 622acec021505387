// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

func TestPublishTwiceIsOnce(t *testing.T) {
	s, dir := opened(t), t.TempDir()
	if r := publish(t, s, Options{}, sample(dir)...); r.Written != 5 || r.Same != 0 {
		t.Errorf("first: %+v", r)
	}
	clean(t, s, 3)
	before := contents(t, s)
	if r := publish(t, s, Options{}, sample(dir)...); r.Same != 5 || r.Written+r.Replaced+r.Completed != 0 {
		t.Errorf("second: %+v", r)
	}
	if !maps.Equal(before, contents(t, s)) {
		t.Error("publishing the same changed the store")
	}
	for _, e := range sample(dir) {
		st, err := s.Has(t.Context(), e.Key)
		if err != nil || !st.Settled || st.Sidecar.Inputs != e.Inputs {
			t.Errorf("%s: %+v, %v", e.Key, st, err)
		}
	}
	if st, err := s.Has(t.Context(), key("0.23.2", "debian_1-2-amd64_1", "kmod")); err != nil || st.Sidecar != nil || st.Settled {
		t.Errorf("what nobody published: %+v, %v", st, err)
	}
}

// A build of other bytes has the same sidecar but for the time it took: the artifact that is there keeps its own.
func TestSameContentKeepsItsSidecar(t *testing.T) {
	s, dir := opened(t), t.TempDir()
	publish(t, s, Options{}, built(dir, bookwormKo, "m"))
	before := contents(t, s)
	again := built(dir, bookwormKo, "m")
	again.Artifact.Seconds = 99
	if r := publish(t, s, Options{Replace: true}, again); r.Same != 1 {
		t.Errorf("%+v", r)
	}
	if !maps.Equal(before, contents(t, s)) {
		t.Error("the sidecar was written anew")
	}
}

func TestConflictTouchesNothingOfItsKernel(t *testing.T) {
	s, dir := opened(t), t.TempDir()
	old := built(dir, bookwormKo, "old module")
	publish(t, s, Options{}, old)
	before := contents(t, s)

	module, probe, other := built(dir, bookwormKo, "new module"), built(dir, bookwormO, "probe"), built(dir, plusKo, "of another kernel")
	r, err := s.Publish(t.Context(), []Entry{module, probe, other}, Options{})
	if cause.Of(err).Cause != cause.StoreConflict || cause.Of(err).State != cause.Error {
		t.Fatalf("got %v", err)
	}
	for _, d := range []archive.Digest{old.Artifact.SHA256, module.Artifact.SHA256} {
		if !strings.Contains(err.Error(), string(d)) {
			t.Errorf("%v does not name %s", err, d)
		}
	}
	if !slices.Equal(r.Conflicts, []Key{bookwormKo}) || r.Written != 1 {
		t.Errorf("%+v", r)
	}
	clean(t, s, 2)
	after := contents(t, s)
	for name, text := range before {
		if after[name] != text {
			t.Errorf("%s was changed", name)
		}
	}
	if _, there := after[bookwormO.sidecar()]; there {
		t.Error("the probe was published without its module")
	}

	if r := publish(t, s, Options{Replace: true}, module, probe); r.Replaced != 1 || r.Written != 1 {
		t.Errorf("replace: %+v", r)
	}
	clean(t, s, 3)
	if contents(t, s)[bookwormKo.Path()] != "new module" {
		t.Error("not replaced")
	}
}

// A failed build does not take away what is there, unless it is told to.
func TestMarkersAndArtifacts(t *testing.T) {
	s, dir := opened(t), t.TempDir()
	publish(t, s, Options{}, failed(dir, plusO))
	if r := publish(t, s, Options{}, built(dir, plusO, "it builds now")); r.Written != 1 {
		t.Errorf("an artifact instead of a failure: %+v", r)
	}
	clean(t, s, 1)
	r, err := s.Publish(t.Context(), []Entry{failed(dir, plusO)}, Options{})
	if cause.Of(err).Cause != cause.StoreConflict || len(r.Conflicts) != 1 || !strings.Contains(err.Error(), "COMPILE_ERROR") {
		t.Errorf("a failure instead of an artifact: %+v, %v", r, err)
	}
	clean(t, s, 1)
	if r := publish(t, s, Options{Replace: true}, unavailable(plusO, "the driver has no probe any more")); r.Replaced != 1 {
		t.Errorf("%+v", r)
	}
	clean(t, s, 0)
	for name := range contents(t, s) {
		if strings.HasSuffix(name, ".o") || strings.HasSuffix(name, ".intoto.json") {
			t.Errorf("%s is still there", name)
		}
	}
}

// What was spoilt beside an artifact is made whole by publishing the artifact again.
func TestPublishMendsWhatIsBeside(t *testing.T) {
	for _, spoil := range []string{bookwormKo.sidecar(), bookwormKo.provenance(), "logs", "0.23.2/index.json", "0.23.2/index.html"} {
		s, dir := opened(t), t.TempDir()
		publish(t, s, Options{}, built(dir, bookwormKo, "m"))
		want := contents(t, s)
		d := s.b.(*dirBackend)
		if spoil == "logs" {
			if err := d.root.RemoveAll(spoil); err != nil {
				t.Fatal(err)
			}
		} else if err := d.root.WriteFile(spoil, []byte("{}"), 0o644); err != nil {
			t.Fatal(err)
		}
		if c, err := s.Verify(t.Context(), ""); err != nil || c.Clean() {
			t.Errorf("%s: Verify saw nothing: %+v, %v", spoil, c, err)
		}
		publish(t, s, Options{}, built(dir, bookwormKo, "m"))
		clean(t, s, 1)
		if !maps.Equal(want, contents(t, s)) {
			t.Errorf("%s: not as it was", spoil)
		}
	}
}

func TestBadEntriesAreRefused(t *testing.T) {
	dir := t.TempDir()
	for what, spoil := range map[string]func(*Entry){
		"no key":                    func(e *Entry) { e.Key.Arch = "amd64" },
		"nothing at all":            func(e *Entry) { e.Artifact = nil },
		"artifact and reason":       func(e *Entry) { e.Unavailable = "x" },
		"artifact of another kind":  func(e *Entry) { e.Artifact.Variant = "ebpf" },
		"a module of other bytes":   func(e *Entry) { e.Artifact.SHA256 = archive.DigestOf(nil) },
		"a module of another size":  func(e *Entry) { e.Artifact.Size-- },
		"a log of other bytes":      func(e *Entry) { e.Artifact.Log = archive.DigestOf(nil) },
		"a module that is not here": func(e *Entry) { e.Artifact.Path += "x" },
	} {
		s := opened(t)
		e := built(dir, bookwormKo, "m")
		spoil(&e)
		_, err := s.Publish(t.Context(), []Entry{e}, Options{})
		var c *cause.Err
		if !errors.As(err, &c) || c.State != cause.Error {
			t.Errorf("%s: %v", what, err)
		}
		for name := range contents(t, s) {
			if strings.HasSuffix(name, ".ko") {
				t.Errorf("%s: published", what)
			}
		}
	}
	s := opened(t)
	if _, err := s.Publish(t.Context(), []Entry{built(dir, bookwormKo, "m"), built(dir, bookwormKo, "n")}, Options{}); err == nil {
		t.Error("one key twice was taken")
	}
}

// A link that somebody puts into the store leads nowhere outside.
func TestLinksLeadNowhere(t *testing.T) {
	s, dir, outside := opened(t), t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, s.String()+"/0.23.2"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Publish(t.Context(), []Entry{built(dir, bookwormKo, "m")}, Options{}); err == nil {
		t.Error("published through a link")
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("outside: %v, %v", left, err)
	}
}

// Publishers at the same time lose nothing of each other, and of two that publish other content under one name one is told.
func TestPublishersAtOnce(t *testing.T) {
	s, dir := opened(t), t.TempDir()
	var all sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		all.Go(func() {
			mine, err := Open(t.Context(), s.String())
			if err == nil {
				k := key("1.0", fmt.Sprintf("debian_6.1.%d-1-amd64_1", i), product.KMod)
				_, err = mine.Publish(t.Context(), []Entry{built(dir, k, "module "+k.Path())}, Options{})
			}
			errs[i] = err
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	clean(t, s, len(errs))
}

// slow lets somebody else publish before its own artifact, or what else suffix says, is put.
type slow struct {
	backend
	suffix string
	other  func()
}

func (b *slow) put(ctx context.Context, name string, c content, only condition) (string, error) {
	if strings.HasSuffix(name, b.suffix) && b.other != nil {
		other := b.other
		b.other = nil
		other()
	}
	return b.backend.put(ctx, name, c, only)
}

func TestTheSlowerOfTwoPublishersIsTold(t *testing.T) {
	for _, content := range []string{"the same", "another"} {
		s, dir := opened(t), t.TempDir()
		fast, late := built(dir, bookwormKo, "the same"), built(dir, bookwormKo, content)
		b := &slow{s.b, ".ko", func() { publish(t, s, Options{}, fast) }}
		_, err := (&Store{b}).Publish(t.Context(), []Entry{late}, Options{})
		if got := cause.Of(err).Cause == cause.StoreConflict; got != (content == "another") {
			t.Errorf("%s: %v", content, err)
		}
		clean(t, s, 1)
	}
}

// The sidecar of a publisher that was between its sidecar and its artifact comes back, when another one wrote over it and found
// the artifact there in the end.
func TestTheOvertakenSidecarComesBack(t *testing.T) {
	s, dir := opened(t), t.TempDir()
	fast, late := built(dir, bookwormKo, "fast"), built(dir, bookwormKo, "late")
	var lost error
	b := &slow{s.b, ".ko", func() {
		_, lost = (&Store{&slow{s.b, ".ko", func() {
			f := file{fast.Artifact.Path, fast.Artifact.Size, fast.Artifact.SHA256, kindArtifact}
			if err := s.putFile(t.Context(), bookwormKo.Path(), f, condition{absent: true}); err != nil {
				t.Error(err)
			}
		}}}).Publish(t.Context(), []Entry{late}, Options{})
	}}
	if _, err := (&Store{b}).Publish(t.Context(), []Entry{fast}, Options{}); err != nil {
		t.Errorf("the fast one: %v", err)
	}
	if cause.Of(lost).Cause != cause.StoreConflict {
		t.Errorf("the late one: %v", lost)
	}
	clean(t, s, 1)
	if contents(t, s)[bookwormKo.Path()] != "fast" {
		t.Error("the late one's artifact is there")
	}
}

// An index or a page that somebody else has made meanwhile is not made older.
func TestTheSlowerIndexIsMadeAgain(t *testing.T) {
	for _, name := range []string{indexName, pageName, matrixName} {
		for _, existed := range []bool{false, true} {
			s, dir := opened(t), t.TempDir()
			if existed {
				publish(t, s, Options{}, built(dir, key("0.23.2", "debian_6.1.1-1-amd64_1", product.KMod), "first"))
			}
			b := &slow{s.b, name, func() { publish(t, s, Options{}, sample(dir)[:2]...) }}
			publish(t, &Store{b}, Options{}, sample(dir)[4])
			if c, err := s.Verify(t.Context(), ""); err != nil || !c.Clean() {
				t.Errorf("%s, existed %t: %+v, %v", name, existed, c, err)
			}
		}
	}
}
