// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mews-farm/mews/harness/machine"
)

func newTestConsole(t *testing.T) *consoleLog {
	t.Helper()
	c, err := newConsoleLog(filepath.Join(t.TempDir(), machine.ConsoleLog), false)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConsoleNumbersLinesAsTheFileDoes(t *testing.T) {
	c := newTestConsole(t)
	c.consume(strings.NewReader("one\r\n\x1b[31mtwo\r\n" + strings.Repeat("x", maxConsoleLine+5) + "\nKernel panic - not syncing: y\nlast, without an end"))
	file, err := os.ReadFile(c.Path())
	if err != nil {
		t.Fatal(err)
	}
	inFile := strings.Split(string(file), "\n")
	for _, ev := range c.Tail(keptLines) {
		if ev.File != machine.ConsoleLog {
			t.Fatalf("%+v is in no file", ev)
		}
		if got := inFile[ev.Line-1]; !strings.HasSuffix(got, ev.Text[min(len(ev.Text), 5):]) && !strings.HasPrefix(got, ev.Text) {
			t.Errorf("line %d of the file is %.40q, evidence says %.40q", ev.Line, got, ev.Text)
		}
	}
	if s := c.Splats(); len(s) != 1 || inFile[s[0].Lines[0].Line-1] != "Kernel panic - not syncing: y" {
		t.Errorf("splats = %+v", s)
	}
	select {
	case <-c.Splatted():
	default:
		t.Error("Splatted is not closed")
	}
	if tail := c.Tail(1); tail[0].Text != "last, without an end" {
		t.Errorf("Tail(1) = %+v", tail)
	}
}

func TestConsoleIsBoundedAndStillHearsAPanic(t *testing.T) {
	c := newTestConsole(t)
	line := append(bytes.Repeat([]byte("A"), 999), '\n') // does not divide the bound
	flood := io.LimitReader(loop{line}, maxConsoleBytes+4<<20)
	c.consume(io.MultiReader(flood, strings.NewReader("\nKernel panic - not syncing: at last\n")))
	fi, err := os.Stat(c.Path())
	if err != nil {
		t.Fatal(err)
	}
	if fi.Size() > maxConsoleBytes+1<<10 {
		t.Errorf("the file has %d bytes", fi.Size())
	}
	if len(c.tail) > keptLines {
		t.Errorf("%d lines kept", len(c.tail))
	}
	s := c.Splats()
	if len(s) != 1 {
		t.Fatalf("the panic after the flood was not heard: %v", s)
	}
	if ev := s[0].Lines[0]; ev.File != "" || ev.Line != 0 {
		t.Errorf("evidence %+v points into a file that does not hold it", ev)
	}
}

// A full disk must not block the guest, nor hide what it says.
func TestConsoleReadsOnWhenTheFileCannotBeWritten(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full on this system: ", err)
	}
	c := newTestConsole(t)
	c.file.Close()
	c.file = full
	c.consume(strings.NewReader("a\nKernel panic - not syncing: y\n"))
	if len(c.Splats()) != 1 {
		t.Error("the panic was not heard")
	}
	if c.writeErr == nil {
		t.Error("the failure was swallowed")
	}
}

func TestAwait(t *testing.T) {
	c := newTestConsole(t)
	r, w := io.Pipe()
	go c.consume(r)
	ctx, cancel := context.WithCancel(context.Background())

	found := make(chan error, 1)
	go func() { found <- c.Await(ctx, "marker") }()
	io.WriteString(w, "noise\nthe marker\n")
	if err := <-found; err != nil {
		t.Errorf("Await = %v", err)
	}
	if err := c.Await(ctx, "marker"); err != nil {
		t.Errorf("Await of what was printed before = %v", err)
	}
	w.Close()
	if err := c.Await(ctx, "never"); !errors.Is(err, io.EOF) {
		t.Errorf("Await at the end = %v, want EOF", err)
	}
	cancel()
	other := newTestConsole(t)
	if err := other.Await(ctx, "never"); !errors.Is(err, context.Canceled) {
		t.Errorf("Await = %v, want the context's error", err)
	}
	if len(c.waiters)+len(other.waiters) > 0 {
		t.Error("waiters are left")
	}
}

// loop is an endless reader of one line.
type loop struct{ line []byte }

func (l loop) Read(p []byte) (int, error) { return copy(p, l.line), nil }
