// SPDX-License-Identifier: Apache-2.0

package grid

import (
	"strings"
	"testing"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

func TestImpossible(t *testing.T) {
	cos := &Kernel{Policies: []kernels.Policy{{Variant: "kmod", Cause: cause.PolicyDenied, Reason: "LoadPin"}}}
	bare := &Kernel{Policies: []kernels.Policy{{Variant: "kmod", Cause: cause.HeadersMissing, Reason: "gone"}}}
	for _, c := range []struct {
		name    string
		k       *Kernel
		variant product.Variant
		version string
		holds   []product.Variant
		want    cause.Cause // "": nothing is known against it
		says    string
	}{
		{"kmod on COS", cos, product.KMod, "9.1.0+driver", nil, cause.PolicyDenied, "LoadPin"},
		{"legacy probe on COS", cos, product.EBPF, "9.1.0+driver", nil, "", ""},
		{"headers that are gone are an error, not a fact", bare, product.KMod, "0.23.2", nil, "", ""},
		{"the last legacy probe", &Kernel{}, product.EBPF, "9.1.0+driver", nil, "", ""},
		{"legacy probe of driver 10", &Kernel{}, product.EBPF, "10.0.0+driver", nil, cause.VariantGone, "9.1.0+driver is the last"},
		{"without the suffix", &Kernel{}, product.EBPF, "10.2.0", nil, cause.VariantGone, "10.2.0+driver has no legacy"},
		{"driver 10 as a module", &Kernel{}, product.KMod, "10.2.0+driver", nil, "", ""},
		{"Debian's package has the version of libs", &Kernel{}, product.EBPF, "0.23.2", nil, "", ""},
		{"libs of Falco 0.44", &Kernel{}, product.EBPF, "0.25.1", nil, cause.VariantGone, "10.2.0+driver (of libs 0.25.1)"},
		{"a libs that no Falco had", &Kernel{}, product.EBPF, "0.24.0", nil, "", ""},
		{"of which the source tells", &Kernel{}, product.EBPF, "0.24.0", []product.Variant{product.KMod}, cause.VariantGone, "holds no ebpf: it has kmod"},
		{"an empty source", &Kernel{}, product.KMod, "", []product.Variant{}, cause.VariantGone, "it has none"},
		{"a development version", &Kernel{}, product.EBPF, "0.1.1dev", nil, "", ""},
		{"a commit", &Kernel{}, product.EBPF, "b7eb0dd65226a8dc254d228c8d950d07bf3521d2", nil, "", ""},
		{"the last pdig", &Kernel{}, Ptrace, "6.0.1+driver", nil, "", ""},
		{"pdig after it", &Kernel{}, Ptrace, "7.0.0+driver", nil, cause.VariantGone, "udig"},
		{"pdig of libs 0.13", &Kernel{}, Ptrace, "0.13.4", nil, "", ""},
		{"pdig of libs 0.14", &Kernel{}, Ptrace, "0.14.2", nil, cause.VariantGone, "7.0.0+driver"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Impossible(c.k, &Driver{Name: "d", Variant: c.variant, Version: c.version, Variants: c.holds})
			if c.want == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			if err == nil {
				t.Fatal("not refused")
			}
			if err.State != cause.Unsupported || err.Cause != c.want || err.Fault == "" || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s %s %s: %v; want %s, %q", err.State, err.Cause, err.Fault, err, c.want, c.says)
			}
		})
	}
}

func FuzzDriverVersion(f *testing.F) {
	for _, s := range []string{"9.1.0+driver", "0.23.2", "0.1.1dev", "99999999999999999999.0.0", "1.2.3+driver+driver"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, ok := driverVersion(s); ok && (v[0] < 1 && !strings.HasSuffix(s, "+driver")) {
			t.Errorf("%q is driver %s", s, v)
		}
	})
}
