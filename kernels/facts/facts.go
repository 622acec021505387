// SPDX-License-Identifier: Apache-2.0

// Package facts knows what the artifacts of a kernel say of it: which compiler built it, what it holds a driver to,
// and what it has for one.
//
// Nothing is derived from a release: distributions port features back, configure them away and
// build a release twice. What an artifact does not say is not known.
package facts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// Facts of one kernel. The JSON form is stable: fields are added, never changed.
type Facts struct {
	Distro  string `json:"distro"`
	Release string `json:"release"`
	Version string `json:"version,omitempty"`
	Arch    string `json:"arch"`
	BuildID string `json:"distro_build_id,omitempty"` // COS

	Image     Image     `json:"image"`
	Banner    Banner    `json:"banner"`
	Compilers Compilers `json:"compilers"`
	Config    *Config   `json:"config,omitempty"` // nil: neither a package nor the kernel has it
	BTF       *BTF      `json:"btf,omitempty"`    // nil: the kernel has none
	ModuleBTF Tri       `json:"module_btf"`
	Openat2   Tri       `json:"openat2"` // the system call
	Boot      Boot      `json:"boot"`

	// Disagreements are artifacts that contradict each other, or what the kernel was taken for.
	Disagreements []string `json:"disagreements,omitempty"`
}

// Image is the boot image, and the identities of what is in it.
type Image struct {
	Format      string `json:"format"`
	Compression string `json:"compression"`
	SHA256      string `json:"sha256"`             // of the file
	Size        int64  `json:"size"`               // of the file, bytes
	Vmlinux     int64  `json:"vmlinux"`            // decompressed, bytes
	BuildID     string `json:"build_id,omitempty"` // the linker's GNU build-id of vmlinux
	PVH         bool   `json:"pvh"`                // a hypervisor can enter vmlinux directly
}

// Tri is a fact that artifacts may not tell.
type Tri string

// The values of a Tri.
const (
	Yes     Tri = "yes"
	No      Tri = "no"
	Unknown Tri = "unknown"
)

func tri(b bool) Tri {
	if b {
		return Yes
	}
	return No
}

// Of reads the facts of an unpacked kernel. What f does not have, headers say, leaves facts unknown; what it has
// and cannot be read is PACKAGE_CORRUPT.
func Of(ctx context.Context, f *kernels.Files) (*Facts, error) {
	own := *f // readConfig may complete it
	f = &own
	k := f.Kernel
	out := &Facts{Distro: k.Distro, Release: k.Release, Version: k.Version, Arch: k.Arch, BuildID: k.BuildID}
	image, err := os.Open(f.Image)
	if err != nil {
		return nil, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "read the boot image: %w", err)
	}
	defer image.Close()
	fail := func(err error) (*Facts, error) { return nil, fmt.Errorf("kernel %s: %w", k.Release, err) }
	v, err := out.readImage(image)
	if err != nil {
		return fail(err)
	}
	for _, read := range []func(*kernels.Files, *Vmlinux) error{
		out.readConfig, out.readBTF, out.readCompilers, out.readSyscalls,
	} {
		if ctx.Err() != nil {
			return nil, cause.Errorf(cause.Cancelled, cause.FaultHarness, "read the facts of %s: %w", k.Release, context.Cause(ctx))
		}
		if err := read(f, v); err != nil {
			return fail(err)
		}
	}
	out.Boot = bootability(f, out.Image, v.Arch, out.Config)
	out.compare(v)
	return out, nil
}

func (out *Facts) readImage(image *os.File) (*Vmlinux, error) {
	h := sha256.New()
	size, err := io.Copy(h, image)
	if err != nil {
		return nil, corrupt(err)
	}
	v, err := Open(image, size)
	if err != nil {
		return nil, err
	}
	out.Image = Image{
		Format: v.Format, Compression: v.Compression, SHA256: hex.EncodeToString(h.Sum(nil)), Size: size, Vmlinux: v.Size,
	}
	if out.Image.BuildID, err = v.BuildID(); err != nil {
		return nil, err
	}
	if out.Image.PVH, err = v.PVH(); err != nil {
		return nil, err
	}
	out.Banner, err = v.Banner()
	return v, err
}

