// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/harness/cli"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/catalog"
	"github.com/mews-farm/mews/kernels/imports"
)

func TestMain(m *testing.M) {
	sandbox.Init() // the first process of a sandbox has another name, by which nothing else would know it
	testscript.Main(m, map[string]func(){"mews": func() {
		os.Exit(cli.Main(os.Args[1:], cli.Streams{Out: os.Stdout, Err: os.Stderr}))
	}})
}

// TestScripts runs testdata/script/*.txtar. No script has a network: the mirror is a port that nobody listens on.
func TestScripts(t *testing.T) {
	matrix, err := filepath.Abs("../../matrix.yaml")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_CACHE_HOME", filepath.Join(e.WorkDir, "cache"))
			e.Setenv("MEWS_DEBIAN_MIRROR", "http://127.0.0.1:1/debian")
			e.Setenv("NO_COLOR", "1")
			text, err := os.ReadFile(matrix)
			if err != nil {
				return err
			}
			// run looks for the agent beside mews before all else; no script comes so far as to start it.
			bin, _, _ := strings.Cut(e.Getenv("PATH"), string(os.PathListSeparator))
			return errors.Join(
				os.WriteFile(filepath.Join(e.WorkDir, "shipped.yaml"), text, 0o644),
				os.Symlink(filepath.Join(filepath.Dir(matrix), "testdata"), filepath.Join(e.WorkDir, "testdata")), // which the matrix names files of
				os.Symlink(filepath.Join(filepath.Dir(matrix), "builders"), filepath.Join(e.WorkDir, "builders")),
				os.WriteFile(filepath.Join(bin, "mews-agent"), nil, 0o755),
			)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits,
			"seed":  seed,
			// A name that no archive of scripts could hold: badname DIR.
			"badname": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 1 {
					ts.Fatalf("usage: badname DIR")
				}
				dir := ts.MkAbs(args[0])
				ts.Check(os.MkdirAll(dir, 0o755))
				for _, name := range []string{"dkms.conf", "Makefile", "x\xff.c"} {
					ts.Check(os.WriteFile(filepath.Join(dir, name), []byte("PACKAGE_NAME=x\nPACKAGE_VERSION=1\n"), 0o644))
				}
			},
		},
	})
}

// exits runs a command and checks how it ends: exits 3 mews results show run.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N command [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, not %d", got, want)
	}
}

// seed puts a kernel into the catalogue, and two files as its packages into the archive: seed RELEASE.
func seed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: seed RELEASE")
	}
	ctx := context.Background()
	cache := filepath.Join(ts.Getenv("XDG_CACHE_HOME"), "mews")
	a, err := archive.New(filepath.Join(cache, "archive"))
	ts.Check(err)
	c, err := catalog.Open(ctx, filepath.Join(cache, "catalog.db"))
	ts.Check(err)
	defer c.Close()
	e := kernels.Entry{
		Kernel: kernels.Kernel{Distro: "debian", Release: args[0], Version: "1", Arch: "x86_64"},
		Source: "debian", Repo: "sid/amd64", PackageVersion: "1-1",
	}
	for _, part := range []*[]kernels.Package{&e.Image, &e.Headers} {
		name := fmt.Sprintf("linux-package-%d-%s", len(e.Image), args[0])
		content := name + "\n"
		d := archive.DigestOf([]byte(content))
		_, err := a.Put(ctx, d, int64(len(content)), strings.NewReader(content))
		ts.Check(err)
		*part = []kernels.Package{{Name: name, Version: "1-1", Digest: d, Size: int64(len(content))}}
	}
	ts.Check(c.Add(ctx, []kernels.Entry{e}, time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)))
}

// What imports makes must be what the catalogue takes for imported.
func TestImportSource(t *testing.T) {
	if imports.SourceName != catalog.ImportSource {
		t.Errorf("imports are of source %q, and the catalogue believes %q", imports.SourceName, catalog.ImportSource)
	}
}
