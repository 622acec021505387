// SPDX-License-Identifier: Apache-2.0

package live

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// clock is a clock that the test moves.
type clock struct{ t time.Time }

func (c *clock) now() time.Time          { return c.t }
func (c *clock) advance(d time.Duration) { c.t = c.t.Add(d) }
func newClock() *clock                   { return &clock{time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC)} }

func stages() []string { return []string{"build", "boot", "load", "scenarios"} }

// play lets a view see a run of three cells: one passes, one fails in its build, one is still at work.
func play(v View, c *clock) {
	lengths := map[string]float64{"build": 30, "boot": 2, "load": 1, "scenarios": 7}
	v.Cell(Row{ID: "debian-5.10.0-46-cloud-amd64--falco-kmod", Kernel: "debian 5.10.0-46-cloud-amd64", Driver: "falco-kmod", Stages: stages(), Lengths: lengths})
	v.Cell(Row{ID: "debian-6.12.48+deb13-cloud-amd64--falco-kmod", Kernel: "debian 6.12.48+deb13-cloud-amd64", Driver: "falco-kmod", Stages: stages(), Lengths: lengths})
	v.Cell(Row{ID: "debian-7.2.12-cloud-amd64--mews-modern", Kernel: "debian 7.2.12-cloud-amd64", Driver: "mews-modern", Stages: stages(), Lengths: lengths})
	v.Estimate(90 * time.Second)
	v.Note("accelerator tcg: no /dev/kvm")
	v.Warn("sid: InRelease is past its Valid-Until\x1b[2J")
	good, bad := "debian-5.10.0-46-cloud-amd64--falco-kmod", "debian-6.12.48+deb13-cloud-amd64--falco-kmod"
	for _, s := range stages() {
		v.Start(good, s)
		c.advance(1500 * time.Millisecond)
		v.End(good, s, cause.Pass, "")
	}
	v.Done(good, cause.Pass)
	v.Start(bad, "build")
	c.advance(62 * time.Second)
	v.End(bad, "build", cause.Fail, "COMPILE_ERROR: main.c:12: \x1b[31mclass_create")
	v.Done(bad, cause.Fail)
	v.Start("debian-7.2.12-cloud-amd64--mews-modern", "build")
	c.advance(3 * time.Second)
	v.End("debian-7.2.12-cloud-amd64--mews-modern", "build", cause.Pass, "")
	v.Start("debian-7.2.12-cloud-amd64--mews-modern", "boot")
	c.advance(2300 * time.Millisecond)
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (make it with -update)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("differs from %s (-want +got); look at it and run with -update:\n%s", path, diff)
	}
}

