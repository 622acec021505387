// SPDX-License-Identifier: Apache-2.0

package source

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mews-farm/mews/results/cause"
)

var dkmsVars = map[string]string{"kernelver": "6.1.0-56-cloud-amd64", "kernel_source_dir": "/usr/src/linux-headers-6.1.0-56-cloud-amd64", "dkms_tree": "/build", "PACKAGE_NAME": "", "PACKAGE_VERSION": ""}

const falco = `PACKAGE_NAME="scap"
PACKAGE_VERSION="0.23.2"

# 'struct mmsghdr' was introduced in Linux v2.6.33
BUILD_EXCLUSIVE_KERNEL_MIN="2.6.33"

BUILT_MODULE_NAME[0]="scap"
DEST_MODULE_LOCATION[0]="/kernel/extra"
AUTOINSTALL="yes"
`

func TestParseRecipe(t *testing.T) {
	for _, c := range []struct{ name, conf, want string }{
		{"falco", falco, "scap 0.23.2 scap@ [modules]"},
		{"make", "PACKAGE_NAME=x\nPACKAGE_VERSION=1\nMAKE[0]=\"make -C ${kernel_source_dir} M=$dkms_tree/x V=1\"\n",
			"x 1 x@ [-C /usr/src/linux-headers-6.1.0-56-cloud-amd64 M=/build/x V=1]"},
		{"without an index, with a location", "PACKAGE_NAME='a-b'\nPACKAGE_VERSION=\"1~rc1+x\"\nBUILT_MODULE_NAME=ab\nBUILT_MODULE_LOCATION=sub/dir/\n", "a-b 1~rc1+x ab@sub/dir [modules]"},
		{"own variables", "PACKAGE_NAME=x\nPACKAGE_VERSION=1\nBUILT_MODULE_NAME[0]=\"${PACKAGE_NAME}\"\n", "x 1 x@ [modules]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := ParseRecipe("dkms.conf", strings.NewReader(c.conf), dkmsVars)
			if err != nil {
				t.Fatalf("%+v", err)
			}
			if got := fmt.Sprintf("%s %s %s@%s %v", r.Name, r.Version, r.Module, r.Location, r.Make); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestParseRecipeRefuses(t *testing.T) {
	const head = "PACKAGE_NAME=x\nPACKAGE_VERSION=1\n"
	for _, c := range []struct {
		name, conf string
		line       int
	}{
		{"empty", "", 0},
		{"no version", "PACKAGE_NAME=x\n", 1},
		{"command substitution", head + "MAKE[0]=\"make $(id)\"\n", 3},
		{"back quotes", head + "MAKE[0]=\"make `id`\"\n", 3},
		{"two commands", head + "MAKE[0]=\"make; id\"\n", 3},
		{"another command", head + "MAKE[0]=\"sh build.sh\"\n", 3},
		{"shell code", head + "if true; then\n", 3},
		{"unknown variable", head + "MAKE[0]=\"make $HOME\"\n", 3},
		{"path in the module's name", head + "BUILT_MODULE_NAME[0]=../../etc/x\n", 1},
		{"location outside", head + "BUILT_MODULE_LOCATION[0]=../..\n", 3},
		{"unquoted words", head + "MAKE[0]=make all\n", 3},
		{"very long", head + "#" + strings.Repeat("x", 2*maxConf), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := ParseRecipe("dkms.conf", strings.NewReader(c.conf), dkmsVars)
			f := cause.Of(err)
			if f.State != cause.Fail || f.Fault != cause.FaultDriver {
				t.Fatalf("got %+v, %v", r, err)
			}
			if got := f.Evidence[1]; got.File != "dkms.conf" || got.Line != c.line {
				t.Errorf("evidence %v, want line %d", got, c.line)
			}
		})
	}
}

func FuzzParseRecipe(f *testing.F) {
	f.Add(falco)
	f.Add("MAKE[0]='make ${x} $'\nPACKAGE_NAME=\"")
	f.Fuzz(func(t *testing.T, conf string) {
		r, err := ParseRecipe("dkms.conf", strings.NewReader(conf), dkmsVars)
		if err != nil {
			return
		}
		for _, w := range append([]string{r.Name, r.Version, r.Module, r.Location}, r.Make...) {
			if strings.ContainsAny(w, "`$;|&<>()\n\"\\") || strings.Contains(w, "..") && w == r.Location {
				t.Errorf("%q came through", w)
			}
		}
	})
}
