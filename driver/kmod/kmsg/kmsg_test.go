// SPDX-License-Identifier: Apache-2.0

package kmsg_test

import (
	"testing"
	"time"

	"github.com/mews-farm/mews/driver/kmod/kmsg"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in   string
		want kmsg.Record
		bad  bool
	}{
		{in: "6,339,5140900,-;NET: Registered protocol family 10\n", want: kmsg.Record{Sequence: 339, Level: 6, Time: 5140900 * time.Microsecond, Text: "NET: Registered protocol family 10"}},
		// A facility is in the priority's upper bits; continuation lines carry properties; a ';' may be in the text.
		{in: "30,340,5690716,c,caller=T1;udevd[80]: starting; version 181\n SUBSYSTEM=acpi\n", want: kmsg.Record{Sequence: 340, Level: 6, Time: 5690716 * time.Microsecond, Text: "udevd[80]: starting; version 181"}},
		{in: "4,1,2,-;", want: kmsg.Record{Sequence: 1, Level: 4, Time: 2 * time.Microsecond}},
		{in: "6,339,5140900,- no separator", bad: true},
		{in: "6,339;short", bad: true},
		{in: "x,339,1,-;no number", bad: true},
		{in: "6,-1,1,-;negative", bad: true},
		{in: "", bad: true},
	} {
		got, err := kmsg.Parse(c.in)
		if (err != nil) != c.bad || got != c.want {
			t.Errorf("Parse(%q) = %+v, %v, want %+v, error %v", c.in, got, err, c.want, c.bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("6,339,5140900,-;NET: Registered protocol family 10\n")
	f.Add("30,340,5690716,c,caller=T1;udevd[80]: starting\n SUBSYSTEM=acpi\n")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := kmsg.Parse(s)
		if err == nil && (r.Level < 0 || r.Level > 7) {
			t.Errorf("level %d", r.Level)
		}
	})
}
