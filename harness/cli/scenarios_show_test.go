// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"

	"github.com/mews-farm/mews/scenarios"
)

// Nothing that a scenario's file says is kept from who asks to see it.
func TestPrintScenarioIsWhole(t *testing.T) {
	sc, err := scenarios.Parse("whole.yaml", []byte(`name: whole
rule: Read sensitive file untrusted
description: what it does
why: what for
owner: somebody
mitre: [T1003.008]
context: container
container: {engine: podman, cgroup_driver: systemd, privileged: true, user_namespace: true, overlay: [metacopy=on], tmpfs: [/mnt/a], binds: [/mnt/b]}
needs: {syscalls: [openat2]}
vars: {secret: /etc/shadow}
setup:
  - copy: {src: /etc/hostname, dst: /tmp/copied, mode: "0644"}
attack:
  - as:
      program: /tmp/httpd
      steps:
        - open: {syscall: openat2, path: "${secret}", flags: [O_RDONLY]}
twin:
  - as:
      program: /tmp/httpd
      steps:
        - open: {syscall: openat2, path: /etc/hosts, flags: [O_RDONLY]}
cleanup:
  - remove: {path: /tmp/copied}
expect:
  priority: Warning
  fields: {evt.type: openat2, fd.name: "${secret}"}
`))
	if err != nil {
		t.Fatal(err)
	}
	set, err := scenarios.Rules()
	if err != nil {
		t.Fatal(err)
	}
	rule, err := set.Rule(sc.Rule)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := printScenario(&b, sc, rule); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"whole (container)", "what it does", "what for", "somebody", "T1003.008", "Read sensitive file untrusted (Warning)", "\nneeds:  openat2\n",
		"\ncontainer:\n  engine: podman\n  cgroup_driver: systemd\n  privileged: true\n  user_namespace: true\n  overlay: metacopy=on\n  tmpfs: /mnt/a\n  binds: /mnt/b\n",
		"\nvars:\n  secret: /etc/shadow\n", "\nsetup, before attack and before twin:\n  copy  {", `"dst":"/tmp/copied"`,
		"\nattack:\n  as    {\"program\":\"/tmp/httpd\"", `"path":"${secret}"`, "\ntwin:\n  as    {", `"path":"/etc/hosts"`,
		"\ncleanup, after either:\n  remove {", "\nexpect of the alert:\n  evt.type: openat2\n  fd.name: ${secret}\n", "\ncondition, lists and macros expanded:\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("it lacks %q:\n%s", want, b.String())
		}
	}
}
