// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
)

const sound = `name: x
rule: Read sensitive file untrusted
description: d
why: w
owner: o
context: host
vars: {file: /etc/shadow}
attack:
  - open: {syscall: openat, path: "${file}"}
twin:
  - open: {syscall: openat, path: /etc/hostname}
expect:
  priority: Warning
  fields: {fd.name: "${file}"}
`

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown key", "owner:", "ownr:", `x.yaml:5:1: unknown key "ownr"; did you mean "owner"?`},
		{"unknown action", "- open: {syscall: openat, path: /etc/hostname}", "- opn: {}", `x.yaml:11:5: unknown key "opn"; did you mean "open"? (known: age, as, `},
		{"unknown parameter", "path: /etc/hostname", "pth: /etc/hostname", `unknown key "pth"; did you mean "path"?`},
		{"missing parameter", "syscall: openat, path: /etc/hostname", "syscall: openat", `x.yaml:11:11: key "path" is missing`},
		{"a shell is no action", "- open: {syscall: openat, path: /etc/hostname}", "- cat /etc/shadow", `x.yaml:11:5: a mapping was expected`},
		{"doing nothing is no action", "- open: {syscall: openat, path: /etc/hostname}", "- {}", `twin, step 1: the step has no action`},
		{"context", "context: host", "context: hosts", `x.yaml:6:10: unknown context "hosts"; did you mean "host"?`},
		{"name", "name: x", "name: y", `x.yaml:1:7: the name "y" is not that of the file`},
		{"syscall", "syscall: openat, path: /etc/hostname", "syscall: openat3, path: /x", `unknown syscall "openat3"; did you mean "openat"?`},
		{"flag", "path: /etc/hostname", "path: /x, flags: [O_RDONYL]", `twin, step 1: unknown flag "O_RDONYL"; did you mean "O_RDONLY"?`},
		{"resolve", "path: /etc/hostname", "path: /x, resolve: [RESOLVE_BENEATH]", `openat has no resolve flags`},
		{"mode", "path: /etc/hostname", "path: /x, flags: [O_CREAT], mode: '999'", `the mode "999" is not three octal digits`},
		{"mode without creation", "path: /etc/hostname", "path: /x, mode: '644'", `a mode without O_CREAT`},
		{"path", "path: /etc/hostname", "path: etc/hostname", `the path "etc/hostname" is not absolute`},
		{"traversal that is not one", "path: /etc/hostname", "path: /etc/hostname, traverse: true", `the path "/etc/hostname" is not an absolute one with .. in it`},
		{"relative traversal", "path: /etc/hostname", "path: ../etc/hostname, traverse: true", `the path "../etc/hostname" is not an absolute one`},
		{"traversal unsaid", "path: /etc/hostname", "path: /srv/../etc/hostname", `the path "/srv/../etc/hostname" is not absolute and clean`},
		{"descriptor", "- open: {syscall: openat, path: /etc/hostname}", "- memfd-exec: {src: /bin/true, run: memf}", `unknown descriptor to run "memf"; did you mean "memfd"?`},
		{"no descriptor", "- open: {syscall: openat, path: /etc/hostname}", "- memfd-exec: {src: /bin/true}", `x.yaml:11:17: key "run" is missing`},
		{"traversal through a variable", "file: /etc/shadow", "file: /etc/../shadow", `the path "/etc/../shadow" is not absolute and clean`},
		{"unknown variable", "${file}", "${fil}", `no variable is named "fil"`},
		{"open variable", `fields: {fd.name: "${file}"}`, `fields: {fd.name: "${file"}`, `${ has no }`},
		{"own id", "vars: {", "vars: {id: x, ", `x.yaml:7:8: ${id} is every deed's own`},
		{"field", "fd.name:", "name:", `"name" is no field`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(sound, c.old) {
				t.Fatalf("nothing to mutate: %q", c.old)
			}
			_, err := Parse("x.yaml", []byte(strings.ReplaceAll(sound, c.old, c.new)))
			if err == nil {
				t.Fatal("was accepted")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
}

func TestLint(t *testing.T) {
	set := shipped(t, "falco")
	for _, c := range []struct{ name, old, new, want string }{
		{"sound", "", "", ""},
		{"owner", "owner: o", "owner: ''", `scenario x: it has no owner`},
		{"why", "why: w\n", "", `it has no why`},
		{"rule", "file untrusted", "file untrustd", `no rule is named "Read sensitive file untrustd"; did you mean "Read sensitive file untrusted"?`},
		{"priority", "priority: Warning", "priority: Critical", `it expects priority "Critical", and its rule has "Warning"`},
		{"no expectation", `fields: {fd.name: "${file}"}`, "fields: {}", `it expects no field`},
		{"no twin", "twin:\n  - open: {syscall: openat, path: /etc/hostname}\n", "", `it has no twin`},
		{"no attack", "attack:\n  - open: {syscall: openat, path: \"${file}\"}\n", "", `it has no attack`},
		{"another shape", "- open: {syscall: openat, path: /etc/hostname}", "- exec: {path: /bin/true}", `the attack's shape is open by openat and the twin's is exec; they must be the same`},
		{"another call", "{syscall: openat, path: /etc/hostname}", "{syscall: open, path: /etc/hostname}", `the twin's is open by open`},
		{"one step more", "path: /etc/hostname}", "path: /etc/hostname}\n  - exec: {path: /bin/true}", `they must be the same`},
		{"another shape, from memory", "- open: {syscall: openat, path: /etc/hostname}", "- memfd-exec: {src: /bin/true, run: src}", `it calls memfd_create, which not every kernel has`},
		{"the twin attacks", "path: /etc/hostname", "path: /etc/shadow", `the twin is the attack`},
		{"need not said", "syscall: openat,", "syscall: openat2,", `it calls openat2, which not every kernel has`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(sound, c.old) {
				t.Fatalf("nothing to mutate: %q", c.old)
			}
			s, err := Parse("x.yaml", []byte(strings.ReplaceAll(sound, c.old, c.new)))
			if err != nil {
				t.Fatal(err)
			}
			var said []string
			for _, err := range Lint(s, set) {
				said = append(said, err.Error())
			}
			all := strings.Join(said, "\n")
			if c.want == "" && all != "" || !strings.Contains(all, c.want) {
				t.Errorf("got  %s\nwant %s", all, c.want)
			}
		})
	}
}

