// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"strings"
	"testing"
)

// withContainer is a sound scenario in a container, made as it says.
func withContainer(context, container string) []byte {
	return []byte(`name: x
rule: Drop and execute new binary in container
context: ` + context + `
container: ` + container + `
attack:
  - exec: {path: /usr/bin/true}
`)
}

func TestContainerOfAScenario(t *testing.T) {
	s, err := Parse("x.yaml", withContainer("container", "{engine: kubernetes, cgroup_driver: systemd, cgroup: v1, privileged: true, user_namespace: true, overlay: [metacopy=on], tmpfs: [/mnt], binds: [/srv/data]}"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.AttackDeed(attackID, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := d.Container
	if c.Engine != Kubernetes || c.Driver != Systemd || c.Cgroup != CgroupV1 || !c.Privileged || !c.UserNamespace || strings.Join(c.Overlay, " ") != "metacopy=on" || c.Tmpfs[0] != "/mnt" || c.Binds[0] != "/srv/data" {
		t.Errorf("the deed's container is %+v", c)
	}
}

func TestContainerIsRefused(t *testing.T) {
	for _, c := range []struct{ context, container, want string }{
		{"container", "{engine: dokker}", `x.yaml:4:21: unknown engine "dokker"; did you mean "docker"?`},
		{"container", "{cgroup_driver: system}", `x.yaml:4:28: unknown cgroup driver "system"; did you mean "systemd"?`},
		{"container", "{cgroup: v3}", `x.yaml:4:21: unknown version of cgroups "v3"`},
		{"container", "{priviledged: true}", `x.yaml:4:13: unknown key "priviledged"; did you mean "privileged"?`},
		{"container", "{privileged: perhaps}", `x.yaml:4:25: true or false was expected, not "perhaps"`},
		{"container", "{overlay: [lowerdir=/etc]}", `x.yaml:4:23: unknown option of overlayfs "lowerdir=/etc"`},
		{"container", "{tmpfs: [mnt]}", `x.yaml:4:21: the path "mnt" is not absolute and clean`},
		{"container", "{binds: [/usr/bin]}", `x.yaml:4:21: /usr/bin cannot be mounted over`},
		{"container", "{binds: [/.mews]}", `x.yaml:4:21: /.mews cannot be mounted over`},
		{"host", "{privileged: true}", `x.yaml:3:10: the scenario says how its container is made, and its context is host`},
	} {
		if _, err := Parse("x.yaml", withContainer(c.context, c.container)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.container, err, c.want)
		}
	}
}

// What comes over the wire is not trusted to have been a file that was sound.
func TestDeedWithAnUnsoundContainer(t *testing.T) {
	for _, c := range []string{`{"engine":"../.."}`, `{"driver":"x"}`, `{"cgroup":"v3"}`, `{"overlay":["lowerdir=/"]}`, `{"tmpfs":["/"]}`, `{"binds":["/mnt/.."]}`, `{"unknown":1}`} {
		deed := `{"id":"` + attackID + `","context":"container","container":` + c + `,"steps":[]}`
		if _, err := ReadDeed(strings.NewReader(deed)); err == nil {
			t.Errorf("%s was taken", c)
		}
	}
}
