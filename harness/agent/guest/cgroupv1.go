// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/results/cause"
)

// hierarchies are those of cgroups of version 1 that a container gets: what every kernel has that has them at all. memory and
// cpuset are not among them: from 6.11 and 6.12 on a kernel may be without their files of version 1 (CONFIG_MEMCG_V1,
// CONFIG_CPUSETS_V1), and memory cannot be taken from the default hierarchy as long as a page of a cgroup that is gone is
// charged.
var hierarchies = []string{"pids", "devices", "freezer", "cpu,cpuacct"}

// legacyCgroups are cgroups of version 1 over those of version 2, as a container engine finds them on an older system.
type legacyCgroups struct {
	enabled string   // what the default hierarchy handed down
	mounted []string // the last first
}

// giveBack is how long a kernel may take to free cgroups and give controllers back: RCU grace periods, in an emulated guest.
const giveBack = 20 * time.Second

// mountLegacyCgroups puts a guest's cgroups of version 1 in the place of those of version 2. A kernel that has them not is
// unsupported. What was done is to be undone by [legacyCgroups.unmount] also if this failed.
func mountLegacyCgroups(ctx context.Context) (*legacyCgroups, error) {
	l := &legacyCgroups{}
	enabled, err := os.ReadFile(filepath.Join(cgroupRoot, "cgroup.subtree_control"))
	if err != nil {
		return l, ours("read what the cgroups of version 2 hand down", err)
	}
	l.enabled = string(enabled)
	// A controller that is handed down belongs to its children's cgroups, and cannot be another hierarchy's.
	if err := l.handDown("-"); err != nil {
		return l, ours("take the controllers from the cgroups of version 2", err)
	}
	if err := l.mount(ctx, "tmpfs", cgroupRoot, "tmpfs", "mode=0755,size=1m"); err != nil {
		return l, err
	}
	for _, controllers := range hierarchies {
		dir := filepath.Join(cgroupRoot, controllers)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return l, ours("make room for cgroups of version 1", err)
		}
		if err := l.mount(ctx, "cgroup", dir, "cgroup", controllers); err != nil {
			return l, err
		}
	}
	return l, nil
}

// mount mounts one of them. Where the controller was another's until now, the kernel says EBUSY until the last of that one's
// cgroups is freed, which nothing tells of.
func (l *legacyCgroups) mount(ctx context.Context, source, dir, fstype, options string) error {
	err := eventually(ctx, func() error {
		return unix.Mount(source, dir, fstype, unix.MS_NOSUID|unix.MS_NOEXEC|unix.MS_NODEV, options)
	}, unix.EBUSY)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) {
		return &cause.Err{
			Finding: cause.Finding{State: cause.Unsupported, Cause: cause.KernelLacks, Fault: cause.FaultKernel,
				Evidence: cause.Text(fmt.Sprintf("mount -t %s -o %s: %v", fstype, options, err))},
			What: "this kernel has no cgroups of version 1 with " + options,
		}
	}
	if err != nil {
		return ours("mount cgroups of version 1 with "+options, err)
	}
	l.mounted = slices.Insert(l.mounted, 0, dir)
	return nil
}

// remove removes a container's cgroup from each hierarchy.
func (l *legacyCgroups) remove(name string) error {
	var errs []error
	for _, dir := range l.mounted {
		if dir != cgroupRoot {
			errs = append(errs, removeCgroup(dir, name))
		}
	}
	return errors.Join(errs...)
}

// unmount puts the cgroups of version 2 back. A hierarchy whose cgroups were removed, but are not freed yet, would outlive its
// unmount with its controllers, for good (cgroup_kill_sb in kernel/cgroup/cgroup.c); one without gives them back a while after.
func (l *legacyCgroups) unmount(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, giveBack)
	defer cancel()
	if err := eventually(ctx, l.empty, unix.EBUSY); err != nil {
		return ours("wait for the end of cgroups of version 1", err)
	}
	for _, dir := range l.mounted {
		if err := unix.Unmount(dir, 0); err != nil {
			return ours("unmount cgroups of version 1 from "+dir, err)
		}
	}
	if err := eventually(ctx, func() error { return l.handDown("+") }, unix.ENOENT); err != nil {
		return ours("give the controllers back to the cgroups of version 2", err)
	}
	return nil
}

// empty is EBUSY as long as a hierarchy has a cgroup beside its root, be it one that was removed.
func (l *legacyCgroups) empty() error {
	table, err := os.ReadFile("/proc/cgroups")
	if err != nil {
		return err
	}
	return rootsAlone(string(table), strings.Split(strings.Join(hierarchies, ","), ","))
}

// rootsAlone reads a /proc/cgroups: of each controller its name, the number of its hierarchy and that of the cgroups there.
func rootsAlone(table string, controllers []string) error {
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		// Hierarchy 0 is the default one, whose cgroups are others' business.
		if len(f) == 4 && f[1] != "0" && f[2] != "1" && slices.Contains(controllers, f[0]) {
			return unix.EBUSY
		}
	}
	return nil
}

// handDown changes what the default hierarchy hands down, all at once: + or -.
func (l *legacyCgroups) handDown(sign string) error {
	var words []string
	for c := range strings.FieldsSeq(l.enabled) {
		words = append(words, sign+c)
	}
	return os.WriteFile(filepath.Join(cgroupRoot, "cgroup.subtree_control"), []byte(strings.Join(words, " ")), 0o644)
}

// eventually does something until the error is another than the given one, or there is none, within ctx.
func eventually(ctx context.Context, do func() error, meanwhile error) error {
	for {
		err := do()
		if !errors.Is(err, meanwhile) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(5 * time.Millisecond):
		}
	}
}
