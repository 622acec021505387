// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

// cgroupPath is the cgroup of a container as its engine names it. Consumers know containers by these names alone
// (libsinsp, container_engine/*.cpp: each engine's table of prefixes and suffixes around 64 hexadecimal digits), so that
// the names are those of the engines. They are made by runc itself: a guest has no systemd to ask.
func cgroupPath(s scenarios.Setup, id string) string {
	systemd := s.Driver == scenarios.Systemd
	switch s.Engine {
	case scenarios.Containerd: // the namespace of ctr and nerdctl is "default"
		if systemd {
			return "/system.slice/nerdctl-" + id + ".scope"
		}
		return "/default/" + id
	case scenarios.Podman:
		if systemd {
			return "/machine.slice/libpod-" + id + ".scope"
		}
		return "/libpod_parent/libpod-" + id
	case scenarios.CRIO:
		if systemd {
			return pod(id, true) + "/crio-" + id + ".scope"
		}
		return pod(id, false) + "/crio-" + id
	case scenarios.Kubernetes: // through containerd's CRI plug-in
		if systemd {
			return pod(id, true) + "/cri-containerd-" + id + ".scope"
		}
		return pod(id, false) + "/" + id
	}
	if systemd {
		return "/system.slice/docker-" + id + ".scope"
	}
	return "/docker/" + id
}

// pod is the cgroup that a kubelet gives to a pod of quality class "best effort". systemd takes a hyphen for a level of
// slices, so that there the pod's id is written with underscores.
func pod(id string, systemd bool) string {
	uid := fmt.Sprintf("%s-%s-%s-%s-%s", id[32:40], id[40:44], id[44:48], id[48:52], id[52:64])
	if systemd {
		return "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice"
	}
	return "/kubepods/besteffort/pod" + uid
}

// removeCgroup removes a cgroup and those above it that hold nothing else.
func removeCgroup(root, name string) error {
	for dir := name; dir != "/" && dir != "."; dir = path.Dir(dir) {
		err := os.Remove(path.Join(root, dir))
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist):
		case dir != name && (errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENOTEMPTY)):
			return nil // a neighbour is in it
		default:
			return cause.Errorf(cause.Internal, cause.FaultHarness, "remove a container's cgroup: %w", err)
		}
	}
	return nil
}
