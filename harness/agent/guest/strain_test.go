// SPDX-License-Identifier: Apache-2.0

package guest

import "testing"

func TestParseStat(t *testing.T) {
	const line = "77 (sys) dig (x) S 1 77 77 0 -1 4194560 1000 0 0 0 250 50 0 0 20 0 3 0 120 734003200 9000 18446744073709551615 1 1 0"
	got, ok := parseStat(line)
	if !ok || got != (processStat{parent: 1, ticks: 300, pages: 9000}) {
		t.Errorf("%+v %v", got, ok)
	}
	for _, bad := range []string{"", "77 (a) S 1", "77 a S 1 77", line[:60]} {
		if got, ok := parseStat(bad); ok {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}
