// SPDX-License-Identifier: Apache-2.0

package product

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/mews-farm/mews/builders/promise"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

func module() *Artifact {
	sum := archive.DigestOf([]byte("x"))
	return &Artifact{
		Variant: KMod, File: "scap.ko", SHA256: sum, Size: 1, Kernel: kernels.Kernel{Distro: "debian", Release: "6.1.0-1-amd64", Version: "1", Arch: "x86_64"},
		DriverVersion: "0.1.1dev+git20220316.e5c53d64", Source: sum, ModuleName: "scap", Device: "scap", Machine: "EM_X86_64",
		Vermagic: "6.1.0-1-amd64 SMP", KernelRelease: "6.1.0-1-amd64", Compiler: Compiler{"gcc-12", "gcc", 12, "gcc-12 (Debian) 12.2.0"},
		Root: "k", Headers: []archive.Digest{sum}, Promises: promise.Result{Kept: []string{"CC_HAS_ASM_INLINE"}},
		Broken:       &Broken{What: "w", Evidence: cause.Text("e")},
		Substitution: &Substitution{"gcc-11", "gcc-12", "no suite has gcc-11"}, Has: map[string]bool{"0__SANITY": true}, Log: sum, Seconds: 4.5,
	}
}

func TestParseReadsWhatWasWritten(t *testing.T) {
	text, err := json.Marshal(module())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, module()) {
		t.Errorf("got %+v", got)
	}
}

func TestCheckRefuses(t *testing.T) {
	for want, spoil := range map[string]func(*Artifact){
		"unknown variant":        func(a *Artifact) { a.Variant = "" },
		"not a file's name":      func(a *Artifact) { a.File = "../scap.ko" },
		"not a driver's":         func(a *Artifact) { a.DriverVersion = "0/1" },
		"0 bytes":                func(a *Artifact) { a.Size = 0 },
		`sha256 "" is not`:       func(a *Artifact) { a.SHA256 = "" },
		`source "AB" is not`:     func(a *Artifact) { a.Source = "AB" },
		`log "../../x" is not a`: func(a *Artifact) { a.Log = "../../x" },
	} {
		a := module()
		spoil(a)
		if err := a.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if err := module().Check(); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	text, err := json.Marshal(module())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, data []byte) {
		if a, err := Parse(data); err == nil && a.Check() != nil {
			t.Error("Parse let through what Check refuses")
		}
	})
}
