// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"strings"
	"testing"

	"github.com/mews-farm/mews/results/cause"
)

func TestConfig(t *testing.T) {
	c, err := ParseConfig(strings.NewReader(`#
# Automatically generated file; DO NOT EDIT.
#
CONFIG_CC_VERSION_TEXT="gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0"
CONFIG_GCC_VERSION=120200
CONFIG_EXT4_FS=y
CONFIG_OVERLAY_FS=m
# CONFIG_XFS_FS is not set
CONFIG_LSM="a,\"b\""
CONFIG_EMPTY=""
`))
	if err != nil {
		t.Fatal(err)
	}
	for symbol, want := range map[string]string{
		"CONFIG_GCC_VERSION": "120200", "GCC_VERSION": "120200", "EXT4_FS": "y", "XFS_FS": "", "LSM": `a,"b"`, "EMPTY": "", "NONE": "",
	} {
		if got := c.Get(symbol); got != want {
			t.Errorf("%s is %q, want %q", symbol, got, want)
		}
	}
	if !c.IsBuiltin("EXT4_FS") || c.IsModule("EXT4_FS") || !c.IsModule("CONFIG_OVERLAY_FS") || c.IsBuiltin("XFS_FS") {
		t.Error("built in and module are confused")
	}
	for _, bad := range []string{"", "<html>", "CONFIG_X=" + strings.Repeat("x", 2<<20)} {
		if _, err := ParseConfig(strings.NewReader(bad)); cause.Of(err).Cause != cause.PackageCorrupt {
			t.Errorf("config %.20q: %v", bad, err)
		}
	}
}

func TestCompiler(t *testing.T) {
	for text, want := range map[string]Compiler{
		// The first four: facts read from Debian's config files, 2026-11.
		"gcc-10 (Debian 10.2.1-6) 10.2.1 20210110":               {"gcc", 10, "10.2.1", "gcc-10", ""},
		"gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0":               {"gcc", 12, "12.2.0", "gcc-12", ""},
		"x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0":      {"gcc", 14, "14.2.0", "gcc-14", ""},
		"gcc10-gcc (GCC) 10.3.1 20210422 (Red Hat 10.3.1-1)":     {"gcc", 10, "10.3.1", "gcc-10", ""},
		"gcc (GCC) 8.5.0 20210514 (Red Hat 8.5.0-10)":            {"gcc", 8, "8.5.0", "gcc-8", ""},
		"Debian clang version 19.1.7 (3+b1)":                     {"clang", 19, "19.1.7", "clang-19", ""},
		"Android (1234, based on r1) clang version 17.0.2 (x y)": {"clang", 17, "17.0.2", "clang-17", ""},
	} {
		want.Text = text
		c := &Config{values: map[string]string{"CC_VERSION_TEXT": text}}
		if got, err := c.Compiler(); err != nil || got != want {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "gcc", "gcc-12 (Debian 12.2.0)", "icc (ICC) 2021.1", "clang version x", "clang version 99999999999999999999.1"} {
		c := &Config{values: map[string]string{"CC_VERSION_TEXT": text}}
		if got, err := c.Compiler(); cause.Of(err).Cause != cause.ToolchainMismatch {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
}

func TestCompilerWithoutItsText(t *testing.T) {
	for _, c := range []struct{ name, config, compileH, want string }{
		{"numbers", "CONFIG_CC_IS_GCC=y\nCONFIG_GCC_VERSION=80500\nCONFIG_CLANG_VERSION=0\n", "", "gcc-8 8.5.0"},
		{"clang's number", "CONFIG_CC_IS_CLANG=y\nCONFIG_CLANG_VERSION=170002\n", "", "clang-17 17.0.2"},
		{"clang that says it is gcc 4.2.1", "CONFIG_CC_IS_CLANG=y\nCONFIG_GCC_VERSION=40201\nCONFIG_CLANG_VERSION=80001\n", "", "clang-8 8.0.1"},
		{"clang without its number", "CONFIG_CC_IS_CLANG=y\nCONFIG_GCC_VERSION=40201\n", "", ""},
		{"a text that names nothing", "CONFIG_CC_VERSION_TEXT=\"cc\"\nCONFIG_GCC_VERSION=100201\n", "", "gcc-10 10.2.1"},
		{"the text is believed first", "CONFIG_CC_VERSION_TEXT=\"gcc (GCC) 9.3.0\"\nCONFIG_GCC_VERSION=100201\n", "gcc (GCC) 8.1.0", "gcc-9 9.3.0"},
		{"compile.h, of before 4.19", "CONFIG_X=y\n", "gcc version 4.8.5 20150623 (Red Hat 4.8.5-44, x) , GNU ld version 2.27", "gcc-4 4.8.5"},
		{"compile.h of clang", "CONFIG_X=y\n", "Debian clang version 19.1.7 (3+b1), Debian LLD 19.1.7", "clang-19 19.1.7"},
		{"compile.h of none", "CONFIG_X=y\n", "cc, GNU ld (gcc 1.2.3) 2.40", ""},
		{"not a number", "CONFIG_GCC_VERSION=many\n", "", ""},
		{"a number that is no version", "CONFIG_GCC_VERSION=12\n", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, err := ParseConfig(strings.NewReader(c.config))
			if err != nil {
				t.Fatal(err)
			}
			config.compileH = c.compileH
			got, err := config.Compiler()
			if c.want == "" {
				if cause.Of(err).Cause != cause.ToolchainMismatch {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if text := got.Command + " " + got.Version; err != nil || text != c.want {
				t.Errorf("got %s, %v, want %s", text, err, c.want)
			}
		})
	}
}
