// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/mews-farm/mews/results/cause"
)

// mortal is a back end whose publisher dies at its n-th change, counted from 0: before it is done, or when it is done and
// before the publisher knows. Nothing is changed after.
type mortal struct {
	backend
	n     int
	after bool
	count int
	cut   context.CancelFunc // when not nil the publisher is interrupted instead
}

var errKilled = errors.New("killed")

func (m *mortal) dies(do func() error) error {
	at := m.count
	m.count++
	switch {
	case at < m.n:
		return do()
	case at == m.n && m.after:
		if err := do(); err != nil {
			return err
		}
	}
	if m.cut != nil {
		m.cut()
		return do()
	}
	return errKilled
}

func (m *mortal) put(ctx context.Context, name string, c content, only condition) (version string, err error) {
	err = m.dies(func() (err error) {
		version, err = m.backend.put(ctx, name, c, only)
		return err
	})
	return version, err
}

func (m *mortal) remove(ctx context.Context, name string) error {
	return m.dies(func() error { return m.backend.remove(ctx, name) })
}

// What is published over what, in the kill tests.
var stories = []struct {
	name     string
	replace  bool
	old, new func(dir string) []Entry
}{
	{"into an empty store", false, nil, sample},
	{"a probe beside its module", false, func(dir string) []Entry { return sample(dir)[:1] }, sample},
	{"over other content", true, sample, func(dir string) []Entry {
		return []Entry{built(dir, bookwormKo, "another module"), built(dir, bookwormO, "another probe"), built(dir, plusO, "it builds now")}
	}},
	{"a marker over content", true, sample, func(dir string) []Entry {
		return []Entry{failed(dir, bookwormKo), unavailable(plusKo, "gone")}
	}},
}

// Whenever a publisher dies, readers can count on what the package promises, and publishing again completes it: the store is
// then what it would have been.
func TestKilledAtEveryStep(t *testing.T) {
	for _, story := range stories {
		for _, after := range []bool{false, true} {
			for _, cancelled := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/after=%t/cancelled=%t", story.name, after, cancelled), func(t *testing.T) {
					killEverywhere(t, story.old, story.new, Options{Replace: story.replace}, after, cancelled)
				})
			}
		}
	}
}

func killEverywhere(t *testing.T, old, new func(string) []Entry, o Options, after, cancelled bool) {
	dir := t.TempDir()
	begin := func() *Store {
		s := opened(t)
		if old != nil {
			publish(t, s, Options{}, old(dir)...)
		}
		return s
	}
	undisturbed := begin()
	publish(t, undisturbed, o, new(dir)...)
	want := contents(t, undisturbed)
	for n := 0; ; n++ {
		s := begin()
		ctx, cut := context.WithCancel(t.Context())
		m := &mortal{backend: s.b, n: n, after: after}
		if cancelled {
			m.cut = cut
		}
		_, err := (&Store{m}).Publish(ctx, new(dir), o)
		cut()
		consistent(t, n, s)
		if err == nil && m.count <= n {
			if n < 5 {
				t.Fatalf("a whole publication has %d steps only: nothing was tested", n)
			}
			return
		}
		if cancelled && err != nil && cause.Of(err).Cause != cause.Cancelled {
			t.Fatalf("step %d: cancelled, and the error is %v", n, err)
		}
		publish(t, s, o, new(dir)...)
		c, err := s.Verify(t.Context(), "")
		if err != nil || !c.Clean() {
			t.Fatalf("killed at step %d and published again: %+v, %v", n, c, err)
		}
		got := contents(t, s)
		for _, name := range union(got, want) {
			if !strings.HasPrefix(name, logsDir) && got[name] != want[name] {
				t.Fatalf("killed at step %d and published again: %s is\n%s\nand not\n%s", n, name, got[name], want[name])
			}
		}
	}
}

func union(a, b map[string]string) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	var names []string
	for n := range all {
		names = append(names, n)
	}
	return names
}

