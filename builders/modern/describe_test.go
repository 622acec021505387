// SPDX-License-Identifier: Apache-2.0

package modern

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// skeletonOf writes data as bpftool does.
func skeletonOf(data []byte) []byte {
	var b strings.Builder
	b.WriteString("static const char data[] = \"\\\n")
	for i, c := range data {
		if c == 0 {
			b.WriteString(`\0`)
		} else {
			fmt.Fprintf(&b, `\x%02x`, c)
		}
		if i%16 == 15 {
			b.WriteString("\\\n")
		}
	}
	return []byte(b.String() + "\";\n")
}

func TestDescribe(t *testing.T) {
	data := objectOf(t, elf.EM_BPF, good(), "probe_api_ver", "probe_schema_var")
	other := objectOf(t, elf.EM_BPF, good(), "probe_api_ver")
	for _, c := range []struct {
		name             string
		object, skeleton []byte
		want             string // of the evidence; "" when all is well
	}{
		{"what bpftool made", data, skeletonOf(data), ""},
		{"a skeleton of another object", data, skeletonOf(other), "that are not those of bpf_probe.o"},
		{"an empty skeleton", data, nil, "holds no object"},
		{"a module", objectOf(t, elf.EM_X86_64, good()), skeletonOf(data), "not for eBPF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &build{Request: &Request{Out: t.TempDir()}}
			a := &product.Artifact{Path: filepath.Join(b.Out, ObjectName)}
			for file, text := range map[string][]byte{a.Path: c.object, filepath.Join(b.Out, SkeletonName): c.skeleton} {
				if err := os.WriteFile(file, text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			err := b.describe(a)
			if c.want != "" {
				if f := cause.Of(err); f.Cause != cause.ToolchainBroken || !strings.Contains(fmt.Sprint(f.Evidence), c.want) {
					t.Errorf("%+v", err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%+v", err)
			}
			if a.SHA256 != archive.DigestOf(data) || a.Size != int64(len(data)) || a.APIVersion != "8.0.3" || a.SchemaVersion != "3.3.1" || a.Machine != "EM_BPF" {
				t.Errorf("%+v", a)
			}
		})
	}
}
