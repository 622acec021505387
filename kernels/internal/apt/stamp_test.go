// SPDX-License-Identifier: Apache-2.0

package apt

import (
	"testing"

	"github.com/mews-farm/mews/kernels/internal/apttest"
	"github.com/mews-farm/mews/results/cause"
)

// A stamp is of what the suites have, whoever asks; and no index is read for it.
func TestStamp(t *testing.T) {
	r := apttest.New(t)
	r.Suite("sid", tool)
	r.Suite("forky", tool)
	stamp := func(s *Source, suites ...string) string {
		t.Helper()
		text, err := s.Stamp(t.Context(), suites)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	first, _ := source(r, nil)
	before := stamp(first, "sid")
	if _, err := first.o.Archive.Ref(first.ref("sid")); err == nil {
		t.Error("an index that nobody read is archived")
	}
	if _, err := fetchTool(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	second, _ := source(r, nil)
	offline, _ := source(r, func(o *Options) { o.Archive, o.Offline, o.Transport = first.o.Archive, true, noNetwork{} })
	for who, got := range map[string]string{"once more": stamp(first, "sid"), "another": stamp(second, "sid"), "offline": stamp(offline, "sid")} {
		if got != before {
			t.Errorf("%s: %s, not %s", who, got, before)
		}
	}
	if both := stamp(second, "sid", "forky"); both == before || stamp(second, "forky") == before {
		t.Error("another set of suites has the same stamp")
	}
	r.Suite("sid", tool, apttest.P("more", "1", ""))
	third, _ := source(r, nil)
	if stamp(third, "sid") == before {
		t.Error("another index has the same stamp")
	}
	apttest.Flip(r.Files[inRelease])
	bad, _ := source(r, nil)
	if _, err := bad.Stamp(t.Context(), []string{"sid"}); cause.Of(err).Cause != cause.SignatureInvalid {
		t.Errorf("a stamp of what nobody signed: %v", err)
	}
	if _, err := bad.Stamp(t.Context(), []string{"../x"}); err == nil {
		t.Error("a stamp of no suite")
	}
}
