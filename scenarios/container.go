// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/internal/strictyaml"
)

// Engines that a container can look as if it was made by.
const (
	Docker     = "docker"
	Containerd = "containerd" // by its own clients, ctr and nerdctl
	Podman     = "podman"
	CRIO       = "crio"
	Kubernetes = "kubernetes" // a kubelet with containerd
)

// How an engine spells its cgroups.
const (
	Cgroupfs = "cgroupfs" // a directory of the engine's own
	Systemd  = "systemd"  // slices and scopes
)

// The versions of cgroups that a container can be in.
const (
	CgroupV1 = "v1" // hierarchies of single controllers
	CgroupV2 = "v2" // the one hierarchy
)

// Setup is how the container of a deed is made. The zero value is Docker's, with no options.
type Setup struct {
	Engine        string   `json:"engine,omitempty"`         // empty: Docker
	Driver        string   `json:"driver,omitempty"`         // empty: the cgroups of Cgroupfs
	Cgroup        string   `json:"cgroup,omitempty"`         // empty: CgroupV2
	Privileged    bool     `json:"privileged,omitempty"`     // every capability and device, nothing masked
	UserNamespace bool     `json:"user_namespace,omitempty"` // its root is nobody on the host
	Overlay       []string `json:"overlay,omitempty"`        // mount options of its root
	Tmpfs         []string `json:"tmpfs,omitempty"`          // directories that are memory of their own
	Binds         []string `json:"binds,omitempty"`          // directories that are the host's, empty at first
}

// setupForm is a [Setup] as a scenario's file has it.
type setupForm struct {
	Engine        strictyaml.Str   `yaml:"engine"`
	Driver        strictyaml.Str   `yaml:"cgroup_driver"`
	Cgroup        strictyaml.Str   `yaml:"cgroup"`
	Privileged    bool             `yaml:"privileged"`
	UserNamespace bool             `yaml:"user_namespace"`
	Overlay       []strictyaml.Str `yaml:"overlay"`
	Tmpfs         []strictyaml.Str `yaml:"tmpfs"`
	Binds         []strictyaml.Str `yaml:"binds"`
}

var (
	engines = []string{Docker, Containerd, Podman, CRIO, Kubernetes}
	drivers = []string{Cgroupfs, Systemd}
	cgroups = []string{CgroupV1, CgroupV2}
	// overlayOptions change what a copy-up is (Documentation/filesystems/overlayfs.rst).
	overlayOptions = []string{"metacopy=on", "metacopy=off", "redirect_dir=on", "redirect_dir=off", "redirect_dir=follow", "index=on", "index=off", "xino=on", "xino=off"}
)

// setup is the form's, with what is wrong with it, each at its place.
func (f setupForm) setup() (Setup, []error) {
	out := Setup{Engine: f.Engine.V, Driver: f.Driver.V, Cgroup: f.Cgroup.V, Privileged: f.Privileged, UserNamespace: f.UserNamespace}
	var errs []error
	one := func(s strictyaml.Str, what string, known []string) {
		if s.V != "" && !slices.Contains(known, s.V) {
			errs = append(errs, s.Errorf("unknown %s %q%s (known: %s)", what, s.V, nearest.Hint(s.V, known), strings.Join(known, ", ")))
		}
	}
	one(f.Engine, "engine", engines)
	one(f.Driver, "cgroup driver", drivers)
	one(f.Cgroup, "version of cgroups", cgroups)
	for _, o := range f.Overlay {
		one(o, "option of overlayfs", overlayOptions)
		out.Overlay = append(out.Overlay, o.V)
	}
	for _, dirs := range []struct {
		from []strictyaml.Str
		to   *[]string
	}{{f.Tmpfs, &out.Tmpfs}, {f.Binds, &out.Binds}} {
		for _, d := range dirs.from {
			if err := mountPoint(d.V); err != nil {
				errs = append(errs, d.Errorf("%v", err))
			}
			*dirs.to = append(*dirs.to, d.V)
		}
	}
	return out, errs
}

// check is what a deed that comes over the wire is held against: the agent makes mounts of it.
func (s Setup) check() error {
	var errs []error
	if s.Engine != "" && !slices.Contains(engines, s.Engine) {
		errs = append(errs, fmt.Errorf("unknown engine %q", s.Engine))
	}
	if s.Driver != "" && !slices.Contains(drivers, s.Driver) {
		errs = append(errs, fmt.Errorf("unknown cgroup driver %q", s.Driver))
	}
	if s.Cgroup != "" && !slices.Contains(cgroups, s.Cgroup) {
		errs = append(errs, fmt.Errorf("unknown version of cgroups %q", s.Cgroup))
	}
	for _, o := range s.Overlay {
		if !slices.Contains(overlayOptions, o) {
			errs = append(errs, fmt.Errorf("unknown option of overlayfs %q", o))
		}
	}
	for _, d := range slices.Concat(s.Tmpfs, s.Binds) {
		errs = append(errs, mountPoint(d))
	}
	return errors.Join(errs...)
}

// mountPoint refuses what the engine itself mounts, or what would hide the image's programs.
func mountPoint(dir string) error {
	if !path.IsAbs(dir) || path.Clean(dir) != dir {
		return fmt.Errorf("the path %q is not absolute and clean", dir)
	}
	for _, own := range []string{"/proc", "/sys", "/dev", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/.mews"} {
		if dir == "/" || dir == own || strings.HasPrefix(dir, own+"/") {
			return fmt.Errorf("%s cannot be mounted over: the container needs what is there; take a directory such as /mnt or /srv/data", dir)
		}
	}
	return nil
}
