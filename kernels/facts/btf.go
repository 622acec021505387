// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/mews-farm/mews/results/cause"
)

// BTF is what a kernel's type information says of the kernel. Distributions port features back, so this, and
// not the release, tells what a driver finds.
type BTF struct {
	SHA256    string `json:"sha256"`
	Size      int64  `json:"size"`      // bytes
	Types     int    `json:"types"`     // without void
	Functions int    `json:"functions"` // what fentry can name; older builds of BTF have none

	OpenHow []string `json:"open_how,omitempty"` // the members of struct open_how; none: the kernel has no such struct

	MapTypes    []string `json:"map_types,omitempty"`    // without BPF_MAP_TYPE_, lower case, sorted, as all below
	ProgTypes   []string `json:"prog_types,omitempty"`   // without BPF_PROG_TYPE_
	AttachTypes []string `json:"attach_types,omitempty"` // without BPF_
	Helpers     []string `json:"helpers,omitempty"`      // without BPF_FUNC_

	syscalls map[string]bool // the system calls whose entry points are among the functions
}

// HasMap, HasProg, HasAttach and HasHelper look a name up, as it stands in the lists.
func (b *BTF) HasMap(name string) bool { return has(b.MapTypes, name) }

// HasProg is as HasMap.
func (b *BTF) HasProg(name string) bool { return has(b.ProgTypes, name) }

// HasAttach is as HasMap.
func (b *BTF) HasAttach(name string) bool { return has(b.AttachTypes, name) }

// HasHelper is as HasMap.
func (b *BTF) HasHelper(name string) bool { return has(b.Helpers, name) }

func has(sorted []string, name string) bool {
	_, ok := slices.BinarySearch(sorted, name)
	return ok
}

// ParseBTF reads the BTF of a kernel, as Vmlinux.BTF returns it and /sys/kernel/btf/vmlinux shows it.
func ParseBTF(raw []byte) (*BTF, error) {
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		return nil, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "read BTF: %w", err)
	}
	b := &BTF{SHA256: digest(raw), Size: int64(len(raw)), syscalls: map[string]bool{}}
	for t, err := range spec.All() {
		if err != nil {
			return nil, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "read BTF: %w", err)
		}
		switch t := t.(type) {
		case *btf.Void:
			continue
		case *btf.Func:
			b.Functions++
			if call, ok := entryPoint(t.Name); ok {
				b.syscalls[call] = true
			}
		}
		b.Types++
	}
	for _, list := range []struct {
		to           *[]string
		enum, prefix string
	}{
		{&b.MapTypes, "bpf_map_type", "BPF_MAP_TYPE_"},
		{&b.ProgTypes, "bpf_prog_type", "BPF_PROG_TYPE_"},
		{&b.AttachTypes, "bpf_attach_type", "BPF_"},
		{&b.Helpers, "bpf_func_id", "BPF_FUNC_"},
	} {
		if *list.to, err = enumerators(spec, list.enum, list.prefix); err != nil {
			return nil, err
		}
	}
	return b, b.openHow(spec)
}

func (b *BTF) openHow(spec *btf.Spec) error {
	var how *btf.Struct
	if err := lookup(spec, "open_how", &how); how == nil {
		return err
	}
	for _, m := range how.Members {
		b.OpenHow = append(b.OpenHow, m.Name)
	}
	return nil
}

func enumerators(spec *btf.Spec, enum, prefix string) ([]string, error) {
	var e *btf.Enum
	if err := lookup(spec, enum, &e); e == nil {
		return nil, err
	}
	var out []string
	for _, v := range e.Values {
		name, ok := strings.CutPrefix(v.Name, prefix)
		// UNSPEC is no feature; the __MAX_ names at the end have another prefix.
		if ok && name != "UNSPEC" && name != "unspec" {
			out = append(out, strings.ToLower(name))
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// lookup leaves typ alone where there is no such type. Of several of one name, which differ between
// two objects of a kernel, the first serves: what is asked for here is in the kernel's interface.
func lookup[T btf.Type](spec *btf.Spec, name string, typ *T) error {
	types, err := spec.AnyTypesByName(name)
	if errors.Is(err, btf.ErrNotFound) {
		return nil
	}
	if err != nil {
		return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "read BTF: %w", err)
	}
	for _, t := range types {
		if t, ok := t.(T); ok {
			*typ = t
			return nil
		}
	}
	return nil
}

// entryPoint tells which system call a function enters: __x64_sys_openat2, __arm64_sys_openat2, and before Linux 4.17
// sys_openat2.
func entryPoint(function string) (call string, ok bool) {
	for _, prefix := range []string{"__x64_sys_", "__arm64_sys_", "sys_"} {
		if call, ok = strings.CutPrefix(function, prefix); ok {
			return call, true
		}
	}
	return "", false
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
