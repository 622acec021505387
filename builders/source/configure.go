// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mews-farm/mews/builders/classify"
	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/results/cause"
)

// CMakeTools names the packages whose closure makes a root that a checkout can be configured in. gcc and make are only asked
// for who they are: nothing is compiled.
func CMakeTools(compiler string) []string {
	return append(root.Tools(compiler), "cmake")
}

// Names are what a driver is called. The zero value of a field means what the checkout falls back to: scap.
type Names struct {
	Driver string // of the module and of its directory: falco
	Device string // prefix of its nodes in /dev
}

// Configuration is a checkout of libs to make a DKMS tree of.
type Configuration struct {
	Source   *Source
	Names    Names
	Root     *root.Root // root.Cache.Whole of CMakeTools
	Compiler string     // in the root's /usr/bin: gcc-12
	Scratch  string     // a directory that exists
	Limits   sandbox.Limits
	Runner   sandbox.Runner // default sandbox.Local
}

// configureVersion is raised when the same checkout is to give another tree.
const configureVersion = "1"

// lists is the project around the checkout's driver directory: its own CMakeLists.txt describes the consumers too, whose
// dependencies it wants to find or to download. The variables are those that upstream's and driverkit's builds set; the
// names with PROBE_ are those of before 2023.
const lists = `cmake_minimum_required(VERSION 3.12)
project(mews NONE)
list(APPEND CMAKE_MODULE_PATH "${CMAKE_SOURCE_DIR}/libs/cmake/modules")
set(LIBS_DIR "${CMAKE_SOURCE_DIR}/libs")
set(PROBE_VERSION "${DRIVER_VERSION}")
set(PROBE_NAME "${DRIVER_NAME}")
set(PROBE_DEVICE_NAME "${DRIVER_DEVICE_NAME}")
set(DRIVER_PACKAGE_NAME "${DRIVER_NAME}")
set(BUILD_BPF ON)
set(BUILD_DRIVER OFF)
add_subdirectory(libs/driver driver)
`

// Configure runs the checkout's own cmake over its driver directory, in the sandbox and without a network, and returns
// the tree that it lays out for DKMS, which is what its targets driver and bpf run make in. That tree is archived in
// its turn, and found again for the same input. A source of layout DKMS is returned as it is when no names are asked for.
func Configure(ctx context.Context, c Configuration) (*Source, error) {
	if c.Runner == nil {
		c.Runner = sandbox.Local{}
	}
	s := c.Source
	if s.Layout == DKMS {
		if c.Names.Driver != "" && c.Names.Driver != s.Name || c.Names.Device != "" && c.Names.Device != s.Device {
			return nil, unusable(s.Base(), "it was configured as %s with the device %s, and cannot be given other names", s.Name, s.Device).
				Advise("name a checkout of falcosecurity/libs")
		}
		return s, nil
	}
	if c.Names.Driver == "" {
		c.Names.Driver = s.Name
	}
	if c.Names.Device == "" {
		c.Names.Device = c.Names.Driver
	}
	for _, n := range []string{c.Names.Driver, c.Names.Device} {
		if !moduleName.MatchString(n) {
			return nil, unusable(s.Base(), "%q is not usable as a name of a driver", n)
		}
	}
	h := sha256.New()
	fmt.Fprintln(h, configureVersion, keyVersion, s.Digest, s.Version, c.Names, c.Root.Key, c.Compiler)
	key := "source/configured/" + hex.EncodeToString(h.Sum(nil))[:32]
	if d, err := s.archive.Ref(key); err == nil {
		if out, err := Load(ctx, s.archive, d, Options{}); err == nil {
			return out, nil
		}
	}
	dir, err := os.MkdirTemp(c.Scratch, ".configure-")
	if err != nil {
		return nil, unusable(s.Base(), "%w", err)
	}
	out, err := c.configure(ctx, dir)
	if rm := os.RemoveAll(dir); rm != nil && err == nil {
		err = unusable(s.Base(), "%w", rm)
	}
	if err != nil {
		return nil, err
	}
	return out, s.archive.SetRef(key, out.Digest)
}

// maxCMakeLog bounds what is kept of cmake's output, in bytes.
const maxCMakeLog = 1 << 20

