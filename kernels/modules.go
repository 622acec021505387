// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mews-farm/mews/results/cause"
)

// Module is one loadable module, decompressed.
type Module struct {
	Name string // as lsmod shows it: virtio_blk
	Path string // relative to the module directory
	Data []byte // the ELF file
}

// Modules returns what must be loaded, in that order, to have all of names: the modules and what they depend on,
// without what is built in. Names are module names (virtio_blk or virtio-blk).
// A name that is neither a module nor built in is an error that tells its config symbol.
//
// Packages carry no modules.dep: depmod makes it in a maintainer script, which is never run here. The modules'
// own .modinfo says what they need. What a module would rather have loaded before it (softdep=pre:) comes before it too, where
// it can be found: modprobe would have seen to that, or the kernel would have asked modprobe, and a guest has none. Without
// crc32c ext4 of Debian's 6.12 does not mount.
func (f *Files) Modules(names ...string) ([]Module, error) {
	o := &loadOrder{dir: f.ModuleDir, state: map[string]int{}}
	var err error
	if o.files, err = findModules(f.ModuleDir); err != nil {
		return nil, err
	}
	if o.builtin, err = readBuiltin(f.ModuleDir); err != nil {
		return nil, err
	}
	for _, name := range names {
		name = moduleName(name)
		if o.files[name] == "" && !o.builtin[name] {
			if f.Config.IsBuiltin(symbolFor(name)) {
				continue
			}
			return nil, f.noModule(name)
		}
		if err := o.add(name, nil); err != nil {
			return nil, err
		}
	}
	return o.out, nil
}

// loadOrder is a depth-first walk over the modules' dependencies.
type loadOrder struct {
	dir     string
	files   map[string]string // path below dir by module name
	builtin map[string]bool
	state   map[string]int // 1 on the way, 2 done
	out     []Module
}

func (o *loadOrder) add(name string, via []string) error {
	if o.builtin[name] || o.state[name] == 2 {
		return nil
	}
	via = append(slices.Clip(via), name)
	if o.state[name] == 1 {
		return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "modules depend on each other: %s", strings.Join(via, " -> "))
	}
	file, ok := o.files[name]
	if !ok {
		return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "module %s, needed by %s, is not below %s",
			name, strings.Join(via[:len(via)-1], " -> "), o.dir)
	}
	o.state[name] = 1
	data, err := readModule(filepath.Join(o.dir, file))
	if err != nil {
		return err
	}
	info, err := Modinfo(data)
	if err != nil {
		return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "module %s: %w", file, err)
	}
	for _, depends := range info["depends"] {
		for need := range strings.SplitSeq(depends, ",") {
			if need == "" {
				continue
			}
			if err := o.add(moduleName(need), via); err != nil {
				return err
			}
		}
	}
	for _, softdep := range info["softdep"] {
		before, _, _ := strings.Cut(softdep, "post:")
		for _, want := range strings.Fields(strings.ReplaceAll(before, "pre:", " ")) {
			// A wish that leads back is none.
			if need := o.known(want); need != "" && o.state[need] != 1 {
				if err := o.add(need, via); err != nil {
					return err
				}
			}
		}
	}
	o.state[name] = 2
	o.out = append(o.out, Module{Name: name, Path: file, Data: data})
	return nil
}

// known is the module of a soft dependency, or "". What is named there may be an alias. Those of the crypto API are, and begin
// with crypto-; the module that is always there to provide one is called like it, or generic.
func (o *loadOrder) known(want string) string {
	name := moduleName(strings.TrimPrefix(want, "crypto-"))
	for _, n := range []string{name, name + "_generic"} {
		if o.builtin[n] {
			return ""
		}
		if o.files[n] != "" {
			return n
		}
	}
	return ""
}

// noModule tells which config symbol is not set; most are named like the module, file systems end in _FS.
func (f *Files) noModule(name string) error {
	return cause.Errorf(cause.PackageCorrupt, cause.FaultKernel, "kernel %s has no module %s, and it is not built in", f.Kernel.Release, name).
		With(cause.Text(fmt.Sprintf("CONFIG_%s=%q", symbolFor(name), f.Config.Get(symbolFor(name))))...).
		Advise("this kernel was configured without it: it cannot be run here")
}

// symbolFor guesses the config symbol of a module.
func symbolFor(name string) string {
	upper := strings.ToUpper(name)
	switch name {
	case "overlay", "ext4", "vfat", "xfs", "btrfs", "erofs", "fuse", "9p":
		return upper + "_FS"
	case "virtiofs":
		return "VIRTIO_FS"
	}
	return upper
}
