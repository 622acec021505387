// SPDX-License-Identifier: Apache-2.0

package kbuild

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mews-farm/mews/builders/classify"
	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

func config(t *testing.T, text string) *kernels.Config {
	t.Helper()
	c, err := kernels.ParseConfig(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestVariables(t *testing.T) {
	gcc := "CONFIG_CC_VERSION_TEXT=\"gcc-12 (Debian 12.2.0-14) 12.2.0\"\n"
	lld := "CONFIG_CC_VERSION_TEXT=\"Debian clang version 19.1.7\"\nCONFIG_LD_IS_LLD=y\n"
	for _, c := range []struct{ name, arch, config, use, family, want string }{
		{"the kernel's own", hostArch, gcc, "gcc-12", "gcc", ""},
		{"another gcc", hostArch, gcc, "gcc-13", "gcc", "CC=gcc-13"},
		{"clang with GNU's tools", hostArch, gcc, "clang-19", "clang", "CC=clang-19"},
		{"a kernel linked by lld", hostArch, lld, "clang-19", "clang", "LD=ld.lld-19 AR=llvm-ar-19 NM=llvm-nm-19 OBJCOPY=llvm-objcopy-19 STRIP=llvm-strip-19"},
		{"another machine's", "aarch64", gcc, "aarch64-linux-gnu-gcc-12", "gcc", "ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- CC=aarch64-linux-gnu-gcc-12"},
	} {
		if c.arch == hostArch && strings.HasPrefix(c.use, "aarch64") || c.name == "another machine's" && hostArch == "aarch64" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			cfg := config(t, c.config)
			own, err := cfg.Compiler()
			if err != nil {
				t.Fatal(err)
			}
			in, err := os.OpenRoot(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			b := &Build{Request: &Request{
				Kernel:   &kernels.Files{Kernel: kernels.Kernel{Arch: c.arch}, Config: cfg},
				Compiler: product.Compiler{Command: c.use, Family: c.family, Major: 19}, Jobs: 3,
			}, Kind: &Kind{Promises: true}, Own: own, Headers: "/h", Scratch: in}
			if got := strings.Join(b.Variables(), " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if err := b.putMake(); err != nil {
				t.Fatal(err)
			}
			script, err := in.ReadFile("bin/make")
			argv := strings.Join(b.arguments("/build/x", []string{"modules"}), " ")
			if c.want == "" {
				if err == nil || argv != "/usr/bin/make -j3 -C /h M=/build/x KERNELDIR=/h modules" {
					t.Errorf("a make of its own: %s, %s", script, argv)
				}
				return
			}
			if !strings.Contains(string(script), "exec /usr/bin/make '"+strings.ReplaceAll(c.want, " ", "' '")+"' \"$@\"\n") {
				t.Errorf("the driver's trial builds get %s", script)
			}
			if !strings.Contains(argv, " "+c.want+" PATH=/build/bin:") {
				t.Errorf("arguments %s", argv)
			}
		})
	}
}

func TestFacts(t *testing.T) {
	gcc := kernels.Compiler{Command: "gcc-12", Family: "gcc", Major: 12}
	used := product.Compiler{Command: "gcc-12", Family: "gcc", Major: 12}
	for _, c := range []struct {
		name string
		used product.Compiler
		own  kernels.Compiler
		res  sandbox.Result
		want classify.Facts
	}{
		{"the kernel's own", used, gcc, sandbox.Result{ExitCode: 2}, classify.Facts{ExitCode: 2, Compiler: "gcc-12", KernelCompiler: "gcc-12"}},
		{"its cross edition", product.Compiler{Command: "aarch64-linux-gnu-gcc-12", Family: "gcc", Major: 12}, gcc, sandbox.Result{ExitCode: 2},
			classify.Facts{ExitCode: 2, Compiler: "gcc-12", KernelCompiler: "gcc-12"}},
		{"as a distro with only one calls it", product.Compiler{Command: "gcc", Family: "gcc", Major: 12}, gcc, sandbox.Result{ExitCode: 2},
			classify.Facts{ExitCode: 2, Compiler: "gcc-12", KernelCompiler: "gcc-12"}},
		{"a probe", product.Compiler{Command: "clang-12", Family: "clang", Major: 12}, gcc, sandbox.Result{ExitCode: 2},
			classify.Facts{ExitCode: 2, Compiler: "clang-12", KernelCompiler: "gcc-12"}},
		{"nobody knows the kernel's", used, kernels.Compiler{}, sandbox.Result{ExitCode: 2}, classify.Facts{ExitCode: 2, Compiler: "gcc-12"}},
		{"killed", used, gcc, sandbox.Result{ExitCode: -1, Signal: syscall.SIGKILL}, classify.Facts{ExitCode: -1, Killed: true, Compiler: "gcc-12", KernelCompiler: "gcc-12"}},
		{"a child of its was", used, gcc, sandbox.Result{ExitCode: 2, OutOfMemory: true}, classify.Facts{ExitCode: 2, Killed: true, Compiler: "gcc-12", KernelCompiler: "gcc-12"}},
		{"stopped", used, gcc, sandbox.Result{ExitCode: -1, Signal: syscall.SIGKILL, TimedOut: true, Elapsed: time.Second + 1},
			classify.Facts{ExitCode: -1, TimedOut: time.Second, Compiler: "gcc-12", KernelCompiler: "gcc-12"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.want.LogName, c.want.Source = LogName, "/build/x"
			b := &Build{Request: &Request{Compiler: c.used}, Own: c.own}
			if got := b.facts("/build/x", &c.res); got != c.want {
				t.Errorf("got %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestTrials(t *testing.T) {
	cfg := config(t, "CONFIG_CC_VERSION_TEXT=\"gcc-12 (Debian 12.2.0-14) 12.2.0\"\n")
	own, err := cfg.Compiler()
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	b := &Build{Request: &Request{
		Kernel:   &kernels.Files{Kernel: kernels.Kernel{Arch: hostArch}, Config: cfg},
		Compiler: product.Compiler{Command: "gcc-12", Family: "gcc", Major: 12}, Jobs: 3,
	}, Kind: &Kind{Trials: []string{"CONFIG_X=", "FLAGS=-a -b"}}, Own: own, Headers: "/h", Scratch: in}
	if err := b.putMake(); err != nil {
		t.Fatal(err)
	}
	script, err := in.ReadFile("bin/make")
	if want := "#!/bin/sh\nexec /usr/bin/make 'CONFIG_X=' 'FLAGS=-a -b' \"$@\"\n"; err != nil || string(script) != want {
		t.Errorf("the trial builds get %q, %v", script, err)
	}
	if got := strings.Join(b.arguments("/d", nil), " "); strings.Contains(got, "CONFIG_X") || !strings.Contains(got, " PATH=/build/bin:") {
		t.Errorf("the build itself gets %s", got)
	}
}

// What was seen to go well is not made again, and anything else is.
func TestAnswer(t *testing.T) {
	dir := t.TempDir()
	in, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	b := &Build{Request: &Request{Kernel: &kernels.Files{Kernel: kernels.Kernel{Arch: hostArch}}}, Kind: &Kind{Trials: []string{"CONFIG_X="}}, Scratch: in}
	if err := b.Answer([]string{"/build/a", "/build/b"}); err != nil {
		t.Fatal(err)
	}
	for args, yes := range map[string]bool{
		"CC=gcc-12 -C /build/a": true, "CC= -C /build/b": true, "CC=ccache gcc -C /build/b": false,
		"CC= -C /build/c": false, "CC= -C /build/a clean": false, "W=1 -C /build/a": false, "-C /build/a": false, "CC= -f /build/a": false,
	} {
		argv := append([]string{filepath.Join(dir, "bin/make")}, strings.Split(args, " ")...)
		if err := exec.CommandContext(t.Context(), "sh", argv...).Run(); (err == nil) != yes {
			t.Errorf("make %s: %v", args, err)
		}
	}
}

func TestForced(t *testing.T) {
	log := cause.Failf(cause.CompileError, cause.FaultDriver, "the driver does not compile").With(cause.Text("main.c:1: error")...)
	b := &Build{kept: &kept{}}
	if got := b.forced(log); got != error(log) {
		t.Errorf("no promise was broken: %v", got)
	}
	b.kept = &kept{broken: &product.Broken{What: "asm inline: promised", Evidence: cause.Text("CONFIG_CC_HAS_ASM_INLINE=y")}, finding: &cause.Err{Hint: "another compiler"}}
	f := cause.Of(b.forced(log))
	if f.Cause != cause.ToolchainMismatch || f.Fault != cause.FaultToolchain || f.State != cause.Error {
		t.Errorf("%+v", f)
	}
	var lines []string
	for _, e := range f.Evidence {
		lines = append(lines, e.Text)
	}
	if got := strings.Join(lines, "|"); got != "asm inline: promised (another compiler)|CONFIG_CC_HAS_ASM_INLINE=y|forced to build all the same: the driver does not compile|main.c:1: error" {
		t.Errorf("evidence %s", got)
	}
	full := cause.Errorf(cause.DiskFull, cause.FaultInfra, "full")
	if got := b.forced(full); got != error(full) {
		t.Errorf("a full disk became %v", got)
	}
}

func TestConfigured(t *testing.T) {
	file := filepath.Join(t.TempDir(), LogName)
	text := "[configure-kmod] Setting HAS_0__SANITY flag\n[configure-kmod] Build output for HAS_CLASS_CREATE_1:\n[configure-kmod] make: error\n[configure-bpf] Setting HAS_X flag\nSetting HAS_NOT flag\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := configured(f)
	if err != nil || !maps.Equal(got, map[string]bool{"0__SANITY": true, "CLASS_CREATE_1": false, "X": true}) {
		t.Errorf("got %v, %v", got, err)
	}
}
