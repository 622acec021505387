// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A load ends by its time, and makes no more opens than its rate allows, however slow the machine is.
func TestStrain(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	if err := Strain(dir, strings.NewReader(`{"rate": 2000, "millis": 50}`), &out); err != nil {
		t.Fatal(err)
	}
	var got Strained
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Opens < 1 || got.Seconds < 0.05 || float64(got.Opens) > 2000*got.Seconds {
		t.Errorf("%+v", got)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left behind (%v)", left, err)
	}
}

func TestStrainRefuses(t *testing.T) {
	for _, load := range []string{`{"rate": 0, "millis": 5}`, `{"rate": 2000000, "millis": 5}`, `{"rate": 5, "millis": 60000}`, `{"rate": 5}`, `[`} {
		if err := Strain(t.TempDir(), strings.NewReader(load), nil); err == nil {
			t.Errorf("%s is accepted", load)
		}
	}
	if _, err := (Load{Rate: maxRate, Millis: 1000}).make(func() unix.Errno { return unix.EMFILE }); err != unix.EMFILE {
		t.Errorf("a call that fails: %v", err)
	}
}