func TestDeeds(t *testing.T) {
	s := dropAndExecute(t)
	for _, c := range []struct {
		name string
		deed func(string, map[string]string) (Deed, error)
		vars map[string]string
		want string
	}{
		{"attack", s.AttackDeed, nil, `{"id":"aaaaaaaaaaaa","context":"container","steps":[` +
			`{"copy":{"src":"/usr/bin/true","dst":"/usr/local/bin/mews-dropped-aaaaaaaaaaaa","mode":"0755"}},` +
			`{"exec":{"path":"/usr/local/bin/mews-dropped-aaaaaaaaaaaa"}}]}`},
		{"twin", s.TwinDeed, map[string]string{"program": "/bin/echo"}, `{"id":"aaaaaaaaaaaa","context":"container","steps":[` +
			`{"copy":{"src":"/bin/echo","dst":"/usr/local/bin/mews-dropped-aaaaaaaaaaaa","mode":"0755"}},` +
			`{"exec":{"path":"/bin/echo"}}]}`},
	} {
		d, err := c.deed(attackID, c.vars)
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != c.want {
			t.Errorf("%s\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
	before := maps.Clone(s.Vars)
	for _, bad := range []map[string]string{{"programm": "/x"}, {"id": "/x"}, {"program": "bin/true"}, {"program": "/a/../b"}} {
		if d, err := s.AttackDeed(attackID, bad); err == nil {
			t.Errorf("%v gave %+v", bad, d)
		}
	}
	if !maps.Equal(s.Vars, before) {
		t.Error("filling a deed changed the scenario")
	}
	for _, id := range []string{"", "x", "AAAAAAAAAAAA", "aaaaaaaaaaa", "../aaaaaaaaaaaa"} {
		if _, err := s.TwinDeed(id, nil); err == nil {
			t.Errorf("the id %q was taken", id)
		}
	}
}

func TestNewID(t *testing.T) {
	a, b := NewID(), NewID()
	if a == b || !idForm().MatchString(a) || !idForm().MatchString(b) {
		t.Errorf("ids %q and %q", a, b)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sound))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse("x.yaml", data)
		if err != nil {
			return
		}
		if _, err := s.AttackDeed(attackID, nil); err != nil {
			t.Errorf("a scenario was accepted whose attack cannot be made: %v", err)
		}
	})
}
