// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bufio"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/mews-farm/mews/kernels/internal/decompress"
	"github.com/mews-farm/mews/results/cause"
)

// maxModule bounds a decompressed module; the largest of Debian's, amdgpu, has 30 MB.
const maxModule = 256 << 20

// Modinfo reads what a module says about itself: the key=value strings of its .modinfo section.
// A key may come more than once.
func Modinfo(module []byte) (map[string][]string, error) {
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, fmt.Errorf("read ELF: %w", err)
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, errors.New("has no section .modinfo: not a kernel module")
	}
	if s.Size > uint64(len(module)) {
		return nil, errors.New("section .modinfo is larger than the file")
	}
	data, err := s.Data()
	if err != nil {
		return nil, fmt.Errorf("read .modinfo: %w", err)
	}
	out := map[string][]string{}
	for entry := range bytes.SplitSeq(data, []byte{0}) {
		if k, v, ok := strings.Cut(string(entry), "="); ok {
			out[k] = append(out[k], v)
		}
	}
	return out, nil
}

// moduleName makes a name of a file or an argument what lsmod shows: the kernel takes - and _ for the same.
func moduleName(s string) string { return strings.ReplaceAll(s, "-", "_") }

// moduleOf returns the name of the module that file holds, or "".
func moduleOf(file string) string {
	stem, _ := decompress.Split(path.Base(file))
	name, ok := strings.CutSuffix(stem, ".ko")
	if !ok {
		return ""
	}
	return moduleName(name)
}

// findModules maps module names to files below dir. Where a name comes twice the first in lexical order counts.
func findModules(dir string) (map[string]string, error) {
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name := moduleOf(file)
		if _, twice := out[name]; name == "" || twice {
			return nil
		}
		out[name], err = filepath.Rel(dir, file)
		return err
	})
	if err != nil {
		return nil, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "list modules: %w", err)
	}
	return out, nil
}

// readBuiltin reads modules.builtin, which every package of a kernel carries.
func readBuiltin(dir string) (map[string]bool, error) {
	f, err := os.Open(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "list built-in modules: %w", err)
	}
	defer f.Close()
	out := map[string]bool{}
	in := bufio.NewScanner(f)
	for in.Scan() {
		if name := moduleOf(in.Text()); name != "" {
			out[name] = true
		}
	}
	if err := in.Err(); err != nil {
		return nil, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "list built-in modules: %w", err)
	}
	return out, nil
}

// readModule returns a module's ELF file, decompressed.
func readModule(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "read module: %w", err)
	}
	defer f.Close()
	_, suffix := decompress.Split(file)
	z, err := decompress.NewReader(bufio.NewReader(f), suffix, maxModule)
	if err == nil {
		defer z.Close()
		var data []byte
		if data, err = io.ReadAll(z); err == nil {
			return data, nil
		}
	}
	return nil, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "read module %s: %w", file, err)
}