func (c *Configuration) configure(ctx context.Context, dir string) (*Source, error) {
	s := c.Source
	libs := filepath.Join(dir, "libs")
	if err := os.Mkdir(libs, 0o755); err != nil {
		return nil, unusable(s.Base(), "%w", err)
	}
	if err := s.Unpack(ctx, libs, nil); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "CMakeLists.txt"), []byte(lists), 0o644); err != nil {
		return nil, unusable(s.Base(), "%w", err)
	}
	var said bytes.Buffer
	log := sandbox.NewCapLog(&said, maxCMakeLog)
	argv := []string{
		"/usr/bin/cmake", "-S", sandbox.ScratchAt, "-B", sandbox.ScratchAt + "/out", "-Wno-dev", "-Wno-deprecated",
		"-DDRIVER_VERSION=" + s.Version, "-DDRIVER_NAME=" + c.Names.Driver, "-DDRIVER_DEVICE_NAME=" + c.Names.Device, "-DGIT_COMMIT=",
		// The compilers are named and not tried: nothing is compiled by cmake, and the root has no library to link with.
		"-DCMAKE_C_COMPILER=/usr/bin/" + c.Compiler, "-DCMAKE_CXX_COMPILER=/usr/bin/" + c.Compiler,
		"-DCMAKE_C_COMPILER_FORCED=ON", "-DCMAKE_CXX_COMPILER_FORCED=ON",
		"-DFETCHCONTENT_FULLY_DISCONNECTED=ON",
	}
	res, err := c.Runner.Run(ctx, sandbox.Spec{Root: c.Root.Dir, RootKey: c.Root.Key, Scratch: dir, Argv: argv, Limits: c.Limits, Log: log})
	if full := log.Close(); full != nil && err == nil {
		err = full
	}
	if err != nil {
		return nil, err
	}
	if res.ExitCode != 0 {
		return nil, CMakeFailed(s.Base(), res, said.String())
	}
	return c.collect(ctx, dir)
}

// cmakeLog names cmake's output in evidence.
const cmakeLog = "cmake.log"

// CMakeFailed is what it means that cmake failed over a checkout, called base, and printed what it said.
func CMakeFailed(base string, res *sandbox.Result, said string) *cause.Err {
	facts := classify.Facts{ExitCode: res.ExitCode, LogName: cmakeLog, Killed: res.OutOfMemory || res.Signal == syscall.SIGKILL}
	if res.TimedOut {
		facts.TimedOut = res.Elapsed.Round(time.Second)
	}
	if found := classify.Log(strings.NewReader(said), facts); found.Fault == cause.FaultInfra {
		return found // the machine fell short
	}
	if res.ExitCode == 1 && strings.Contains(said, "CMake Error") { // it read the checkout, and refuses it
		return cause.Errorf(cause.SourceUnusable, cause.FaultDriver, "%s: cmake of its driver directory: %s", base, res).With(complaints(said)...)
	}
	return cause.Errorf(cause.ToolchainBroken, cause.FaultToolchain, "%s: cmake: %s", base, res).With(complaints(said)...)
}

// collect archives what cmake laid out: the module's tree in driver/src, the probe's in driver/bpf/src, or, before 2024,
// in the checkout's own driver/bpf.
func (c *Configuration) collect(ctx context.Context, dir string) (*Source, error) {
	tree := filepath.Join(dir, "out/driver/src")
	for _, probe := range []string{"out/driver/bpf/src", "libs/driver/bpf"} {
		from := filepath.Join(dir, probe)
		if _, err := os.Stat(filepath.Join(from, "probe.c")); err != nil {
			continue
		}
		if err := os.CopyFS(filepath.Join(tree, "bpf"), os.DirFS(from)); err != nil {
			return nil, unusable(c.Source.Base(), "what cmake laid out: %w", err)
		}
		break
	}
	return store(ctx, c.Source.archive, c.Source.Base(), dirTree(tree), Options{})
}

// maxComplaints bounds the lines that are shown of a failed cmake.
const maxComplaints = 8

// complaints are the lines that cmake begins its errors with, and those behind them.
func complaints(said string) []cause.Evidence {
	said = strings.ToValidUTF8(said, "?")
	at := strings.Index(said, "CMake Error")
	if at < 0 {
		at = max(0, len(said)-2000)
	}
	var out []cause.Evidence
	for line := range strings.Lines(said[at:]) {
		if line = strings.TrimSpace(line); line != "" && len(out) < maxComplaints {
			out = append(out, cause.Evidence{File: cmakeLog, Text: line})
		}
	}
	return out
}
