// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/builders/sandbox"
)

// layer makes the uppermost lower directory of the build's file system, which takes away what the recipe says
// is lacking: a character device 0/0 is overlayfs's mark of a file that is not there (Documentation/filesystems/overlayfs.rst).
func layer(dir string, below, lack []string) error {
	for _, d := range []string{sandbox.ScratchAt, "dev", "proc", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	for _, pattern := range lack {
		gone := map[string]bool{}
		for _, tree := range below {
			found, err := filepath.Glob(filepath.Join(tree, pattern))
			if err != nil {
				return err
			}
			for _, f := range found {
				gone[strings.TrimPrefix(f, tree)] = true
			}
		}
		if len(gone) == 0 {
			return fmt.Errorf("nothing is called %s: its lack would break nothing", pattern)
		}
		for name := range gone {
			at := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
				return err
			}
			if err := unix.Mknod(at, unix.S_IFCHR, 0); err != nil {
				return fmt.Errorf("whiteout of %s: %w", name, err)
			}
		}
	}
	return nil
}
