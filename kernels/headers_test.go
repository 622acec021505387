// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/debtest"
	"github.com/mews-farm/mews/results/cause"
)

func TestHeaderFiles(t *testing.T) {
	s := &shelf{dir: t.TempDir()}
	src := "./usr/src/linux-headers-" + release
	headers := s.add(t, "headers", packed(t, debtest.File(src+"/Makefile", "all:"), debtest.File(src+"/.config", "CONFIG_EXT4_FS=y\n")))
	trees := &Trees{Dir: t.TempDir(), Fetcher: s}
	r := kernel([]Package{{Name: "image that nobody has", Digest: archive.DigestOf(nil)}}, []Package{headers})
	f, err := trees.HeaderFiles(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if f.Image != "" || f.HeaderDir != "/usr/src/linux-headers-"+release || !f.Config.IsBuiltin("EXT4_FS") || len(f.Packages) != 1 || f.Packages[0] != headers.Digest || s.n != 1 {
		t.Errorf("%+v, %d fetched", f, s.n)
	}
}

func TestHeadersMissing(t *testing.T) {
	s := &shelf{dir: t.TempDir()}
	for name, c := range map[string]struct {
		r    *Resolved
		says string
	}{
		"none was found":          {&Resolved{Kernel: Kernel{Release: release}, HeadersMissing: []string{"linux-headers-x is not in sid"}}, "linux-headers-x is not in sid"},
		"nobody looked":           {&Resolved{Kernel: Kernel{Release: release}}, "linux-headers-" + release},
		"those of another kernel": {kernel(nil, []Package{s.add(t, "h", packed(t, debtest.File("./usr/src/linux-headers-6.1.0-55-cloud-amd64/Makefile", "")))}), "no Makefile for " + release},
	} {
		_, err := (&Trees{Dir: t.TempDir(), Fetcher: s}).HeaderFiles(t.Context(), c.r)
		f := cause.Of(err)
		if f.Cause != cause.HeadersMissing || f.State != cause.Error || f.Fault != cause.FaultKernel || len(f.Evidence) < 2 || !strings.Contains(f.Evidence[1].Text, c.says) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// Flavours of a release have most of their headers from one package.
func TestFlavoursShareHeaders(t *testing.T) {
	s := &shelf{dir: t.TempDir()}
	const shared = "usr/src/linux-headers-6.1.0-56-common/include/x.h"
	common := s.add(t, "linux-headers-6.1.0-56-common", packed(t, debtest.File("./"+shared, "#define X")))
	trees := &Trees{Dir: t.TempDir(), Fetcher: s}
	var files []os.FileInfo
	for _, release := range []string{"6.1.0-56-amd64", "6.1.0-56-cloud-amd64"} {
		src := "./usr/src/linux-headers-" + release
		own := s.add(t, "linux-headers-"+release, packed(t, debtest.File(src+"/Makefile", "all:"), debtest.File(src+"/.config", "CONFIG_EXT4_FS=y\n")))
		r := kernel(nil, []Package{own, common})
		r.Kernel.Release = release
		f, err := trees.HeaderFiles(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(filepath.Join(f.Headers, shared))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, fi)
	}
	if !os.SameFile(files[0], files[1]) {
		t.Error("unpacked twice")
	}
}
