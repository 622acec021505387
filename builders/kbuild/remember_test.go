// SPDX-License-Identifier: Apache-2.0

package kbuild

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// memory is one of an empty archive whose Out holds an artifact, a file beside it and a log.
func memory(t *testing.T) (Memory, *product.Artifact) {
	t.Helper()
	a, err := archive.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := Memory{Archive: a, Out: t.TempDir()}
	for name, text := range map[string]string{"x.o": "object", "x.h": "header", LogName: "log"} {
		if err := os.WriteFile(filepath.Join(m.Out, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sum := archive.DigestOf([]byte("object"))
	return m, &product.Artifact{Path: filepath.Join(m.Out, "x.o"), Variant: product.Modern, File: "x.o", DriverVersion: "1", Size: 6, SHA256: sum, Source: sum,
		Log: archive.DigestOf([]byte("log"))}
}

func TestMemoryGivesBackAllFiles(t *testing.T) {
	m, a := memory(t)
	if err := m.Remember(t.Context(), "build/k", a, nil, "x.h"); err != nil {
		t.Fatal(err)
	}
	m.Out = t.TempDir()
	got, err := m.Recall("build/k")
	if err != nil || got == nil || !got.Cached || got.Path != filepath.Join(m.Out, "x.o") {
		t.Fatalf("%+v, %v", got, err)
	}
	for name, want := range map[string]string{"x.o": "object", "x.h": "header", LogName: "log"} {
		if text, err := os.ReadFile(filepath.Join(m.Out, name)); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if got, err := m.Recall("build/other"); got != nil || err != nil {
		t.Errorf("another key: %+v, %v", got, err)
	}
}

func TestMemoryBuildsAgain(t *testing.T) {
	for name, spoil := range map[string]func(r *record){
		"a file beside it that is lost":  func(r *record) { r.Beside["x.h"] = archive.DigestOf([]byte("lost")) },
		"a name that leads elsewhere":    func(r *record) { r.Beside["../x.h"] = r.Beside["x.h"] },
		"the name of a directory":        func(r *record) { r.Beside["."] = r.Beside["x.h"] },
		"neither artifact nor failure":   func(r *record) { r.Artifact = nil },
		"an artifact of nowhere":         func(r *record) { r.Artifact.File = "../x.o" },
		"both an artifact and a failure": func(r *record) { r.Failure = &failure{What: "x"} },
	} {
		m, a := memory(t)
		if err := m.Remember(t.Context(), "build/k", a, nil, "x.h"); err != nil {
			t.Fatal(err)
		}
		rec, ok := m.record("build/k")
		if !ok {
			t.Fatal("not remembered")
		}
		spoil(rec)
		text, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		d, err := m.Archive.Add(t.Context(), bytes.NewReader(text), maxKept)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Archive.SetRef("build/k", d); err != nil {
			t.Fatal(err)
		}
		m.Out = t.TempDir()
		if got, err := m.Recall("build/k"); got != nil || err != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestMemoryKeepsTheDriversFailuresAlone(t *testing.T) {
	for _, c := range []struct {
		failed error
		kept   bool
	}{
		{cause.Failf(cause.CompileError, cause.FaultDriver, "wrong"), true},
		{cause.Errorf(cause.ToolchainMismatch, cause.FaultToolchain, "old"), false},
		{cause.Errorf(cause.DiskFull, cause.FaultInfra, "full"), false},
	} {
		m, _ := memory(t)
		if err := m.Remember(t.Context(), "build/k", nil, c.failed, "x.h"); err != nil {
			t.Fatal(err)
		}
		got, err := m.Recall("build/k")
		if got != nil || (err != nil) != c.kept || c.kept && cause.Of(err).Cause != cause.CompileError {
			t.Errorf("%v: %+v, %v", c.failed, got, err)
		}
	}
}
