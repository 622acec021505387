// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/harness/machine/qemu/accel"
	"github.com/mews-farm/mews/results"
)

// check is one thing that a run needs, and how it stands.
type check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Mend   string `json:"mend,omitempty"` // what to do about it
}

// The room a run needs. After all profiles the cache held 2.9 GiB: 0.8 of packages, the rest unpacked. A guest of 640 MiB
// took 437 MiB with its emulator, and may take all of its memory and 200 MiB more.
const (
	wantDisk   = 4 << 30
	wantMemory = 1 << 30
)

func newDoctor(s Streams) *cobra.Command {
	var f selectFlags
	var output string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can do, and how to mend what it cannot",
		Long: `doctor checks what a run needs: the emulator and its accelerator, build sandboxes, room, and a package
mirror whose indexes verify. It exits 3 when something is lacking.`,
		Example: `  mews doctor
  mews doctor -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return fmt.Errorf("--output %s: table or json is to be had", output)
			}
			checks, err := examine(c.Context(), s, f)
			if err != nil {
				return err
			}
			if output == "json" {
				err = encode(s.Out, output, checks)
			} else {
				err = printChecks(s, checks)
			}
			if err != nil {
				return err
			}
			for _, k := range checks {
				if !k.OK {
					return &exitError{code: results.ExitLacking}
				}
			}
			return nil
		},
	}
	f.add(c)
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return c
}

func printChecks(s Streams, checks []check) error {
	for _, k := range checks {
		mark := "ok  "
		if !k.OK {
			mark = "MEND"
		}
		if _, err := fmt.Fprintf(s.Out, "%s  %-12s %s\n", mark, k.Name, k.Detail); err != nil {
			return err
		}
		if k.Mend != "" {
			fmt.Fprintf(s.Out, "      %-12s -> %s\n", "", k.Mend)
		}
	}
	return nil
}

func examine(ctx context.Context, s Streams, f selectFlags) ([]check, error) {
	e, err := open(f, "", warnTo(s.Err))
	if err != nil {
		return nil, err
	}
	out := []check{checkQEMU(ctx), e.checkAccelerator(ctx), checkAgent(), checkSandbox(ctx), checkMemory(), checkRoom("archive", e.shop.Dir)}
	return append(out, e.checkMirror(ctx)...), ctx.Err()
}

func checkQEMU(ctx context.Context) check {
	k := check{Name: "emulator", Mend: "make deps, or install the package qemu-system-x86"}
	path, err := exec.LookPath(qemu.Program)
	if err != nil {
		k.Detail = err.Error()
		return k
	}
	v := qemuVersion(ctx)
	if v == "" {
		k.Detail = path + " does not say its version"
		return k
	}
	return check{Name: k.Name, OK: true, Detail: "QEMU " + v}
}

// checkAccelerator probes with a kernel of the archive. Emulation is slower and judges as well: it is no lack.
func (e *env) checkAccelerator(ctx context.Context) check {
	k := check{Name: "accelerator", OK: true}
	images, err := filepath.Glob(filepath.Join(e.shop.Trees.Dir, "kernel-*", "boot", "vmlinuz-*"))
	if err != nil || len(images) == 0 {
		k.Detail = "not probed: that takes a kernel, and the archive has none yet"
		return k
	}
	a, err := accel.Prober{Kernel: images[0], CacheDir: e.shop.Dir}.Probe(ctx)
	if err != nil {
		k.OK, k.Detail = false, err.Error()
		return k
	}
	k.Detail = a.Name() + ": " + a.Reason
	return k
}

func checkAgent() check {
	if _, err := agentBinary(); err != nil {
		return check{Name: "agent", Detail: err.Error()}
	}
	return check{Name: "agent", OK: true, Detail: "beside this binary"}
}

// checkSandbox runs this very binary, which needs no libraries, in a sandbox as builds run in.
func checkSandbox(ctx context.Context) check {
	k := check{Name: "sandbox", OK: true, Detail: "builds run in namespaces of their own, without a network"}
	if err := trySandbox(ctx); err != nil {
		k.OK, k.Detail = false, err.Error()
		k.Mend = "run as root, or allow unprivileged user namespaces (sysctl kernel.apparmor_restrict_unprivileged_userns=0)"
	}
	return k
}

func trySandbox(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "mews-doctor-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, d := range []string{"root/bin", "root/build", "root/dev", "root/proc", "root/tmp", "scratch"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if dynamic(self) {
		return errors.New("not tried: this binary is linked dynamically and so cannot run in an empty root; `make build` makes one that can")
	}
	binary, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "root/bin/mews"), binary, 0o755); err != nil {
		return err
	}
	var said strings.Builder
	res, err := sandbox.Run(ctx, sandbox.Spec{
		Root: filepath.Join(dir, "root"), Scratch: filepath.Join(dir, "scratch"), Argv: []string{"/bin/mews", "--help"}, Log: &said,
	})
	if err == nil && res.ExitCode != 0 {
		err = fmt.Errorf("a command in a sandbox ended with %d: %s", res.ExitCode, said.String())
	}
	return err
}

// dynamic reports whether an executable needs an interpreter to load it.
func dynamic(file string) bool {
	f, err := elf.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	return slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

func checkMemory() check {
	k := check{Name: "memory"}
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		k.Detail = err.Error()
		return k
	}
	var kib uint64
	for line := range strings.Lines(string(data)) {
		if _, err := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); err == nil {
			break
		}
	}
	k.OK = kib<<10 >= wantMemory
	k.Detail = fmt.Sprintf("%.1f GiB available: %d guests at once", float64(kib)/(1<<20), kib<<10/wantMemory)
	if !k.OK {
		k.Mend = "a guest with its emulator needs up to 1 GiB: free some, or run with a smaller --memory"
	}
	return k
}

func checkRoom(name, dir string) check {
	k := check{Name: name}
	at := dir
	for ; at != "/" && at != "."; at = filepath.Dir(at) {
		if _, err := os.Stat(at); err == nil {
			break // the cache is made at the first run; its file system is that of what exists
		}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(at, &st); err != nil {
		k.Detail = dir + ": " + err.Error()
		return k
	}
	free := st.Bavail * uint64(st.Bsize)
	k.OK = free >= wantDisk
	k.Detail = fmt.Sprintf("%s, %.1f GiB free", dir, float64(free)/(1<<30))
	if !k.OK {
		k.Mend = fmt.Sprintf("a full archive needs %d GiB: free some, or set XDG_CACHE_HOME", wantDisk>>30)
	}
	return k
}

// checkMirror verifies one small index of each archive the matrix names, as a run would.
func (e *env) checkMirror(ctx context.Context) []check {
	m := e.shop.Debian.Mirrors()
	var out []check
	for _, suite := range []struct{ name, suite, url string }{
		{"mirror", "trixie-backports", m.Main},
		{"security", "bookworm-security", m.Security},
	} {
		k := check{Name: suite.name, OK: true, Detail: suite.url + ": " + suite.suite + " verifies"}
		if _, err := e.shop.Debian.Index(ctx, suite.suite); err != nil {
			k.OK, k.Detail = false, err.Error()
		}
		out = append(out, k)
	}
	return out
}
