// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// The kernels whose BTF is among the facts of the project. What they have does not follow from their
// releases: EL 8's 4.18 has ring buffers, and openEuler's 5.10 is not Debian's.
func TestRealBTF(t *testing.T) {
	shared := os.Getenv("MEWS_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "shared")
	}
	dir := filepath.Join(shared, "btf")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no BTF of real kernels: %v; MEWS_SHARED names the folder that holds btf/", err)
	}
	for _, c := range []struct {
		file                                            string
		openHow, openat2, ringbuf, rawTP, btfTask, loop bool
		helpers                                         int
		functions                                       bool
	}{
		{"4.19.90-2112.8.0.0131.oe1.x86_64", false, false, false, false, false, false, 83, true},
		{"rhel8_4.18_x86_64_2022-03", false, false, true, true, true, false, 162, false},
		{"5.4-era_x86_64", false, false, false, false, false, false, 110, false},
		{"5.8_x86_64", true, false, true, true, false, false, 135, false},
		{"5.10.0-60.18.0.50.oe2203.x86_64", true, true, true, true, false, false, 155, true},
		{"5.18_x86_64", true, true, true, true, true, true, 193, true},
		{"6.6_x86_64", true, true, true, true, true, true, 211, true},
		{"7.1_x86_64", true, true, true, true, true, true, 211, true}, // its header has 32 bytes
	} {
		t.Run(c.file, func(t *testing.T) {
			f, err := os.Open(filepath.Join(dir, c.file+".btf.gz"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			z, err := gzip.NewReader(f)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := io.ReadAll(z)
			if err != nil {
				t.Fatal(err)
			}
			b, err := ParseBTF(raw)
			if err != nil {
				t.Fatal(err)
			}
			for what, has := range map[string][2]bool{
				"struct open_how":              {len(b.OpenHow) == 3, c.openHow},
				"system call openat2":          {b.syscalls["openat2"], c.openat2},
				"BPF_MAP_TYPE_RINGBUF":         {b.HasMap("ringbuf"), c.ringbuf},
				"BPF_TRACE_RAW_TP":             {b.HasAttach("trace_raw_tp"), c.rawTP},
				"bpf_get_current_task_btf":     {b.HasHelper("get_current_task_btf"), c.btfTask},
				"bpf_loop":                     {b.HasHelper("loop"), c.loop},
				"functions":                    {b.Functions > 0, c.functions},
				"BPF_PROG_TYPE_TRACING":        {b.HasProg("tracing"), c.rawTP},
				"BPF_PROG_TYPE_RAW_TRACEPOINT": {b.HasProg("raw_tracepoint"), true},
			} {
				if has[0] != has[1] {
					t.Errorf("%s: %v, want %v", what, has[0], has[1])
				}
			}
			if len(b.Helpers) != c.helpers {
				t.Errorf("%d helpers, want %d", len(b.Helpers), c.helpers)
			}
			// As the raw Image of arm64 holds it: found again, whole.
			if got := btfAt(append(raw, 0xff)); len(got) != len(raw) {
				t.Errorf("among other bytes %d of %d were found", len(got), len(raw))
			}
		})
	}
}
