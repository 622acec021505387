// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"

	"github.com/mews-farm/mews/kernels/deb"
	"github.com/mews-farm/mews/kernels/rpm"
	"github.com/mews-farm/mews/kernels/tarball"
	"github.com/mews-farm/mews/results/cause"
)

// Unpack writes what the package at file holds below dir, which must exist: a .deb, an .rpm, or a tar archive, told apart
// by their first bytes. Each is unpacked with the same care: nothing is written outside dir. Names for which keep (may be
// nil) returns false are left out.
func Unpack(ctx context.Context, file, dir string, keep func(name string) bool) error {
	head, err := firstBytes(file)
	if err != nil {
		return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "open package: %w", err)
	}
	switch {
	case bytes.HasPrefix(head, []byte("!<arch>\n")):
		return deb.Unpack(ctx, file, dir, deb.Limits{}, keep)
	case bytes.HasPrefix(head, []byte("\xed\xab\xee\xdb")):
		return rpm.Unpack(ctx, file, dir, rpm.Limits{}, keep)
	}
	return tarball.Unpack(ctx, file, dir, tarball.Limits{}, keep)
}

func firstBytes(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, 8)
	n, err := io.ReadFull(f, head)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // whoever unpacks it says more
	}
	return head[:n], err
}
