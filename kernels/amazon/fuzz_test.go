// SPDX-License-Identifier: Apache-2.0

package amazon

import (
	"slices"
	"testing"
)

func FuzzReleasemd(f *testing.F) {
	f.Add([]byte(`<root><releases><release version="2023.0.20230315"><update><releases><release version="2023.1.20230628"/></releases></update></release></releases></root>`))
	f.Add([]byte(`<root><releases><release version="../x"/></releases></root>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		releases, err := parseReleasemd(text)
		if err == nil && len(releases) == 0 {
			t.Fatal("neither releases nor an error")
		}
		for _, r := range releases {
			if !releasever.MatchString(r) {
				t.Fatalf("made %q part of a URL", r)
			}
		}
		if !slices.IsSortedFunc(releases, compare) {
			t.Fatalf("not in order: %q", releases)
		}
	})
}
