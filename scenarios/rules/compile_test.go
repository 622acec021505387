// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"strings"
	"testing"
)

var schema = Table{
	"evt.type":          {Kind: String},
	"fd.name":           {Kind: String},
	"fd.num":            {Kind: Number},
	"evt.is_open_read":  {Kind: Bool},
	"proc.name":         {Kind: String},
	"proc.aname":        {Kind: List, Arg: ArgOptional, ArgIndex: true, WithArg: String},
	"proc.env":          {Kind: String, Arg: ArgOptional},
	"proc.apid":         {Kind: Number, Arg: ArgRequired, ArgIndex: true},
	"container.id":      {Kind: String},
	"broken.kind":       {},
	"proc.is_exe_upper": {Kind: Bool},
}

// event is a map of fields, those with an argument under "name[arg]".
type event map[string]Value

func (e event) Field(name, arg string) (Value, bool) {
	if arg != "" {
		name += "[" + arg + "]"
	}
	v, ok := e[name]
	return v, ok
}

var opened = event{
	"evt.type":         StringValue("openat2"),
	"fd.name":          StringValue("/etc/Shadow.d/x"),
	"fd.num":           NumberValue(-1),
	"evt.is_open_read": BoolValue(true),
	"proc.name":        NumberValue(7), // not the kind of the schema
	"proc.aname":       ListValue("sh", "sshd"),
	"proc.aname[2]":    StringValue("sshd"),
	"proc.env[X]":      StringValue(""),
	"proc.apid[1]":     NumberValue(1),
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		cond string
		want bool
	}{
		{`evt.type = openat2`, true},
		{`evt.type = openat`, false},
		{`evt.type != openat`, true},
		{`evt.type in (open, openat2)`, true},
		{`evt.type intersects (open, openat2)`, true},
		{`evt.type in ()`, false},
		{`not evt.type in ()`, true},
		{`fd.name contains Shadow`, true},
		{`fd.name contains shadow`, false},
		{`fd.name icontains SHADOW`, true},
		{`fd.name icontains "Å"`, false},
		{`fd.name startswith /etc`, true},
		{`fd.name startswith etc`, false},
		{`fd.name endswith /x`, true},
		{`fd.name endswith /etc`, false},
		{`fd.name glob /etc/*`, true},
		{`fd.name glob "/etc/[!a-r]hado?.d/x"`, true},
		{`fd.name glob /etc`, false},
		{`fd.name glob "/etc/S\\hadow.d/x"`, true},
		{`fd.name pmatch (/usr, /etc)`, true},
		{`fd.name pmatch (/etc/Shadow)`, false},
		{`fd.name pmatch (/etc/S*/x)`, true},
		{`fd.name pmatch (/etc/Shadow.d/x/y)`, false},
		{`fd.name pmatch (/)`, true},
		{`fd.name pmatch ()`, false},
		{`fd.num = -1`, true},
		{`fd.num < 0`, true},
		{`fd.num <= -2`, false},
		{`fd.num > -2`, true},
		{`fd.num >= +0`, false},
		{`fd.num != -1`, false},
		{`fd.num in (1, -1)`, true},
		{`evt.is_open_read = true`, true},
		{`evt.is_open_read != true`, false},
		{`evt.is_open_read in (true, false)`, true},
		{`evt.is_open_read exists`, true},
		{`proc.aname = sshd`, true},
		{`proc.aname = bash`, false},
		{`proc.aname != sshd`, true},
		{`proc.aname in (sh)`, true},
		{`proc.aname in (bash, dash)`, false},
		{`proc.aname startswith ss`, true},
		{`proc.aname exists`, true},
		{`proc.aname intersects (sh)`, true},
		{`proc.aname intersects (bash)`, false},
		{`proc.aname[2] = sshd`, true},
		{`proc.aname[3] exists`, false},
		{`proc.env[X] = ""`, true},
		{`proc.env[X] exists`, true},
		{`proc.apid[1] = 1`, true},
		// A field that is not there: every comparison is false, a negated one true.
		{`container.id exists`, false},
		{`container.id = x`, false},
		{`container.id != host`, false},
		{`not container.id = host`, true},
		{`not container.id in (host)`, true},
		{`container.id startswith ""`, false},
		// A value that is not of the schema's kind is not there.
		{`proc.name exists`, false},
		{`proc.name != x`, false},
		// Structure.
		{`evt.type = openat2 and (fd.num = 3 or fd.num = -1) and not fd.num = 3`, true},
		{`evt.type = x and fd.num = -1 or fd.num = 3`, false},
		{`evt.type = openat2 or container.id exists`, true},
	} {
		e, err := Parse(c.cond)
		if err != nil {
			t.Errorf("%s: %v", c.cond, err)
			continue
		}
		p, err := Compile(e, schema)
		if err != nil {
			t.Errorf("%s: %v", c.cond, err)
			continue
		}
		if got := p.Match(opened); got != c.want {
			t.Errorf("%s is %v, want %v", c.cond, got, c.want)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, c := range []struct{ cond, want string }{
		{`evt.type = open and proc.nam = x`, `condition:1:21: unknown field "proc.nam"; did you mean "proc.name"?`},
		{`fd.num contains 3`, `operator contains does not fit fd.num, a number (that takes = != < <= > >= in intersects exists)`},
		{`fd.name < 3`, `operator < does not fit fd.name, a string`},
		{`evt.is_open_read startswith t`, `operator startswith does not fit evt.is_open_read, a boolean`},
		{`proc.aname < 1`, `operator < does not fit proc.aname, a list of strings`},
		{`fd.num = three`, `condition:1:1: fd.num =: a whole number was expected, not "three"`},
		{`fd.num in (1, 99999999999999999999)`, `a whole number was expected, not "99999999999999999999"`},
		{`fd.num = --1`, `a whole number was expected`},
		{`fd.num = 0x1F`, `a whole number was expected, not "0x1F"`},
		{`evt.is_open_read = yes`, `true or false was expected, not "yes"`},
		{`evt.type[1] = x`, `field evt.type takes no argument, and is given [1]`},
		{`proc.apid = 1`, `field proc.apid needs an argument`},
		{`proc.aname[x] = y`, `the argument of field proc.aname is a number, not "x"`},
		{`proc.aname[-1] = y`, `the argument of field proc.aname is a number`},
		{`broken.kind exists`, `the schema gives field broken.kind an invalid kind`},
		{`fd.name glob "+(a|b)"`, `the extended glob +( is not supported`},
		{`fd.name glob "[a"`, `[ has no ]`},
		{`fd.name glob "[[:alpha:]]"`, `is not supported`},
		{`fd.name glob "[z-a]"`, `cannot be used`},
		{`fd.name glob x\`, `ends in a backslash`},
		{`fd.name pmatch ("/a[")`, `[ has no ]`},
		{`evt.type = x or not fd.num = three`, `a whole number was expected`},
	} {
		e, err := Parse(c.cond)
		if err != nil {
			t.Errorf("%s: %v", c.cond, err)
			continue
		}
		_, err = Compile(e, schema)
		if err == nil {
			t.Errorf("%s was accepted", c.cond)
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\ngot  %s\nwant %s", c.cond, err, c.want)
		}
	}
}

// An error of a compiled rule points into the file that the check was written in, through macros.
func TestCompilePosition(t *testing.T) {
	r, err := load(t, "- macro: m\n  condition: fd.nam = x\n"+rule("evt.type = open and m")).Rule("R")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Compile(r.Expr, schema)
	if want := `a.yaml:2:14: macro "m": condition:1:1: unknown field "fd.nam"; did you mean "fd.name"?`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	e, err := Parse(`evt.type in (a, b) or fd.num < -5 or fd.name icontains nothing or fd.name pmatch (/usr, /var/l?g) or fd.name glob *.conf or proc.aname intersects (x) or tolower(fd.name) = x or toupper(basename(fd.name)) = val(fd.name)`)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(e, schema)
	if err != nil {
		t.Fatal(err)
	}
	var ev Event = opened
	if n := testing.AllocsPerRun(100, func() { p.Match(ev) }); n > 0 {
		t.Errorf("%v allocations for an event that matches nothing", n)
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(`fd.name glob "/e?c/[!a]*" or proc.aname in (x)`)
	f.Add(`fd.name pmatch ("/[a-b]/\\*") and fd.num >= 7`)
	f.Fuzz(func(t *testing.T, s string) {
		e, err := Parse(s)
		if err != nil {
			return
		}
		p, err := Compile(e, schema)
		if err != nil {
			return
		}
		again, err := Parse(e.String())
		if err != nil {
			t.Fatal(err)
		}
		q, err := Compile(again, schema)
		if err != nil {
			t.Fatalf("%q compiles and %q does not: %v", s, again, err)
		}
		if p.Match(opened) != q.Match(opened) {
			t.Fatalf("%q and %q mean different things", s, again)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	e, err := Parse(`evt.type in (open, openat, openat2) and evt.is_open_read = true and fd.num >= 0 and fd.name startswith /etc`)
	if err != nil {
		b.Fatal(err)
	}
	p, err := Compile(e, schema)
	if err != nil {
		b.Fatal(err)
	}
	var ev Event = opened
	b.ReportAllocs()
	for b.Loop() {
		p.Match(ev)
	}
}
