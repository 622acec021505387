// SPDX-License-Identifier: Apache-2.0

package deb

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/mews-farm/mews/kernels/internal/debtest"
)

// TestSparseBomb: a sparse file of 1 TiB fits into 2 KB of tar archive, which no limit on what is decompressed notices.
func TestSparseBomb(t *testing.T) {
	var records strings.Builder
	for _, r := range []string{"GNU.sparse.major=0", "GNU.sparse.minor=1", "GNU.sparse.numblocks=1", "GNU.sparse.map=0,0", "GNU.sparse.size=1099511627776"} {
		fmt.Fprintf(&records, "%d %s\n", len(r)+4, r) // two digits, a space and the newline
	}
	extended := Tar(t, File("./x", records.String()))[:1024]
	extended[156] = tar.TypeXHeader
	copy(extended[148:156], "        ")
	sum := 0
	for _, c := range extended[:512] {
		sum += int(c)
	}
	copy(extended[148:156], fmt.Sprintf("%06o\x00 ", sum))
	data := append(extended, Tar(t, File("./f", ""))...)

	dir := t.TempDir()
	err := Unpack(t.Context(), write(t, Ar(Part("debian-binary", []byte("2.0\n")), Part("data.tar", data))), dir, Limits{Bytes: 1 << 20}, nil)
	if !errors.Is(err, ErrLimit) {
		t.Errorf("got %v", err)
	}
	if fi, err := os.Stat(filepath.Join(dir, "f")); err == nil {
		t.Errorf("wrote %d bytes", fi.Size())
	}
}
