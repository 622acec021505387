// SPDX-License-Identifier: Apache-2.0

package native

import (
	"path"
	"strings"

	"github.com/mews-farm/mews/internal/lazy"
)

// host is Falco's container.id of a process that is in no container.
const host = "host"

// engineScope matches the scopes that systemd makes for container engines, as in docker-ID.scope,
// cri-containerd-ID.scope, crio-ID.scope and libpod-ID.scope.
var engineScope = lazy.Regexp(`^(?:docker|cri-containerd|nerdctl|crio|libpod|podman)-([0-9a-f]{64})(?:\.scope)?$`)

// plainID matches the name of a cgroup that is nothing but the id, as the cgroupfs driver of engines makes it, and
// the slice:engine:id of a runc that talks to systemd and was not understood.
var plainID = lazy.Regexp(`^(?:[^:]+:[^:]+:)?([0-9a-f]{64})$`)

// engineParent says whether a cgroup of plain ids belongs to a container engine: /docker/ID,
// /kubepods/burstable/podUID/ID, /libpod_parent/ID, /default/ID of containerd's own client.
var engineParent = lazy.Regexp(`(?:^|/)(?:docker|containerd|podman|libpod|libpod_parent|crio|default|k8s\.io|kubepods[^/]*|pod[0-9a-f_-]{32,36})(?:/|$)`)

// containerID is the id of the container whose cgroup the path lies in, shortened to 12 digits as Falco does, or
// host. The innermost container counts.
func containerID(cgroup string) string {
	for dir := cgroup; dir != "/" && dir != "." && dir != ""; dir = path.Dir(dir) {
		name := path.Base(dir)
		if m := engineScope().FindStringSubmatch(name); m != nil {
			return m[1][:12]
		}
		if m := plainID().FindStringSubmatch(name); m != nil {
			if strings.Contains(name, ":") || engineParent().MatchString(path.Dir(dir)) {
				return m[1][:12]
			}
		}
	}
	return host
}
