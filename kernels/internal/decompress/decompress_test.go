// SPDX-License-Identifier: Apache-2.0

package decompress_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/mews-farm/mews/kernels/internal/debtest"
	"github.com/mews-farm/mews/kernels/internal/decompress"
)

// TestNext: a decoder serves one file after another, and nothing of one comes into the next, whatever was wrong with it.
func TestNext(t *testing.T) {
	text := []byte(strings.Repeat("all of it ", 5000))
	whole := debtest.Compress(t, ".xz", text)
	for range 3 {
		for _, bad := range [][]byte{nil, []byte("no xz"), whole[:len(whole)/2]} {
			if z, err := decompress.NewReader(bytes.NewReader(bad), ".xz", 1<<20); err == nil {
				if got, err := io.ReadAll(z); err == nil {
					t.Errorf("%d bytes of %d: read %d", len(bad), len(whole), len(got))
				}
				z.Close()
			}
		}
		z, err := decompress.NewReader(bytes.NewReader(whole), ".xz", 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, text) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		z.Close()
		z.Close() // once more gives nothing back
		if _, err := z.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	}
}
