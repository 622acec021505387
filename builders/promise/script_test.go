// SPDX-License-Identifier: Apache-2.0

package promise

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

const two = `# CONFIG_CC_HAS_NOTHING is not set
CONFIG_CC_VERSION_TEXT="gcc-10 (Debian 10.2.1-6) 10.2.1 20210110"
CONFIG_AS_IS_GNU=y
CONFIG_LD_IS_BFD=y
CONFIG_AS_VERSION=23502
CONFIG_ASM_MODVERSIONS=y
CONFIG_LDISC_AUTOLOAD=y
CONFIG_CC_HAS_INT128=y
CONFIG_LD_ORPHAN_WARN=y
CONFIG_CC_HAS_SLS=y
CONFIG_CC_HAS_KASAN_GENERIC=y
CONFIG_CC_HAS_ASM_INLINE=y
CONFIG_CC_HAS_ASM_INLINE=y
CONFIG_MITIGATION_SLS=y
`

func TestTrialsOfConfig(t *testing.T) {
	for _, c := range []struct{ name, text, try, untried string }{
		{"what is known", two, "CC_HAS_INT128 LD_ORPHAN_WARN CC_HAS_SLS CC_HAS_KASAN_GENERIC CC_HAS_ASM_INLINE", ""},
		{"of versions alone", "CONFIG_CC_HAS_SLS=y\nCONFIG_LD_CAN_USE_KEEP_IN_OVERLAY=y\n", "CC_HAS_SLS", "LD_CAN_USE_KEEP_IN_OVERLAY"},
		{"a promise of the future", "CONFIG_CC_HAS_TELEPATHY=y\n", "", "CC_HAS_TELEPATHY"},
		{"a module is no promise", "CONFIG_AS_AVX512=m\n", "", ""},
		{"not a name", "CONFIG_AS_$(id)=y\nCONFIG_AS_../x=y\n", "", ""},
		{"empty", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := readConfig(strings.NewReader(c.text))
			if err != nil {
				t.Fatal(err)
			}
			trials, untried := cfg.trials()
			var try []string
			for _, s := range trials {
				try = append(try, s.Symbol)
			}
			if got := strings.Join(try, " "); got != c.try {
				t.Errorf("tries %s, want %s", got, c.try)
			}
			if got := strings.Join(untried, " "); got != c.untried {
				t.Errorf("leaves %s, want %s", got, c.untried)
			}
		})
	}
}

func TestUses(t *testing.T) {
	for _, c := range []struct {
		name, text, symbol string
		want               bool
	}{
		{"always", "CONFIG_X=y\n", "CC_HAS_ASM_INLINE", true},
		{"a flag that nothing uses", "CONFIG_CC_HAS_SLS=y\n", "CC_HAS_SLS", false},
		{"one that is used", "CONFIG_MITIGATION_SLS=y\n", "CC_HAS_SLS", true},
		{"the same under its older name", "CONFIG_SLS=y\n", "CC_HAS_SLS", true},
		{"the kernel's own link", "CONFIG_LD_ORPHAN_WARN=y\n", "LD_ORPHAN_WARN", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := readConfig(strings.NewReader(c.text))
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range table {
				if one.Symbol == c.symbol && cfg.uses(one) != c.want {
					t.Errorf("%s: %v", c.symbol, !c.want)
				}
			}
		})
	}
}

func TestParse(t *testing.T) {
	asked := []trial{{Symbol: "CC_HAS_A"}, {Symbol: "CC_HAS_B"}}
	for _, c := range []struct{ name, said, want string }{
		{"both", "kept CC_HAS_A\nbroken CC_HAS_B\n", "map[CC_HAS_A:true CC_HAS_B:false]"},
		{"another order, no end of line", "broken CC_HAS_B\nkept CC_HAS_A", "map[CC_HAS_A:true CC_HAS_B:false]"},
		{"one lacks", "kept CC_HAS_A\n", "the trial of CC_HAS_B printed nothing"},
		{"nothing", "", "the trial of CC_HAS_A printed nothing"},
		{"twice", "broken CC_HAS_A\nkept CC_HAS_A\nkept CC_HAS_B\n", `the trials printed "kept CC_HAS_A"`},
		{"not asked for", "kept CC_HAS_A\nkept CC_HAS_B\nkept CC_HAS_C\n", `the trials printed "kept CC_HAS_C"`},
		{"noise", "try.sh: 5: cannot fork\n", `the trials printed "try.sh: 5: cannot fork"`},
		{"another verdict", "perhaps CC_HAS_A\n", `the trials printed "perhaps CC_HAS_A"`},
		{"an empty line", "\n", `the trials printed ""`},
	} {
		t.Run(c.name, func(t *testing.T) {
			kept, err := parse(c.said, asked)
			got := fmt.Sprint(kept)
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestScript holds what is run, all trials in one.
func TestScript(t *testing.T) {
	var b strings.Builder
	for _, s := range append(table, sanity, linkerSanity) {
		fmt.Fprintf(&b, "== %s: %s\n%s", s.source(), s.Feature, s.text())
	}
	b.WriteString("== " + scriptName + "\n" + script(append(table, sanity, linkerSanity)))
	golden := filepath.Join("testdata", "trials.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("trials differ from %s: -update writes it anew\n%s", golden, b.String())
	}
}

func TestTrialsAreNamedOnce(t *testing.T) {
	seen := map[string]bool{sanity.Symbol: true, linkerSanity.Symbol: true}
	for _, s := range table {
		if seen[s.Symbol] || !promised.MatchString(s.Symbol) || s.Feature == "" || s.C != "" && s.Asm != "" || s.C+s.Asm == "" && len(s.Flags) == 0 {
			t.Errorf("%+v", s)
		}
		seen[s.Symbol] = true
	}
}

func FuzzConfig(f *testing.F) {
	f.Add(two)
	f.Add("CONFIG_=y\n=y\nCONFIG_AS_=y\nCONFIG_AS_X=y=y")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := readConfig(strings.NewReader(text))
		if err != nil {
			return
		}
		trials, untried := c.trials()
		if len(trials)+len(untried) != len(c.promises) {
			t.Errorf("%d and %d of %d promises", len(trials), len(untried), len(c.promises))
		}
		for _, p := range c.promises {
			if !promised.MatchString(p) || c.lines[p] == 0 {
				t.Errorf("%q came out", p)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("kept CC_HAS_A\nbroken CC_HAS_B\n")
	f.Add("kept CC_HAS_A\r\n\x00")
	asked := []trial{{Symbol: "CC_HAS_A"}, {Symbol: "CC_HAS_B"}}
	f.Fuzz(func(t *testing.T, said string) {
		if kept, err := parse(said, asked); err == nil && len(kept) != len(asked) {
			t.Errorf("%v of %q", kept, said)
		}
	})
}
