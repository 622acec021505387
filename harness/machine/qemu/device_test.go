// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mews-farm/mews/harness/machine"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestArgv(t *testing.T) {
	spec := machine.Spec{
		Name: "debian-6.1,kmod", Kernel: "/k/vmlinuz", Initrd: "/k/init.cpio", MemoryMiB: 640, CPUs: 1,
		Cmdline: []string{"mews.cell=1"},
	}
	many := spec
	many.CPUs = 2
	many.Disks = []machine.Disk{
		{Path: "/a,b/userland.img", Serial: "userland", ReadOnly: true},
		{Path: "/a/scratch.img", Serial: "scratch"},
	}
	dumped := spec
	dumped.Vmcore = true
	saved := many
	saved.CPUs, saved.Saved, saved.Disks = 1, true, many.Disks[:1]
	clone := saved
	clone.Saved, clone.From = false, &machine.Snapshot{}
	branch := clone
	branch.Saved = true
	counted := spec
	counted.Counted = true
	for name, tt := range map[string]struct {
		spec  machine.Spec
		accel Accel
	}{
		"tcg":            {spec, Accel{}},
		"tcg-2cpu-disks": {many, Accel{}},
		"kvm":            {spec, Accel{KVM: true}},
		"tcg-vmcore":     {dumped, Accel{}},
		"tcg-saved":      {saved, Accel{}},
		"tcg-clone":      {clone, Accel{}},
		"tcg-branch":     {branch, Accel{}},
		"tcg-counted":    {counted, Accel{}},
	} {
		t.Run(name, func(t *testing.T) {
			// One option with its value a line, so that a diff shows what changed.
			got := strings.ReplaceAll(strings.Join(argv(devices(tt.spec, tt.accel), tt.spec.Cmdline), "\n"), "\n-", "\x00-")
			got = strings.ReplaceAll(strings.ReplaceAll(got, "\n", " "), "\x00", "\n") + "\n"
			golden := filepath.Join("testdata", "argv-"+name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("argv changed (go test -update writes it anew):\n%s", d)
			}
		})
	}
}

// What would certify another kernel than the vendor's must not slip in with a good reason.
func TestKernelArgumentsKeepWhatIsTested(t *testing.T) {
	args := argv(devices(machine.Spec{CPUs: 1}, Accel{}), nil)
	cmdline := args[len(args)-1]
	for _, no := range []string{"mitigations=", "nokaslr", "audit=", "nowatchdog", "rcu_expedited", "apparmor=", "selinux=", "lsm="} {
		if strings.Contains(cmdline, no) {
			t.Errorf("%q in %q changes what is tested", no, cmdline)
		}
	}
}

func matches(t *testing.T, pattern, text string) bool {
	t.Helper()
	ok, err := regexp.MatchString(pattern, text)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}
