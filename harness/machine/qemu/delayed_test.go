// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"os"
	"testing"
	"time"
)

func TestRunDelay(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"21603813717 63400538537 62293\n": 63400538537,
		"0 0 0\n":                         0,
		"12\n":                            0,
		"12 -5 1\n":                       0,
		"a b c":                           0,
		"":                                0,
	} {
		if got := runDelay(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	// This kernel's own account has that form too.
	if text, err := os.ReadFile("/proc/thread-self/schedstat"); err == nil && runDelay(string(text)) < 0 {
		t.Errorf("%q", text)
	}
}
