// SPDX-License-Identifier: Apache-2.0

package kmod

import (
	"reflect"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/kmod/kmsg"
	"github.com/mews-farm/mews/results/cause"
)

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   error
		lines []string
		want  cause.Finding
	}{
		{"vermagic", unix.ENOEXEC, []string{"scap: version magic '6.1.0-1 SMP mod_unload ' should be '6.1.0-56 SMP mod_unload '"},
			cause.Finding{State: cause.Fail, Cause: cause.VermagicMismatch, Fault: cause.FaultDriver}},
		{"unknown symbol", unix.ENOENT, []string{"scap: Unknown symbol class_create (err -2)", "scap: Unknown symbol fd_is_open (err -2)"},
			cause.Finding{State: cause.Fail, Cause: cause.UnknownSymbol, Fault: cause.FaultDriver}},
		// A wrong checksum is followed by "Unknown symbol": the first line is the reason.
		{"checksum", unix.EINVAL, []string{"scap: disagrees about version of symbol module_layout", "scap: Unknown symbol module_layout (err -22)"},
			cause.Finding{State: cause.Fail, Cause: cause.SymbolCRCMismatch, Fault: cause.FaultDriver}},
		{"unsigned", unix.EKEYREJECTED, []string{"Loading of unsigned module is rejected"},
			cause.Finding{State: cause.Fail, Cause: cause.ModuleSignature, Fault: cause.FaultKernel}},
		{"key", unix.ENOKEY, nil, cause.Finding{State: cause.Fail, Cause: cause.ModuleSignature, Fault: cause.FaultKernel}},
		{"lockdown", unix.EPERM, []string{"Lockdown: mews-agent: unsigned module loading is restricted; see man kernel_lockdown.7"},
			cause.Finding{State: cause.Fail, Cause: cause.PolicyDenied, Fault: cause.FaultKernel}},
		{"policy", unix.EPERM, nil, cause.Finding{State: cause.Fail, Cause: cause.PolicyDenied, Fault: cause.FaultKernel}},
		{"twice", unix.EEXIST, nil, cause.Finding{State: cause.Error, Cause: cause.Internal, Fault: cause.FaultHarness}},
		{"no module", unix.ENOEXEC, nil, cause.Finding{State: cause.Error, Cause: cause.Internal, Fault: cause.FaultHarness}},
		{"init failed", unix.ENOMEM, []string{"scap: can't allocate devices"}, cause.Finding{State: cause.Fail, Cause: cause.ModuleInitFailed, Fault: cause.FaultDriver}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var lines []kmsg.Record
			for _, l := range c.lines {
				lines = append(lines, kmsg.Record{Text: l})
			}
			got := cause.Of(classify("scap", c.err, lines))
			if got.State != c.want.State || got.Cause != c.want.Cause || got.Fault != c.want.Fault {
				t.Errorf("got %s/%s/%s, want %s/%s/%s", got.State, got.Cause, got.Fault, c.want.State, c.want.Cause, c.want.Fault)
			}
			if len(c.lines) > 0 && (len(got.Evidence) < 2 || got.Evidence[1].Text != c.lines[0]) {
				t.Errorf("evidence %v does not start with %q", got.Evidence, c.lines[0])
			}
		})
	}
}

func TestParseModules(t *testing.T) {
	got := parseModules("scap 966656 1 - Live 0x0 (OE)\nvirtio 20480 2 virtio_pci,virtio_blk, Live 0x0\nbroken\nnew 1 1 - Loading 0x0\n")
	want := []entry{
		{name: "scap", refs: "1", state: "Live"},
		{name: "virtio", refs: "2", users: []string{"virtio_pci", "virtio_blk"}, state: "Live"},
		{name: "new", refs: "1", state: "Loading"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestParseCPUs(t *testing.T) {
	for in, want := range map[string][]int{"0": {0}, "0-2,4": {0, 1, 2, 4}, "": nil, "2-1": nil, "x": nil, "0-99999": nil} {
		got, err := parseCPUs(in)
		if !reflect.DeepEqual(got, want) && want != nil || (err == nil) != (want != nil) {
			t.Errorf("parseCPUs(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
}

func TestUnpack(t *testing.T) {
	if got := unpack(8<<44 | 0<<24 | 4); got != "8.0.4" {
		t.Errorf("API of 0.23.2 = %s", got)
	}
	if got := unpack(1<<63 | 4<<44 | 1<<24); got != "4.1.0" {
		t.Errorf("schema of 0.23.2 = %s", got)
	}
}
