// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/mews-farm/mews/results/cause"
)

// A file that is cut at any place is no probe; whole ones of the same kind are this test's own binary.
func TestWhole(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := whole(self); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 40, 64, len(data) / 2, len(data) - 1} {
		file := filepath.Join(t.TempDir(), "cut")
		if err := os.WriteFile(file, data[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := whole(file)
		if f := cause.Of(err); f.State != cause.Error || f.Cause != cause.Internal {
			t.Errorf("%d of %d bytes: %+v", n, len(data), f)
		}
	}
}
