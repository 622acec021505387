// SPDX-License-Identifier: Apache-2.0

// Package inspect knows what a built driver, a kernel module or a legacy eBPF probe, says about itself, and whether a
// kernel would take it, without loading it.
package inspect

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// maxModule bounds what is read: Falco's module with its debug information has 4 MB.
const maxModule = 256 << 20

// signature ends a signed module (scripts/sign-file.c).
var signature = []byte("~Module signature appended~\n")

// Module is what a module's file tells. What the file does not tell is empty.
type Module struct {
	File          string // base name
	SHA256        string // hexadecimal
	Size          int64  // bytes
	Name          string
	Vermagic      string // 6.1.0-56-cloud-amd64 SMP preempt mod_unload modversions
	SrcVersion    string
	Version       string
	APIVersion    string // of Falco's drivers: what the consumer must speak
	SchemaVersion string // of Falco's drivers: what events look like
	License       string
	Depends       []string
	Signed        bool
	Machine       elf.Machine
	Undefined     []string          // what it needs of the kernel, sorted; without weak symbols
	CRCs          map[string]uint32 // of those symbols' types, as its headers had them; nil without MODVERSIONS
}

// Read reads the module in file.
func Read(file string) (*Module, error) {
	data, err := readFile(file)
	if err != nil {
		return nil, err
	}
	return Parse(filepath.Base(file), data)
}

func readFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "inspect driver: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxModule+1))
	if err != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultInfra, "inspect driver: %w", err)
	}
	if len(data) > maxModule {
		return nil, broken(file).With(cause.Text("larger than 256 MiB")...)
	}
	return data, nil
}

// Parse reads a module from memory. What is no module is TOOLCHAIN_BROKEN: something else came out of the build.
func Parse(name string, data []byte) (*Module, error) {
	e, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, broken(name).With(cause.Text(err.Error())...)
	}
	if e.Type != elf.ET_REL {
		return nil, broken(name).With(cause.Text("ELF type " + e.Type.String() + ", not REL")...)
	}
	for _, s := range e.Sections {
		// A compressed section may claim any size.
		if s.Type != elf.SHT_NOBITS && s.Size > uint64(len(data)) {
			return nil, broken(name).With(cause.Text("section " + strconv.Quote(s.Name) + " is larger than the file")...)
		}
	}
	info, err := kernels.Modinfo(data)
	if err != nil {
		return nil, broken(name).With(cause.Text(err.Error())...)
	}
	needs, err := undefined(e)
	if err != nil {
		return nil, broken(name).With(cause.Text(err.Error())...)
	}
	crcs, err := versions(e)
	if err != nil {
		return nil, broken(name).With(cause.Text(err.Error())...)
	}
	get := func(key string) string {
		if v := info[key]; len(v) > 0 {
			return v[0]
		}
		return ""
	}
	sum := sha256.Sum256(data)
	m := &Module{
		File: name, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(data)), Name: get("name"), Vermagic: get("vermagic"),
		SrcVersion: get("srcversion"), Version: get("version"), APIVersion: get("api_version"), SchemaVersion: get("schema_version"), License: get("license"),
		Signed: bytes.HasSuffix(data, signature), Machine: e.Machine,
		Undefined: needs, CRCs: crcs,
	}
	if d := get("depends"); d != "" {
		m.Depends = strings.Split(d, ",")
	}
	if m.Vermagic == "" {
		return nil, broken(name).With(cause.Text(".modinfo holds no vermagic")...)
	}
	return m, nil
}

func broken(name string) *cause.Err {
	return cause.Errorf(cause.ToolchainBroken, cause.FaultToolchain, "%s is not a loadable kernel module", filepath.Base(name))
}

// Release is the kernel release that the module was built for.
func (m *Module) Release() string {
	release, _, _ := strings.Cut(m.Vermagic, " ")
	return release
}

// machines are the ELF machines by the names that records use for architectures.
var machines = map[string]elf.Machine{"x86_64": elf.EM_X86_64, "aarch64": elf.EM_AARCH64}

// Check reports why kernel k with configuration c would refuse the module.
func (m *Module) Check(k kernels.Kernel, c *kernels.Config) error {
	line := func(text string) cause.Evidence { return cause.Evidence{File: m.File, Text: text} }
	// The kernel compares the whole string, but without its first word when both sides have modversions
	// (kernel/module/version.c, same_magic): what else differs shows as a refusal to load.
	if release := m.Release(); release != k.Release {
		return cause.Failf(cause.VermagicMismatch, cause.FaultToolchain, "%s was built for kernel %q, not for %s", m.File, release, k.Release).
			With(line("vermagic="+m.Vermagic)).Advise("build it against the headers of %s", k.Release)
	}
	if want, known := machines[k.Arch]; !known || m.Machine != want {
		return cause.Failf(cause.VermagicMismatch, cause.FaultToolchain, "%s is for machine %s, the kernel for %s", m.File, m.Machine, k.Arch).
			With(line("e_machine=" + m.Machine.String()))
	}
	if c.IsBuiltin("MODULE_SIG_FORCE") && !m.Signed {
		return cause.Failf(cause.ModuleSignature, cause.FaultKernel, "kernel %s takes signed modules only, and %s is not", k.Release, m.File).
			With(cause.Evidence{File: "config-" + k.Release, Text: "CONFIG_MODULE_SIG_FORCE=y"}).
			Advise("sign the module with a key that the kernel trusts, or use an eBPF driver")
	}
	return nil
}
