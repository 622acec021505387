// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"testing"
)

func TestHighWater(t *testing.T) {
	for _, c := range []struct {
		status string
		want   float64
	}{
		{"Name:\tmews\nVmPeak:\t  999999 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n", 2},
		{"Name:\tkthreadd\n", 0}, // has no memory of its own
		{"VmHWM:\t    x kB\n", 0},
	} {
		if got := highWater(c.status); got != c.want {
			t.Errorf("highWater(%q) = %v, want %v", c.status, got, c.want)
		}
	}
	if got := peakOf(os.Getpid()); got <= 0 {
		t.Errorf("this process' peak is %v MiB", got)
	}
}
