// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mews-farm/mews/harness/matrix"
)

func TestTypes(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	packed := func(data []byte) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write(data)
		z.Close()
		return b.Bytes()
	}
	for _, tt := range []struct{ file, want, err string }{
		{write("plain.btf", []byte("types")), "types", ""},
		{write("packed.btf.gz", packed([]byte("types"))), "types", ""},
		{write("plain.btf.gz", []byte("types")), "", "plain.btf.gz"},
		{write("cut.btf.gz", packed([]byte("types"))[:12]), "", "cut.btf.gz"},
		{write("bomb.btf.gz", packed(make([]byte, maxTypes+1))), "", "more than"},
		{filepath.Join(dir, "none"), "", "no such file"},
	} {
		r, err := types(tt.file)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: error %v, want %q", filepath.Base(tt.file), err, tt.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(tt.file), err)
			continue
		}
		got, _ := io.ReadAll(r)
		if string(got) != tt.want {
			t.Errorf("%s: %q", filepath.Base(tt.file), got)
		}
		r.Close()
	}
	if r, err := types(""); r != nil || err != nil {
		t.Errorf("no file: %v, %v", r, err)
	}
	c := &Cell{Kernel: matrix.Kernel{BTF: matrix.Str{V: "kernel's"}}}
	if got := c.override(); got != "kernel's" {
		t.Errorf("the kernel's types are %q", got)
	}
	if c.Driver.BTF.V = "driver's"; c.override() != "driver's" {
		t.Error("the driver's own types do not count")
	}
}