// consistent fails when a reader could be misled now.
func consistent(t *testing.T, step int, s *Store) {
	t.Helper()
	c, err := s.Verify(t.Context(), "")
	if err != nil || len(c.Problems) > 0 {
		t.Fatalf("killed at step %d: %v, %v", step, c, err)
	}
	all := contents(t, s)
	for name := range all {
		if strings.Contains(name, privateDir) {
			t.Fatalf("killed at step %d: readers see %s", step, name)
		}
		k, err := ParsePath(name)
		if err != nil {
			continue
		}
		// Who sees an artifact sees what was published with it promised.
		if _, err := ParseSidecar([]byte(all[k.sidecar()])); err != nil {
			t.Fatalf("killed at step %d: %s is there, and its sidecar: %v", step, name, err)
		}
	}
	versions, err := s.b.versions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range versions {
		before := all[v+"/"+indexName]
		if err := s.Reindex(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		made := contents(t, s)
		for _, n := range []string{indexName, pageName, matrixName} {
			if text, had := all[v+"/"+n]; had {
				restore(t, s, v+"/"+n, text)
			}
		}
		if before == made[v+"/"+indexName] {
			continue
		}
		if len(c.Stale) == 0 && len(c.Pending) == 0 {
			t.Fatalf("killed at step %d: the index of %s is not what Reindex makes, and Verify says nothing", step, v)
		}
	}
}

func restore(t *testing.T, s *Store, name, text string) {
	t.Helper()
	if _, err := s.write(t.Context(), name, kindJSON, []byte(text), condition{}); err != nil {
		t.Fatal(err)
	}
}

// The kill test itself sees an order that would mislead: artifacts before what is beside them.
func TestConsistencySeesAnArtifactWithoutSidecar(t *testing.T) {
	s, dir := opened(t), t.TempDir()
	publish(t, s, Options{}, sample(dir)...)
	for name, want := range map[string]string{
		bookwormKo.sidecar():    "has no sidecar",
		bookwormO.provenance():  "has no provenance",
		plusKo.Path():           "its sidecar says",
		"0.23.2/x86_64/tmp1234": "nothing that belongs here",
	} {
		was := contents(t, s)[name]
		d := s.b.(*dirBackend)
		if strings.HasSuffix(name, ".json") {
			if err := d.root.Remove(name); err != nil {
				t.Fatal(err)
			}
		} else {
			restore(t, s, name, "something else")
		}
		c, err := s.Verify(t.Context(), "")
		if err != nil || !strings.Contains(strings.Join(c.Problems, "\n"), want) {
			t.Errorf("%s: want %q, got %v, %v", name, want, c, err)
		}
		if was != "" {
			restore(t, s, name, was)
		} else if err := d.root.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	clean(t, s, 3)
}

// childStore tells a process of this test that it is the publisher to be killed, and where.
const childStore = "MEWS_TEST_STORE"

// talker says each change of its store before and after it is done, and waits to be told to go on before: that is when it is killed.
type talker struct{ backend }

func (b talker) say(what, name string) {
	fmt.Println("step", what, name)
	var go_ [1]byte
	if _, err := os.Stdin.Read(go_[:]); err != nil {
		os.Exit(3)
	}
}

func (b talker) put(ctx context.Context, name string, c content, only condition) (string, error) {
	b.say("before", name)
	c.r = &pausing{ReadSeeker: c.r, talker: b, name: name}
	v, err := b.backend.put(ctx, name, c, only)
	b.say("after", name)
	return v, err
}

// pausing stops in the middle of what is written.
type pausing struct {
	io.ReadSeeker
	talker
	name   string
	paused bool
}

func (p *pausing) Read(b []byte) (int, error) {
	n, err := p.ReadSeeker.Read(b[:min(len(b), 8)])
	if !p.paused && n > 0 {
		p.paused = true
		return n, err
	}
	if p.paused && n > 0 && p.name != "" {
		p.say("amid", p.name)
		p.name = ""
	}
	return n, err
}

// A publisher that the kernel kills (SIGKILL), before, amid and after each file that it writes, leaves a consistent directory.
func TestSIGKILL(t *testing.T) {
	if at := os.Getenv(childStore); at != "" {
		s, err := Open(t.Context(), at)
		if err == nil {
			_, err = (&Store{talker{s.b}}).Publish(t.Context(), sample(t.TempDir()), Options{})
		}
		if err != nil {
			fmt.Println("child:", err)
			os.Exit(1)
		}
		return
	}
	dir := t.TempDir()
	steps := 0
	for n := 0; ; n++ {
		s := opened(t)
		last, killed := killChild(t, s.String(), n)
		if !killed {
			break
		}
		steps++
		// The directory as the dead process left it, before anybody sweeps.
		left, err := fs.ReadDir(os.DirFS(s.String()), tmpDir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if strings.HasPrefix(last, "step amid") && len(left) != 1 {
			t.Errorf("killed at %q: %d temporary files, so it was not amid", last, len(left))
		}
		again, err := Open(t.Context(), s.String())
		if err != nil {
			t.Fatal(err)
		}
		c, err := again.Verify(t.Context(), "")
		if err != nil || len(c.Problems) > 0 {
			t.Fatalf("killed at %q: %+v, %v", last, c, err)
		}
		publish(t, again, Options{}, sample(dir)...)
		clean(t, again, 3)
		if left, err := fs.ReadDir(os.DirFS(s.String()), tmpDir); err != nil || len(left) > 0 {
			t.Fatalf("killed at %q: %d temporary files stay: %v", last, len(left), err)
		}
	}
	if steps < 40 {
		t.Errorf("killed at %d steps only", steps)
	}
}

// killChild runs a publisher, lets it take n steps and kills it; last is what it said it was about to do.
func killChild(t *testing.T, at string, n int) (last string, killed bool) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestSIGKILL$")
	child.Env = append(os.Environ(), childStore+"="+at)
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for said := bufio.NewScanner(out); said.Scan(); {
		if !strings.HasPrefix(said.Text(), "step ") {
			if strings.HasPrefix(said.Text(), "child:") {
				t.Error(said.Text())
			}
			continue
		}
		if n == 0 {
			last, killed = said.Text(), true
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			break
		}
		n--
		if _, err := in.Write([]byte("g")); err != nil {
			t.Fatal(err)
		}
	}
	if err := child.Wait(); (err == nil) == killed {
		t.Fatalf("killed: %t, and the child: %v", killed, err)
	}
	return last, killed
}
