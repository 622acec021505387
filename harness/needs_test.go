// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

// needing adds a scenario that needs something to a catalogue.
func needing(t *testing.T, cat *scenarios.Catalog, needs string) {
	t.Helper()
	text := `
name: needy
rule: Read sensitive file untrusted
context: host
needs: ` + needs + `
attack: [{open: {syscall: openat, path: /etc/shadow}}]
twin: [{open: {syscall: openat, path: /etc/hostname}}]
expect: {priority: Warning, fields: {evt.type: openat}}
`
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "needy.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	own, err := scenarios.Dir(dir)
	if err := errors.Join(err, cat.Add(own)); err != nil {
		t.Fatal(err)
	}
}

// What a kernel lacks is known before anything starts, where its packages are held; what no kernel has is no plan.
func TestNeedsInThePlan(t *testing.T) {
	const with, without = "CONFIG_A=y\nCONFIG_FOO=m\n", "CONFIG_A=y\n# CONFIG_FOO is not set\n"
	for _, c := range []struct {
		name, needs string
		configs     map[string]string
		unable      string // releases on which the scenario is unsupported
		proof       string // of the first, or of the refused plan
		refused     bool
	}{
		{name: "a version", needs: `{kernel: ">= 6.12"}`, unable: "5.10.0-46-cloud-amd64 6.1.0-56-cloud-amd64", proof: "the kernel is 5.10.0-46-cloud-amd64, and the scenario needs >= 6.12"},
		{name: "no such kernel", needs: `{kernel: ">= 8.0"}`, refused: true, proof: "scenario needy cannot be done on debian:7.3.4+deb13-cloud-amd64: the kernel is"},
		{name: "an option, where its config is known", needs: `{config: [CONFIG_FOO]}`, configs: map[string]string{"6.1.0-56-cloud-amd64": without, "7.3.4+deb13-cloud-amd64": with},
			unable: "6.1.0-56-cloud-amd64", proof: "needs (.config:2: # CONFIG_FOO is not set)"},
		{name: "an option that is a module", needs: `{config: [CONFIG_FOO=y]}`, configs: map[string]string{"7.3.4+deb13-cloud-amd64": with}, unable: "7.3.4+deb13-cloud-amd64", proof: ".config:2: CONFIG_FOO=m"},
		{name: "an option that no kernel has", needs: `{config: [CONFIG_BAR]}`, configs: map[string]string{"5.10.0-46-cloud-amd64": with, "6.1.0-56-cloud-amd64": with, "6.12.117+deb13-cloud-amd64": with, "7.3.4+deb13-cloud-amd64": with},
			refused: true, proof: "6.12.117+deb13-cloud-amd64: the kernel lacks CONFIG_BAR, which the scenario needs (.config: there is no CONFIG_BAR)"},
		{name: "a kernel that nobody has seen might have it", needs: `{config: [CONFIG_BAR]}`, configs: map[string]string{"5.10.0-46-cloud-amd64": with}, unable: "5.10.0-46-cloud-amd64", proof: "CONFIG_BAR"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, cat := shippedMatrix(t)
			needing(t, cat, c.needs)
			x := testIndex()
			x.configs = c.configs
			p, err := MakePlan(t.Context(), m, Selection{Profile: "quick", Drivers: []string{"mews-modern"}, Beside: []string{"needy"}}, cat, x)
			if c.refused {
				if usage := (&UsageError{}); !errors.As(err, &usage) || !strings.Contains(err.Error(), c.proof) {
					t.Errorf("got %v, want a usage error with %q", err, c.proof)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var unable, proofs []string
			for _, cell := range p.Cells {
				if e := cell.Unable["needy"]; e != nil {
					unable = append(unable, cell.Resolved.Kernel.Release)
					proofs = append(proofs, e.Error())
					if e.State != cause.Unsupported || e.Cause != cause.KernelLacks || len(e.Evidence) != 1 {
						t.Errorf("finding %+v", e.Finding)
					}
				}
				if len(cell.Unable) > 1 {
					t.Errorf("%s: unable are %v", cell.ID, cell.Unable)
				}
			}
			if got := strings.Join(unable, " "); got != c.unable || !strings.Contains(proofs[0], c.proof) {
				t.Errorf("unable on %q by %q; want %q by %q", got, proofs, c.unable, c.proof)
			}
		})
	}
}

// What the plan could not know, the cell knows when the kernel's packages are there.
func TestNeedsWhenThePackagesAreThere(t *testing.T) {
	config, err := kernels.ParseConfig(strings.NewReader("CONFIG_A=y\n# CONFIG_FOO is not set\n"))
	if err != nil {
		t.Fatal(err)
	}
	needy := scenarios.Scenario{Name: "needy", Needs: scenarios.Needs{Config: []string{"CONFIG_A", "CONFIG_FOO"}}}
	earlier := &cause.Err{What: "no field"}
	planned := map[string]*cause.Err{"other": earlier}
	c := &cellRun{
		Cell: &Cell{Resolved: &kernels.Resolved{Kernel: kernels.Kernel{Distro: "debian", Release: "6.1.0-57"}},
			Scenarios: []scenarios.Scenario{{Name: "free"}, needy, {Name: "other", Needs: needy.Needs}}, Unable: planned},
		files: &kernels.Files{Config: config},
	}
	c.learn()
	if e := c.Unable["needy"]; len(c.Unable) != 2 || c.Unable["other"] != earlier || e == nil || e.Evidence[0].Text != "# CONFIG_FOO is not set" {
		t.Errorf("unable are %v", c.Unable)
	}
	if len(planned) != 1 {
		t.Error("another cell's plan was changed")
	}
	if able := c.able(); len(able) != 1 || able[0].Name != "free" {
		t.Errorf("done are %v", able)
	}
}

// Who traces every process keeps a scenario from tracing one: that is known before anything runs, and only of that driver.
func TestTracersAreUnableUnderATracer(t *testing.T) {
	m, cat := shippedMatrix(t)
	want := []string{"ptrace-anti-debug", "ptrace-attach"}
	for driver, unable := range map[string]int{"mews-ptrace": len(want), "mews-modern": 0} {
		p, err := MakePlan(t.Context(), m, Selection{Kernels: []string{"debian-6.1"}, Drivers: []string{driver}, Scenarios: append(want, "clear-log")}, cat, testIndex())
		if err != nil || len(p.Cells) != 1 || p.Cells[0].Err != nil {
			t.Fatalf("%v: %+v", err, p)
		}
		c := p.Cells[0]
		if len(c.Unable) != unable {
			t.Errorf("%s: unable are %v", driver, c.Unable)
		}
		for name, e := range c.Unable {
			if !slices.Contains(want, name) || e.Cause != cause.AlreadyTraced || e.Fault != cause.FaultDriver || e.Check() != nil {
				t.Errorf("%s: %s is %+v", driver, name, e)
			}
		}
	}
}
