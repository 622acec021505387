// SPDX-License-Identifier: Apache-2.0

package bareinit

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// It is an ordinary program, so it can be tried without a kernel of its own.
func TestItSpeaksAndStays(t *testing.T) {
	if runtime.GOARCH != "amd64" || runtime.GOOS != "linux" {
		t.Skip("it is a program for linux/amd64")
	}
	path := filepath.Join(t.TempDir(), "init")
	if err := os.WriteFile(path, ELF(), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != Marker+"\n" {
		t.Errorf("it said %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Errorf("it did not stay: %v", err)
	}
	if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("it ended by itself: %v", err)
	}
}