// readConfig prefers the package's file, which somebody who builds a module reads too, to the kernel's own copy.
func (out *Facts) readConfig(f *kernels.Files, v *Vmlinux) error {
	if f.Config != nil {
		out.Config = newConfig("package", configText(f), f.Config)
		return nil
	}
	text, err := v.IKConfig()
	if err != nil || text == nil {
		return err
	}
	if f.Config, err = kernels.ParseConfig(bytes.NewReader(text)); err != nil {
		return err
	}
	out.Config = newConfig("IKCONFIG", text, f.Config)
	return nil
}

// configText is the file that f.Config was read from, beside the image or the modules; nil where it is not there.
func configText(f *kernels.Files) []byte {
	for _, path := range []string{
		filepath.Join(filepath.Dir(f.Image), "config-"+f.Kernel.Release),
		filepath.Join(f.ModuleDir, "config"),
	} {
		if fi, err := os.Lstat(path); err != nil || !fi.Mode().IsRegular() || fi.Size() > maxIKConfig {
			continue
		}
		if text, err := os.ReadFile(path); err == nil {
			return text
		}
	}
	return nil
}

func (out *Facts) readBTF(_ *kernels.Files, v *Vmlinux) error {
	raw, err := v.BTF()
	if err != nil || raw == nil {
		return err
	}
	out.BTF, err = ParseBTF(raw)
	return err
}

// samples are modules of which nearly every kernel has one as a module; the first there is tells about them all.
var samples = []string{"overlay", "virtio_console", "virtio_blk", "ext4", "xfs", "nf_conntrack", "dm_mod"}

func (out *Facts) readCompilers(f *kernels.Files, v *Vmlinux) error {
	c := &out.Compilers
	if f.Config != nil {
		c.claim("config", f.Config.Get("CC_VERSION_TEXT"))
	}
	if f.Headers != "" {
		text, err := kernels.CompileH(f.Headers, f.Kernel.Release)
		if err != nil {
			return err
		}
		c.claim("compile.h", text)
	}
	c.claim("banner", out.Banner.Compiler)
	comments, err := v.comments()
	if err != nil {
		return err
	}
	c.comment(".comment", comments)
	out.ModuleBTF = Unknown
	name, module := sample(f)
	if module != nil {
		m, err := readModule(module)
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		c.comment(".comment of "+name, m.comments)
		out.ModuleBTF = tri(m.btf)
	}
	c.settle()
	return nil
}

func sample(f *kernels.Files) (name string, module []byte) {
	if f.ModuleDir == "" || f.Config == nil {
		return "", nil
	}
	for _, name := range samples {
		// What cannot be had is not there, or built in; what is damaged bootability tells.
		if ms, err := f.Modules(name); err == nil && len(ms) > 0 {
			return name, ms[len(ms)-1].Data
		}
	}
	return "", nil
}

// readSyscalls looks for the entry point of openat2 in System.map, and among the functions of the BTF. Debian's System.map
// holds nothing but a note where the real one is, and older BTF has no functions: then it is not known.
func (out *Facts) readSyscalls(f *kernels.Files, _ *Vmlinux) error {
	out.Openat2 = Unknown
	calls, err := mappedSyscalls(f.SystemMap)
	if err != nil {
		return err
	}
	if !calls["openat"] && out.BTF != nil {
		calls = out.BTF.syscalls
	}
	if calls["openat"] {
		out.Openat2 = tri(calls["openat2"])
	}
	return nil
}

// compare finds what does not fit together.
func (out *Facts) compare(v *Vmlinux) {
	add := func(format string, args ...any) {
		out.Disagreements = append(out.Disagreements, fmt.Sprintf(format, args...))
	}
	if out.Banner.Release != "" && out.Release != "" && out.Banner.Release != out.Release {
		add("the kernel calls itself %s, the catalogue %s", out.Banner.Release, out.Release)
	}
	if out.Arch != "" && v.Arch != out.Arch {
		add("the image is for %s, the catalogue says %s", v.Arch, out.Arch)
	}
	if c := out.Compilers; c.Family != "" && !c.Agree {
		var each []string
		for _, n := range c.Claims {
			if n.Family != "" {
				each = append(each, fmt.Sprintf("%s says %s %s", n.From, n.Family, n.Version))
			}
		}
		add("the compiler: %s", strings.Join(each, ", "))
	}
	if c := out.Config; c != nil && c.on("DEBUG_INFO_BTF") != (out.BTF != nil) {
		add("DEBUG_INFO_BTF=%s, and the image has %s", c.Get("DEBUG_INFO_BTF"), map[bool]string{true: "BTF", false: "no BTF"}[out.BTF != nil])
	}
}
