// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// Each thread of a crowd opens what it was told as often as it was told, and one that cannot says so.
func TestCrowd(t *testing.T) {
	if err := Crowd(); err != nil {
		t.Error(err)
	}
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &was)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	if err := Crowd(); !errors.Is(err, unix.EMFILE) {
		t.Errorf("a crowd that may open nothing: %v", err)
	}
}
