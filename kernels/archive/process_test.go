// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The test program runs itself as another mews: childEnv holds the archive's directory.
const childEnv = "MEWS_ARCHIVE_TEST_CHILD"

// childHolds is a digest: the child asks for that file and stays, instead of putting one.
const childHolds = "MEWS_ARCHIVE_TEST_HOLDS"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		os.Exit(child(dir))
	}
	os.Exit(m.Run())
}

const childSize = 4 << 20

// childContent is what children put; it is large enough to take several reads.
func childContent() string { return strings.Repeat("0123456789abcdef", childSize/16) }

// child puts childContent, or holds childHolds, and halfway says so and waits for a line on its standard input.
func child(dir string) int {
	a, err := New(dir)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if d := Digest(os.Getenv(childHolds)); d != "" {
		if _, err := a.Path(d); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println("halfway")
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
			return 1
		}
		fmt.Println("done")
		return 0
	}
	content := childContent()
	pause := readerFunc(func([]byte) (int, error) {
		fmt.Println("halfway")
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
			return 0, err
		}
		return 0, io.EOF
	})
	r := io.MultiReader(strings.NewReader(content[:childSize/2]), pause, strings.NewReader(content[childSize/2:]))
	path, err := a.Put(context.Background(), DigestOf([]byte(content)), childSize, r)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(path)
	return 0
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// process is a running child.
type process struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// start starts a child and waits until it is halfway.
func start(t *testing.T, dir string, env ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), exe)
	c.Env = append(append(os.Environ(), childEnv+"="+dir), env...)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{c, in, bufio.NewReader(out)}
	if line := p.line(t); line != "halfway" {
		t.Fatalf("child said %q", line)
	}
	return p
}

func (p *process) line(t *testing.T) string {
	t.Helper()
	s, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(s)
}

// finish lets the child go on, and returns what it says.
func (p *process) finish(t *testing.T) string {
	t.Helper()
	if _, err := io.WriteString(p.in, "\n"); err != nil {
		t.Fatal(err)
	}
	line := p.line(t)
	if err := p.Wait(); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return line
}

func TestKilledInTheMiddle(t *testing.T) {
	a := open(t, t.TempDir())
	p := start(t, a.Dir())
	if left := files(t, a); len(left) != 1 || !strings.HasPrefix(left[0], "tmp/") {
		t.Fatalf("halfway there should be one temporary file, there is %v", left)
	}
	open(t, a.Dir()) // must not take the file from a living writer
	if left := files(t, a); len(left) != 1 {
		t.Fatalf("swept up what a living process writes: %v", left)
	}
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.Wait() // says that it was killed
	if _, err := a.Path(DigestOf([]byte(childContent()))); err == nil {
		t.Error("the half-written file is visible")
	}
	open(t, a.Dir())
	if left := files(t, a); len(left) > 0 {
		t.Errorf("not swept up: %v", left)
	}
}

func TestTwoProcessesPutTheSame(t *testing.T) {
	a := open(t, t.TempDir())
	one, two := start(t, a.Dir()), start(t, a.Dir())
	path := one.finish(t)
	if again := two.finish(t); again != path {
		t.Errorf("stored at %s and %s", path, again)
	}
	if err := a.Verify(DigestOf([]byte(childContent()))); err != nil {
		t.Error(err)
	}
	if left := files(t, a); len(left) != 1 {
		t.Errorf("there is %v", left)
	}
}