func TestLines(t *testing.T) {
	var b bytes.Buffer
	c := newClock()
	v := newLines(&b, c.now)
	play(v, c)
	if err := v.Close(results.Run{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "lines.txt", b.String())
	if strings.Contains(b.String(), "\x1b") {
		t.Error("an escape sequence came through")
	}
}

func TestTable(t *testing.T) {
	for _, size := range [][2]int{{120, 40}, {80, 40}, {40, 40}, {120, 5}} {
		c := newClock()
		s := &screen{}
		v := newTable(s, c.now, func() (int, int) { return size[0], size[1] }, false)
		play(v, c)
		v.change(func() {})
		golden(t, fmt.Sprintf("table-%dx%d.txt", size[0], size[1]), s.String())
		for _, l := range v.lines(size[0], size[1]) {
			if n := utf8.RuneCountInString(l); n >= size[0] {
				t.Errorf("at %d columns a line has %d: %q", size[0], n, l)
			}
		}
		if n := len(v.lines(size[0], size[1])); n >= size[1] {
			t.Errorf("at %d lines the table has %d", size[1], n)
		}
	}
}

func TestTableAtAnySize(t *testing.T) {
	c := newClock()
	v := newTable(&screen{}, c.now, func() (int, int) { return 80, 24 }, false)
	play(v, c)
	for width := 1; width < 140; width++ {
		for height := 1; height < 10; height++ {
			for _, l := range v.lines(width, height) {
				if n := utf8.RuneCountInString(l); n >= width {
					t.Fatalf("at %d columns a line has %d: %q", width, n, l)
				}
			}
		}
	}
}

func TestTableGivesTheTerminalBack(t *testing.T) {
	c := newClock()
	var b bytes.Buffer
	v := newTable(&b, c.now, func() (int, int) { return 100, 24 }, true)
	play(v, c)
	if err := v.Close(results.Run{ID: "x"}); err != nil {
		t.Fatal(err)
	}
	out := b.String()
	if strings.LastIndex(out, showCursor) < strings.LastIndex(out, hideCursor) {
		t.Error("the cursor stays hidden")
	}
	after := out[strings.LastIndex(out, showCursor):]
	if !strings.Contains(after, "KERNEL") || !strings.Contains(after, "verdicts lacking, 0 cells") {
		t.Errorf("the final table is not the last thing shown: %q", after)
	}
	v.Start("debian-7.2.12-cloud-amd64--mews-modern", "load")
	v.Abort()
	if b.String() != out {
		t.Error("a closed table was drawn again")
	}
}

func TestColourOnlyRepeats(t *testing.T) {
	draw := func(colour bool) string {
		c := newClock()
		v := newTable(&screen{}, c.now, func() (int, int) { return 100, 24 }, colour)
		play(v, c)
		return strings.Join(v.lines(100, 24), "\n")
	}
	painted, plain := draw(true), draw(false)
	if !strings.Contains(painted, "\x1b[1;31mF\x1b[0m") {
		t.Error("nothing was painted")
	}
	if stripped := regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAllString(painted, ""); stripped != plain {
		t.Errorf("colour tells more than words:\n%s\n%s", stripped, plain)
	}
}

func TestManyGoroutines(t *testing.T) {
	for _, v := range []View{newLines(&screen{}, time.Now), newTable(&screen{}, time.Now, func() (int, int) { return 80, 10 }, true)} {
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				id := fmt.Sprintf("cell%d", i)
				v.Cell(Row{ID: id, Kernel: id, Driver: "d", Stages: stages()})
				for _, s := range stages() {
					v.Start(id, s)
					v.Note("n")
					v.End(id, s, cause.Pass, "")
				}
				v.Done(id, cause.Pass)
			})
		}
		wg.Wait()
		if err := v.Close(results.Run{}); err != nil {
			t.Error(err)
		}
	}
}

func TestFailedOutputIsTold(t *testing.T) {
	broken := errors.New("broken pipe")
	w := writerFunc(func([]byte) (int, error) { return 0, broken })
	for _, v := range []View{newLines(w, time.Now), newTable(w, time.Now, func() (int, int) { return 80, 24 }, false)} {
		v.Note("x")
		if err := v.Close(results.Run{}); !errors.Is(err, broken) {
			t.Errorf("%T: %v", v, err)
		}
	}
}

func TestNewChoosesByTerminal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, ok := New(f).(*lines); !ok {
		t.Error("a file got the table")
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// screen is as much of a terminal as the table uses: it keeps the lines and obeys the control sequences.
type screen struct {
	lines    [][]rune
	row, col int
}

var sequence = regexp.MustCompile(`^\x1b\[(\??[0-9;]*)([a-zA-Z])`)

func (s *screen) Write(b []byte) (int, error) {
	text := string(b)
	for text != "" {
		for len(s.lines) <= s.row {
			s.lines = append(s.lines, nil)
		}
		if m := sequence.FindStringSubmatch(text); m != nil {
			text = text[len(m[0]):]
			if err := s.obey(m[1], m[2]); err != nil {
				return 0, err
			}
			continue
		}
		r, n := utf8.DecodeRuneInString(text)
		text = text[n:]
		switch line := s.lines[s.row]; {
		case r == '\n':
			s.row++
		case r == '\r':
			s.col = 0
		case s.col < len(line):
			line[s.col] = r
			s.col++
		default:
			s.lines[s.row] = append(line, r)
			s.col++
		}
	}
	return len(b), nil
}

func (s *screen) obey(arg, sequence string) error {
	switch sequence {
	case "A":
		up := 0
		if _, err := fmt.Sscan(arg, &up); err != nil {
			return err
		}
		s.row = max(0, s.row-up)
	case "J":
		s.lines = s.lines[:s.row+1]
		s.lines[s.row] = s.lines[s.row][:s.col]
	case "K":
		s.lines[s.row] = s.lines[s.row][:s.col]
	case "h", "l", "m":
	default:
		return fmt.Errorf("unknown sequence %q %q", arg, sequence)
	}
	return nil
}

func (s *screen) String() string {
	var b strings.Builder
	for _, l := range s.lines {
		b.WriteString(strings.TrimRight(string(l), " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}
