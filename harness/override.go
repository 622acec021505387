// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/mews-farm/mews/results/cause"
)

// maxTypes bounds the BTF of a kernel: vmlinux's is 5 to 7 MB.
const maxTypes = 64 << 20

// override is the file of kernel types that the matrix wants in place of the kernel's own, or "".
func (c *Cell) override() string {
	if c.Driver.BTF.V != "" {
		return c.Driver.BTF.V
	}
	return c.Kernel.BTF.V
}

// types reads a BTF file, decompressed. It is nil for the name "".
func types(file string) (io.ReadCloser, error) {
	if file == "" {
		return nil, nil
	}
	bad := func(err error) error {
		return cause.Errorf(cause.Internal, cause.FaultHarness, "read the kernel types of btf_override: %w", err)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, bad(err)
	}
	if filepath.Ext(file) != ".gz" {
		return f, nil
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, bad(fmt.Errorf("%s: %w", file, err))
	}
	text := new(strings.Builder)
	n, err := io.Copy(text, io.LimitReader(z, maxTypes+1))
	switch {
	case err != nil:
		return nil, bad(fmt.Errorf("%s: %w", file, err))
	case n > maxTypes:
		return nil, bad(fmt.Errorf("%s: more than %d bytes", file, maxTypes))
	}
	return io.NopCloser(strings.NewReader(text.String())), nil
}
