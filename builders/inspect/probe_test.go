// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"debug/elf"
	"strings"
	"testing"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

var goodProbe = []section{
	{name: "kernel_version", typ: elf.SHT_PROGBITS, data: []byte("6.1.0-56-cloud-amd64\x00")},
	{name: "license", typ: elf.SHT_PROGBITS, data: []byte("Dual MIT/GPL\x00")},
	{name: "probe_version", typ: elf.SHT_PROGBITS, data: []byte("0.23.2\x00")},
	{name: "api_version", typ: elf.SHT_PROGBITS, data: []byte{4, 0, 0, 0, 0, 0x80, 0, 0}},
	{name: "schema_version", typ: elf.SHT_PROGBITS, data: []byte{0, 0, 0, 1, 0, 0x40, 0, 0}},
}

// probe makes an eBPF object, with the section of a name replaced or left out.
func probe(replace ...section) []byte {
	var all []section
	for _, s := range goodProbe {
		for _, r := range replace {
			if r.name == s.name {
				s = r
			}
		}
		if s.data != nil {
			all = append(all, s)
		}
	}
	return module(elf.ET_REL, elf.EM_BPF, "x", all...)
}

func TestParseProbe(t *testing.T) {
	p, err := ParseProbe("probe.o", probe())
	if err != nil {
		t.Fatal(err)
	}
	if p.Release != "6.1.0-56-cloud-amd64" || p.License != "Dual MIT/GPL" || p.Version != "0.23.2" || p.APIVersion != "8.0.4" || p.SchemaVersion != "4.1.0" {
		t.Errorf("got %+v", p)
	}
	p.Programs = []string{"raw_tracepoint/x"}
	if err := p.Check(kernels.Kernel{Release: "6.1.0-56-cloud-amd64"}); err != nil {
		t.Error(err)
	}
	for what, spoil := range map[string]func(p *Probe, k *kernels.Kernel){
		"release": func(_ *Probe, k *kernels.Kernel) { k.Release = "6.1.0-57-cloud-amd64" },
		"machine": func(p *Probe, _ *kernels.Kernel) { p.Machine = elf.EM_X86_64 },
		"empty":   func(p *Probe, _ *kernels.Kernel) { p.Programs = nil },
	} {
		q, k := *p, kernels.Kernel{Release: "6.1.0-56-cloud-amd64"}
		spoil(&q, &k)
		if f := cause.Of(q.Check(k)); f.State != cause.Fail {
			t.Errorf("%s: %+v", what, f)
		}
	}
}

func TestParseProbeRefuses(t *testing.T) {
	for want, data := range map[string][]byte{
		"bad magic":                            []byte("nothing of an object file"),
		"no section kernel_version":            probe(section{name: "kernel_version"}),
		"section api_version has 4 bytes":      probe(section{name: "api_version", typ: elf.SHT_PROGBITS, data: []byte{1, 2, 3, 4}}),
		"section license has 300 bytes":        probe(section{name: "license", typ: elf.SHT_PROGBITS, data: make([]byte, 300)}),
		`section kernel_version holds "6\x1b"`: probe(section{name: "kernel_version", typ: elf.SHT_PROGBITS, data: []byte("6\x1b")}),
	} {
		_, err := ParseProbe("probe.o", data)
		f := cause.Of(err)
		if f.Cause != cause.ToolchainBroken || !strings.Contains(f.Evidence[1].Text, want) {
			t.Errorf("want %q, got %+v", want, f)
		}
	}
}

func FuzzParseProbe(f *testing.F) {
	f.Add(probe())
	f.Fuzz(func(_ *testing.T, data []byte) {
		if p, err := ParseProbe("probe.o", data); err == nil {
			_ = p.Check(kernels.Kernel{Release: "6.1.0"})
		}
	})
}
