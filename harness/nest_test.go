// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/snapshot"
	"github.com/mews-farm/mews/kernels/archive"
)

// bootOf makes a booted kernel of two files.
func bootOf(t *testing.T, key string) *booted {
	t.Helper()
	file := func() *os.File {
		f, err := os.Create(filepath.Join(t.TempDir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(key); err != nil {
			t.Fatal(err)
		}
		return f
	}
	return &booted{Snapshot: &machine.Snapshot{Key: key, Memory: file(), State: file()}, label: snapshot.Label{Key: key}, console: []byte("said\n")}
}

func TestAKernelIsBootedOnce(t *testing.T) {
	shelf, err := archive.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	n := newNest(shelf, func(text string) { t.Error(text) })
	var mu sync.Mutex
	boots := 0
	boot := func() (*booted, error) {
		mu.Lock()
		defer mu.Unlock()
		boots++
		return bootOf(t, "a"), nil
	}
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if _, err := n.get(t.Context(), "a", boot); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n.close()
	later := newNest(shelf, func(text string) { t.Error(text) })
	defer later.close()
	b, err := later.get(t.Context(), "a", boot)
	if err != nil || boots != 1 || !b.kept || string(b.console) != "said\n" {
		t.Errorf("%d boots, %+v, %v", boots, b, err)
	}
}

func TestABootThatFailsIsNobodyElses(t *testing.T) {
	n := newNest(nil, func(text string) { t.Error(text) })
	defer n.close()
	failed := errors.New("panic")
	if _, err := n.get(t.Context(), "a", func() (*booted, error) { return nil, failed }); !errors.Is(err, failed) {
		t.Fatal(err)
	}
	if _, err := n.get(t.Context(), "a", func() (*booted, error) { return bootOf(t, "a"), nil }); err != nil {
		t.Errorf("the next cell has the first one's failure: %v", err)
	}
}

func TestWhatIsTornOnTheShelfIsBootedAnew(t *testing.T) {
	for name, tear := range map[string]func(dir string) error{
		"cut":     func(dir string) error { return os.Truncate(filepath.Join(dir, "memory"), 0) },
		"flipped": func(dir string) error { return os.WriteFile(filepath.Join(dir, "state"), []byte("b"), 0o600) },
		"another": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "snapshot.json"), []byte(`{"key":"b"}`), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			shelf, err := archive.New(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			boots := 0
			boot := func() (*booted, error) { boots++; return bootOf(t, "a"), nil }
			var warned []string
			for range 3 { // it is torn between the first and the second; the third has the second's
				n := newNest(shelf, func(text string) { warned = append(warned, text) })
				if _, err := n.get(t.Context(), "a", boot); err != nil {
					t.Fatal(err)
				}
				n.close()
				if boots == 1 {
					dir, err := shelf.Made(shelved("a"))
					if err != nil {
						t.Fatal(err)
					}
					if err := tear(dir); err != nil {
						t.Fatal(err)
					}
				}
				if boots == 2 {
					boot = func() (*booted, error) { return nil, fmt.Errorf("booted a third time") }
				}
			}
			if boots != 2 || len(warned) != 1 || !strings.Contains(warned[0], "booted again") {
				t.Errorf("%d boots, warned of %q", boots, warned)
			}
		})
	}
}

// One that is whole and does not come to life goes, from the shelf too; one that was just made is not made again for ever.
func TestDiscard(t *testing.T) {
	shelf, err := archive.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	boots := 0
	boot := func() (*booted, error) { boots++; return bootOf(t, "a"), nil }
	first := newNest(shelf, func(text string) { t.Error(text) })
	if _, err := first.get(t.Context(), "a", boot); err != nil {
		t.Fatal(err)
	}
	first.close()
	n := newNest(shelf, func(text string) { t.Error(text) })
	defer n.close()
	old, err := n.get(t.Context(), "a", boot)
	if err != nil || boots != 1 {
		t.Fatal(boots, err)
	}
	if !n.discard(old) {
		t.Error("one of an earlier run is not made anew")
	}
	if !n.discard(old) {
		t.Error("who comes second is kept from the new one")
	}
	fresh, err := n.get(t.Context(), "a", boot)
	if err != nil || boots != 2 || fresh == old {
		t.Fatalf("%d boots, %v", boots, err)
	}
	if n.discard(fresh) {
		t.Error("one that was just made is to be made anew")
	}
}
