// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The processes of a test are copies of the program that does it: here, of this one.
func TestMain(m *testing.M) {
	if os.Getenv(EnvAct) != "" {
		if err := Follow(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// test is a suite of one test with these lines.
func test(lines ...string) []byte {
	return []byte("tests:\n  - name: t\n    runner: HostRunner\n    rule: R\n    " + strings.Join(lines, "\n    ") + "\n")
}

const oneStep = "steps: [{type: syscall, name: s, syscall: open, args: {pathname: /x, flags: O_RDONLY}}]"

func TestLoad(t *testing.T) {
	got, err := Load("s.yaml", test(
		`description: what it is`,
		`context: {container: {image: i, env: {A: b}}, processes: [{exePath: /tmp/a, args: -x "two words" '', exe: zero, name: n, user: daemon, capabilities: all=iep}]}`,
		`resources: [{type: fd, subtype: directory, name: d, dirPath: /etc}]`,
		`steps: [{type: syscall, name: s, syscall: openat2, args: {dirFd: "${d.fd}", pathname: shadow, how: {flags: O_RDONLY|O_CLOEXEC, resolve: RESOLVE_BENEATH}}}, {type: syscall, name: r, syscall: read, args: {fd: "${s.ret}", len: 4}}]`,
		`expectedOutcome: {source: syscall, priority: WARNING, outputFields: {fd.name: /etc/shadow}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Test{
		Name: "t", Rule: "R", Description: "what it is", Container: true,
		Deed: Deed{
			Processes: []Process{{Path: "/tmp/a", Arg0: "zero", Name: "n", User: "daemon", Args: []string{"-x", "two words", ""}, Env: map[string]string{"A": "b"}}},
			Resources: []Resource{{Name: "d", Type: "fd", Subtype: "directory", Path: "/etc"}},
			Steps: []Step{
				{"s", "openat2", map[string]string{"dirFd": "${d.fd}", "pathname": "shadow", "how.flags": "O_RDONLY|O_CLOEXEC", "how.resolve": "RESOLVE_BENEATH"}},
				{"r", "read", map[string]string{"fd": "${s.ret}", "len": "4"}},
			},
		},
		Expect: Expect{Priority: "WARNING", Fields: map[string]string{"fd.name": "/etc/shadow"}},
	}
	if len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"unknown key", []string{"stepz: []"}, `s.yaml:5:5: unknown key "stepz"; did you mean "steps"?`},
		{"unknown syscall", []string{"steps: [{type: syscall, name: s, syscall: openat3, args: {}}]"}, `s.yaml:5:47: unknown syscall "openat3"; did you mean "openat"?`},
		{"unknown step", []string{"steps: [{type: shell, name: s, syscall: open}]"}, `s.yaml:5:20: unknown type of step "shell"`},
		{"unknown argument", []string{"steps: [{type: syscall, name: s, syscall: dup, args: {olfFd: 1}}]"}, `s.yaml:5:59: dup has no argument "olfFd"; did you mean "oldFd"?`},
		{"lacking argument", []string{"steps: [{type: syscall, name: s, syscall: dup, args: {}}]"}, `s.yaml:5:47: dup lacks its argument "oldFd"`},
		{"unknown flag", []string{"steps: [{type: syscall, name: s, syscall: open, args: {pathname: /x, flags: O_RDONYL}}]"}, `s.yaml:5:81: unknown flag of open "O_RDONYL"; did you mean "O_RDONLY"?`},
		{"bad address", []string{`steps: [{type: syscall, name: s, syscall: connect, args: {fd: 3, address: "localhost:1"}}]`}, `the address "localhost:1" is none of`},
		{"later step", []string{`steps: [{type: syscall, name: a, syscall: dup, args: {oldFd: "${b.ret}"}}, {type: syscall, name: b, syscall: dup, args: {oldFd: 1}}]`}, `no earlier step and no resource is named "b"`},
		{"unknown field", []string{"resources: [{type: fd, subtype: pipe, name: p}]", `steps: [{type: syscall, name: a, syscall: dup, args: {oldFd: "${p.fd}"}}]`}, `p has no field "fd"`},
		{"twice", []string{"resources: [{type: fd, subtype: pipe, name: s}]", oneStep}, `two steps or resources are named "s"`},
		{"unknown resource", []string{"resources: [{type: fifo, name: s}]"}, `s.yaml:5:24: unknown type of resource "fifo"`},
		{"unknown subtype", []string{"resources: [{type: fd, subtype: fifo, name: s}]"}, `s.yaml:5:37: unknown subtype "fifo" (known: file,`},
		{"a key of another subtype", []string{"resources: [{type: fd, subtype: pipe, name: s, filePath: /x}]"}, `a resource of subtype pipe has no such key`},
		{"no runner of ours", []string{oneStep, "context: {processes: [{exePath: a}]}"}, `the path "a" is not absolute`},
		{"a deed's own id", []string{oneStep, "context: {processes: [{env: {A: b, MEWS_ID: 0123456789ab}}]}"}, `s.yaml:6:40: the variable MEWS_ID is mews's own`},
		{"a container's", []string{oneStep, "context: {container: {env: {MEWS_AS: x}}}"}, `s.yaml:6:33: the variable MEWS_AS is mews's own`},
		{"another process's", []string{"resources: [{type: process, name: p, env: {MEWS_ID: 0123456789ab}}]"}, `s.yaml:5:48: the variable MEWS_ID is mews's own`},
		{"open quote", []string{oneStep, `context: {processes: [{args: "a 'b"}]}`}, `a quote of the arguments is not closed`},
		{"nothing", nil, `test "t" does nothing`},
		{"strategy", []string{oneStep, "cases: [{strategy: tensor, values: {a: 1}}]"}, `unknown strategy "tensor" (known: vector, matrix)`},
		{"no value", []string{`description: "%{item.b}"`, oneStep, "cases: [{strategy: vector, values: {a: 1}}]"}, `s.yaml:5:18: no case has a value "b"; did you mean "a"?`},
		{"no cases", []string{`description: "%{item.b}"`, oneStep}, `no case has a value "b"`},
		{"many cases", []string{oneStep, "cases: [{strategy: matrix, values: {a: [1,2,3,4,5,6,7,8,9,10,11], b: [1,2,3,4,5,6,7,8,9,10], c: [1,2,3,4,5,6,7,8,9,10]}}]"}, `more than 1000 cases`},
		{"condition", []string{oneStep, "runIf: {os: {op: eq, val: linux}}"}, `unknown condition "os" (known: arch)`},
	} {
		if _, err := Load("s.yaml", test(c.lines...)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
	if _, err := Load("s.yaml", []byte("tests:\n  - {name: t, runner: K8sRunner}\n")); err == nil || !strings.Contains(err.Error(), `s.yaml:2:23: unknown runner "K8sRunner"`) {
		t.Errorf("another runner: %v", err)
	}
}

// What upstream can do and a guest cannot is no mistake of the file: it is said, and the test is no pass.
func TestUnsupportedIsNamed(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"before: touch /x", "it has a script (before, after)"},
		{"after: rm /x", "it has a script (before, after)"},
		{"runIf: {arch: {op: ne, val: amd64}}", "runIf arch ne amd64"},
		{"expectedOutcome: {source: k8s_audit}", `source "k8s_audit"`},
		{"expectedOutcome: {hostname: h}", "it expects a hostname"},
		{"context: {processes: [{capabilities: cap_net_raw=ep}]}", `capabilities "cap_net_raw=ep"`},
	} {
		got, err := Load("s.yaml", test(oneStep, c.line))
		if err != nil || len(got) != 1 || !strings.Contains(got[0].Unsupported, c.want) {
			t.Errorf("%s: %+v, %v", c.line, got, err)
		}
	}
	if got, err := Load("s.yaml", test(oneStep, "runIf: {arch: {op: ne, val: s390x}}")); err != nil || got[0].Unsupported != "" {
		t.Errorf("a condition that holds: %+v, %v", got, err)
	}
}

func TestCases(t *testing.T) {
	got, err := Load("s.yaml", test(
		`description: "%{item.a}-%{item.b}"`,
		`context: {processes: [{env: {V: "%{item.c.deep}"}}]}`, oneStep,
		`cases: [{strategy: matrix, values: {a: [x, y], b: [1, 2], c: [{deep: z}]}}, {strategy: vector, values: {a: p, b: q, c: {deep: "%{item.a}"}}}]`))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, c := range got {
		all = append(all, c.Description+"/"+c.Deed.Processes[0].Env["V"])
	}
	// What is put in is not filled again.
	if want := "x-1/z x-2/z y-1/z y-2/z p-q/%{item.a}"; strings.Join(all, " ") != want {
		t.Errorf("cases %s, want %s", strings.Join(all, " "), want)
	}
	if c := got[1].Case; c["a"] != "x" || c["b"] != "2" || c["c"] != "{deep: z}" {
		t.Errorf("the case of the second is %v", c)
	}
}

// A deed is done in a chain of real processes, with what the test says of each.
func TestDo(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "out")
	d := Deed{
		Processes: []Process{{Path: filepath.Join(dir, "outer"), Name: "parent"}, {Path: filepath.Join(dir, "inner"), Arg0: "zero", Args: []string{"a", "b c"}, Name: "child", Env: map[string]string{"K": "v"}}},
		Resources: []Resource{
			{Name: "self", Type: "fd", Subtype: "directory", Path: "/proc/self"},
			{Name: "pipe", Type: "fd", Subtype: "pipe"},
			{Name: "local", Type: "clientServer", Proto: "unix"},
			{Name: "tcp", Type: "clientServer", Proto: "tcp4", Address: "127.0.0.1:0"},
			{Name: "victim", Type: "process", Process: &Process{Name: "victim"}},
		},
		Steps: []Step{
			{"open", "open", map[string]string{"pathname": target, "flags": "O_RDWR|O_CREAT|O_EXCL", "mode": "S_IRUSR|S_IWUSR"}},
			{"stdout", "dup2", map[string]string{"oldFd": "${open.ret}", "newFd": "1"}},
			{"write", "write", map[string]string{"fd": "${stdout.ret}", "buffer": "hello", "len": "4"}},
			{"kill", "kill", map[string]string{"pid": "${victim.pid}", "sig": "SIGTERM"}},
			{"link", "linkat", map[string]string{"oldPath": "${open.args.pathname}", "newPath": target + ".link"}},
		},
	}
	d.Resources = append(d.Resources[:3:3], d.Resources[4:]...) // port 0 is no address that a client could connect to
	if err := d.Do(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(target + ".link"); err != nil || string(got) != "hell" {
		t.Errorf("the file holds %q, %v", got, err)
	}
	for _, left := range []string{"outer", "inner"} {
		if _, err := os.Lstat(filepath.Join(dir, left)); err == nil {
			t.Errorf("%s was left", left)
		}
	}
}

// A step that fails is said with its errno, through all the processes; and nothing of the system is overwritten.
func TestDoFails(t *testing.T) {
	d := Deed{Processes: []Process{{}, {}}, Steps: []Step{{"s", "openat2", map[string]string{"pathname": "/no/such/file", "how.flags": "O_RDONLY"}}}}
	if err := d.Do(context.Background()); !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "step s (openat2)") {
		t.Errorf("got %v", err)
	}
	there := filepath.Join(t.TempDir(), "there")
	if err := os.WriteFile(there, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (Deed{Processes: []Process{{Path: there}}}).Do(context.Background()); !errors.Is(err, unix.EEXIST) {
		t.Errorf("an executable that is there: %v", err)
	}
	if got, _ := os.ReadFile(there); string(got) != "mine" {
		t.Error("it was overwritten")
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(string(test(oneStep)))
	f.Add(string(test(`description: "%{item.a}"`, oneStep, "cases: [{strategy: matrix, values: {a: [1, {b: c}]}}]")))
	f.Add("tests: [{name: &a x, runner: *a}]")
	f.Add("tests: [{}]")
	f.Fuzz(func(t *testing.T, text string) {
		tests, err := Load("f.yaml", []byte(text))
		if err == nil && (len(tests) == 0 || len(tests) > maxTests) {
			t.Errorf("%d tests and no error", len(tests))
		}
	})
}
