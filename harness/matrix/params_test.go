// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"strings"
	"testing"
)

func TestParams(t *testing.T) {
	for _, c := range []struct{ old, params, want string }{
		{"    consumer: sysdig\n", "[max_consumers=9, verbose=1]", ""},
		{"    consumer: sysdig\n", `["max_consumers=9 verbose=1"]`, "is not name=value"},
		{"    consumer: sysdig\n", "[verbose]", "is not name=value"},
		{"    source: {builtin: modern}\n", "[verbose=1]", "mews-modern: only a kernel module has parameters, not variant modern_ebpf"},
	} {
		text := strings.Replace(shipped(t), c.old, c.old+"    params: "+c.params+"\n", 1)
		m, err := Parse("matrix.yaml", []byte(text), voc)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.params, err)
		case c.want == "":
			if d, _ := m.Drivers.Get("falco-kmod"); len(d.Params) != 2 || d.Params[0].V != "max_consumers=9" {
				t.Errorf("%+v", d.Params)
			}
		case err == nil || !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: got %v, want %s", c.params, err, c.want)
		}
	}
}
