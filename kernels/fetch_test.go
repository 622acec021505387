// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/mews-farm/mews/results/cause"
)

// fetcher has every package but those whose names say otherwise.
type fetcher struct{}

var errDown = errors.New("no answer")

func (fetcher) Fetch(_ context.Context, p Package) (string, error) {
	switch {
	case strings.HasPrefix(p.Name, "gone"):
		return "", cause.Errorf(cause.PackageMissing, cause.FaultInfra, "the mirror does not hold %s", p.Name).With(cause.Evidence{Text: p.Name})
	case strings.HasPrefix(p.Name, "down"):
		return "", errDown
	}
	return "/" + p.Name, nil
}

// What one error tells of several packages is the same whichever was asked for first.
func TestFetchAll(t *testing.T) {
	named := func(names string) (out []Package) {
		for _, n := range strings.Fields(names) {
			out = append(out, Package{Name: n})
		}
		return out
	}
	if got, err := FetchAll(t.Context(), fetcher{}, named("a b c d e f")); err != nil || !slices.Equal(got, strings.Fields("/a /b /c /d /e /f")) {
		t.Errorf("%q, %v", got, err)
	}
	for range 20 {
		_, err := FetchAll(t.Context(), fetcher{}, named("a gone-1 b gone-2 gone-3"))
		f := cause.Of(err)
		if f.Cause != cause.PackageMissing || err.Error() != "the mirror does not hold gone-1" || len(f.Evidence) != 4 || f.Evidence[2].Text != "gone-2" || f.Evidence[3].Text != "gone-3" {
			t.Fatalf("%v: %+v", err, f)
		}
		if _, err := FetchAll(t.Context(), fetcher{}, named("gone-1 down gone-2")); !errors.Is(err, errDown) {
			t.Fatalf("of a mirror that is half down: %v", err)
		}
	}
}
