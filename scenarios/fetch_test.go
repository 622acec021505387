// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// freeAddress is one of this machine's where nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestActFetch(t *testing.T) {
	dir := t.TempDir()
	src, dst, empty := filepath.Join(dir, "src"), filepath.Join(dir, "dst"), filepath.Join(dir, "empty")
	text := strings.Repeat("0123456789", 100_000)
	for name, data := range map[string]string{src: text, empty: ""} {
		if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address := freeAddress(t)
	res := act(t, Step{Listen{Address: address, Send: src}}, Step{Fetch{Address: address, Dst: dst, Mode: "0750"}})
	if err := res.Err(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(dst)
	if fi, statErr := os.Stat(dst); err != nil || statErr != nil || string(got) != text || fi.Mode() != 0o750 {
		t.Errorf("fetched %d bytes, %v, %v", len(got), err, fi)
	}
	for _, c := range []struct {
		send, dst string
		want      string
	}{
		{src, dst, "file exists"},
		{empty, filepath.Join(dir, "a"), "nothing came"},
		{filepath.Join(dir, "none"), filepath.Join(dir, "b"), "nothing came"},
	} {
		address := freeAddress(t)
		res := act(t, Step{Listen{Address: address, Send: c.send}}, Step{Fetch{Address: address, Dst: c.dst}})
		if last := res.Steps[len(res.Steps)-1]; last.Action != "fetch" || last.OK || !strings.Contains(last.Error, c.want) {
			t.Errorf("%s to %s: %+v, want %s", c.send, c.dst, last, c.want)
		}
	}
	if res := act(t, Step{Fetch{Address: freeAddress(t), Dst: filepath.Join(dir, "c")}}); res.Steps[0].Errno != int(unix.ECONNREFUSED) {
		t.Errorf("where nobody listens: %+v", res.Steps[0])
	}
}

func TestActRename(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "0")
	if err := os.WriteFile(from, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, call := range renameCalls {
		to := filepath.Join(dir, fmt.Sprint(i+1))
		s := act(t, Step{Rename{Syscall: call, From: from, To: to}}).Steps[0]
		if call == "rename" && s.Errno == int(unix.ENOSYS) {
			continue // this architecture is younger than the call
		}
		if data, err := os.ReadFile(to); !s.OK || s.Detail.Path != to || string(data) != "text" || err != nil {
			t.Fatalf("%s: %+v, %q, %v", call, s, data, err)
		}
		from = to
	}
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if s := act(t, Step{Rename{Syscall: "renameat2", From: from, To: other}}).Steps[0]; s.OK || s.Errno != int(unix.EEXIST) {
		t.Errorf("onto a file that is there: %+v", s)
	}
}
