// SPDX-License-Identifier: Apache-2.0

package grid

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/results/cause"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (make it with -update)", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("differs from %s (-want +got); look at it and run with -update:\n%s", path, diff)
	}
}

// everything is a grid that came to every state.
func everything() []*Result {
	ks := []*Kernel{kernel("6.1.0-56-cloud-amd64"), kernel("7.2.12-cloud-amd64"), kernel("6.16.3-cloud-amd64"), {Name: "cos:17800.1", Resolved: kernel("5.15.1+").Resolved}}
	old := driver("falco-ebpf-10", product.EBPF)
	old.Version = "10.2.0+driver"
	var rs []*Result
	for _, c := range Cells(ks, []*Driver{driver("falco-kmod", product.KMod), old}, nil) {
		r := newResult(c)
		rs = append(rs, r)
		if no := c.known(); no != nil {
			r.end(StageResolve, no)
			continue
		}
		switch c.Kernel {
		case ks[0]:
			r.end(StageBuild, nil)
			r.Origin, r.Artifact = Built, &product.Artifact{Compiler: product.Compiler{Command: "gcc-12"}, Substitution: &product.Substitution{Wanted: "gcc-11"}}
		case ks[1]:
			r.LogPath = "/archive/12/34"
			r.end(StageBuild, cause.Failf(cause.CompileError, cause.FaultDriver, "main.c does not compile").
				With(cause.Evidence{File: "build.log", Line: 7, Text: "main.c:12: error: \x1b[31mtoo few | arguments to `class_create`"}).With(cause.Text("2", "3", "4", "5", "6", "7", "8")...))
		case ks[2]:
			r.end(StageResolve, cause.Errorf(cause.HeadersMissing, cause.FaultKernel, "no headers").With(cause.Text("linux-headers-6.16.3 is not in trixie")...).Advise("pick another"))
		}
	}
	return rs
}

// compilers is a grid of compilers.
func compilers() []*Result {
	var rs []*Result
	for _, c := range Cells([]*Kernel{kernel("5.10.0-46-cloud-amd64")}, []*Driver{driver("falco-kmod", product.KMod)}, []string{"gcc-9", "gcc-10", "gcc-12", "clang-9"}) {
		r := newResult(c)
		r.Inputs = &Inputs{Wanted: "gcc-10"}
		r.end(StageBuild, nil)
		r.Origin, r.Artifact = Remembered, &product.Artifact{Compiler: product.Compiler{Command: c.Compiler}}
		switch c.Compiler {
		case "gcc-9":
			r.Artifact.Broken = &product.Broken{What: "x"}
		case "gcc-10":
			r.Inputs.Wanted = ""
		case "clang-9":
			r.Artifact = nil
			r.end(StageBuild, cause.Errorf(cause.ToolchainMismatch, cause.FaultToolchain, "clang-9 does not know asm inline"))
		}
		rs = append(rs, r)
	}
	return rs
}

func TestTables(t *testing.T) {
	for name, rs := range map[string][]*Result{"grid": everything(), "compilers": compilers()} {
		var text, painted, mark bytes.Buffer
		if err := errors.Join(RenderTable(&text, rs, false), RenderTable(&painted, rs, true), RenderMarkdown(&mark, rs)); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".txt", text.Bytes())
		golden(t, name+".md", mark.Bytes())
		if bytes.ContainsRune(text.Bytes(), 0x1b) || bytes.ContainsRune(mark.Bytes(), 0x1b) {
			t.Errorf("%s: an escape sequence came through", name)
		}
		if plain := regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAllString(painted.String(), ""); plain != text.String() || plain == painted.String() {
			t.Errorf("%s: colour says more, or nothing", name)
		}
		if !strings.Contains(text.String(), "cells") {
			t.Errorf("%s: no summary", name)
		}
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestFailedOutputIsTold(t *testing.T) {
	if RenderTable(brokenPipe{}, everything(), false) == nil || RenderMarkdown(brokenPipe{}, everything()) == nil {
		t.Error("a table that could not be written is none")
	}
}
