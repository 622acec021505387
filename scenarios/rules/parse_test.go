// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"strings"
	"testing"
)

// roundTrip holds e to the promise of Expr.String.
func roundTrip(t *testing.T, e Expr) {
	t.Helper()
	text := e.String()
	again, err := Parse(text)
	if err != nil {
		t.Fatalf("%q does not parse again: %v", text, err)
	}
	if !Equal(e, again) {
		t.Fatalf("%q parses to another tree: %q", text, again)
	}
	if got := again.String(); got != text {
		t.Fatalf("%q prints as %q the second time", text, got)
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`evt.type=execve`, `evt.type = execve`},
		{`evt.type == execve`, `evt.type = execve`},
		{` evt.type  in(execve,execveat ) `, `evt.type in (execve, execveat)`},
		{`fd.num>=0 and fd.num<3 or fd.num!=-1`, `fd.num >= 0 and fd.num < 3 or fd.num != -1`},
		{`a.b = 1 or a.b = 2 and a.c = 3`, `a.b = 1 or a.b = 2 and a.c = 3`},
		{`(a.b = 1 or a.b = 2) and a.c = 3`, `(a.b = 1 or a.b = 2) and a.c = 3`},
		{`a.b = 1 and (a.b = 2 and a.c = 3)`, `a.b = 1 and a.b = 2 and a.c = 3`},
		{`((a.b exists))`, `a.b exists`},
		{`not(a.b = 1 and a.c = 2)`, `not (a.b = 1 and a.c = 2)`},
		{`not not not a.b = 1`, `not a.b = 1`},
		{"a.b = 1\nand(a.c = 2)", `a.b = 1 and a.c = 2`},
		{`proc.aname[2] = "x y"`, `proc.aname[2] = "x y"`},
		{`proc.env[PATH] contains ':/x'`, `proc.env[PATH] contains :/x`},
		{`proc.env["A B"] exists`, `proc.env["A B"] exists`},
		{`evt.arg.flags contains EXE_UPPER_LAYER`, `evt.arg.flags contains EXE_UPPER_LAYER`},
		{`evt.dir = <`, `evt.dir = "<"`},
		{`fd.name = ""`, `fd.name = ""`},
		{`fd.name = "say \"hi\" \\ there\n"`, `fd.name = "say \"hi\" \\ there\n"`},
		{`fd.name = 'it\'s'`, `fd.name = "it's"`},
		{`fd.name = C:\`, `fd.name = C:\`},
		{`fd.name startswith /etc and fd.name endswith .conf`, `fd.name startswith /etc and fd.name endswith .conf`},
		{`fd.name glob "/etc/*"`, `fd.name glob /etc/*`},
		{`fd.name pmatch (/etc, /usr/lib)`, `fd.name pmatch (/etc, /usr/lib)`},
		{`proc.name in ()`, `proc.name in ()`},
		{`proc.name = and and a.b = or`, `proc.name = and and a.b = or`},
		{`proc.name icontains "É"`, `proc.name icontains "É"`},
		{`a.b intersects ("<NA>", x)`, `a.b intersects ("<NA>", x)`},
		{`a.b iglob "X*" or a.b regex "^x" or a.b bcontains cafe or a.b bstartswith 7f45`, `a.b iglob X* or a.b regex "^x" or a.b bcontains cafe or a.b bstartswith 7f45`},
		{`tolower( toupper(a.b[x]) ) in (y)`, `tolower(toupper(a.b[x])) in (y)`},
		{`len(a.b) > 3 and basename(a.b) exists`, `len(a.b) > 3 and basename(a.b) exists`},
		{`a.b = val( c.d ) or a.b > val(c.d["x y"]) or a.b in val(c.d)`, `a.b = val(c.d) or a.b > val(c.d["x y"]) or a.b in val(c.d)`},
		{`a.b = tolower(c.d) and b64(a.b) contains basename(tolower(c.d))`, `a.b = tolower(c.d) and b64(a.b) contains basename(tolower(c.d))`},
		{`a.b = val and a.b = tolower`, `a.b = val and a.b = tolower`},
	} {
		e, err := Parse(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if got := e.String(); got != c.want {
			t.Errorf("%s\ngot  %s\nwant %s", c.in, got, c.want)
		}
		roundTrip(t, e)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{``, `condition:1:1: the condition is empty`},
		{`spawned_process`, `condition:1:1: no macro is named "spawned_process"`},
		{`a.b in names`, `no list is named "names"`},
		{`evt.type = execve proc.name = x`, `condition:1:19: expected and, or, or the end, not "proc.name"`},
		{`evt.type = execve annd proc.name = x`, `not "annd"; did you mean "and"?`},
		{`evt.type execve`, `condition:1:10: operator "execve" is not supported`},
		{`evt.type`, `condition:1:9: expected an operator after evt.type, not "the end"`},
		{`evt.type =`, `expected a value after evt.type =, not "the end"`},
		{`evt.type = (a, b)`, `expected a value after evt.type =, not "("`},
		{`a.b startwith x`, `operator "startwith" is not supported; did you mean "startswith"?`},
		{`a.b containss 00`, `operator "containss" is not supported; did you mean "contains"?`},
		{`a.b startswith"x"`, `expected a blank after startswith`},
		{`a.b < x`, `condition:1:7: < compares with a whole number, not "x"`},
		{`a.b < 0x1F`, `< compares with a whole number`},
		{`a.b < 1.5`, `< compares with a whole number`},
		{`a.b >= '5'`, `>= compares with a whole number`},
		{`a.b in (x`, `expected , or ) after "x", not "the end"`},
		{`a.b in (x,)`, `expected a value of the list, not ")"`},
		{`a.b in (x y)`, `expected , or ) after "x", not "y"`},
		{`a.b in =`, `expected ( or the name of a list after in`},
		{`(a.b = 1`, `the ) of the ( at column 1, not "the end"`},
		{`a.b = 1)`, `expected and, or, or the end, not ")"`},
		{`a.b = 1 and`, `condition:1:9: expected and, or, or the end, not "and"`},
		{"a.b = 1 and\n  or", `condition:2:3: expected a field, a macro or (, not "or"`},
		{`not`, `expected a field, a macro or (, not "not"`},
		{`a.b = "x`, `the string that begins with " has no end`},
		{`a.b = "x\q"`, `unknown escape \q`},
		{`a.b = "it\'s"`, `\' is not an escape within "`},
		{`a.b[ = 1`, `expected the argument of a.b`},
		{`a.b[1 = 1`, `expected ] after the argument of a.b, not " "`},
		{`join(a.b) = x`, `condition:1:1: the transformer join() is not supported`},
		{`tolower(concat(a.b)) = x`, `condition:1:9: the transformer concat() is not supported`},
		{`tolower(a) = x`, `condition:1:9: expected a field, not "a"`},
		{`tolower(tolowr(a.b)) = x`, `condition:1:9: no transformer is named "tolowr"; did you mean "tolower"?`},
		{`tolower() = x`, `expected a field, or one within tolower(), toupper(), b64(), basename(), len(), not ")"`},
		{`tolower(a.b = x`, `condition:1:13: expected the ) of tolower(, not "="`},
		{`tolower (a.b) = x`, `condition:1:9: expected and, or, or the end, not "("`},
		{`val(a.b) = x`, `val() stands on the right-hand side of an operator alone`},
		{`a.b = val(tolower(a.b))`, `expected a field within val(), not "tolower("`},
		{`a.b = val(a)`, `expected a field within val()`},
		{`a.b = val(c.d`, `condition:1:14: expected the ) of val(, not "the end"`},
		{`a.b = val (c.d)`, `expected and, or, or the end, not "("`},
		{`a.b in (val(c.d))`, `expected , or ) after "val", not "("`},
		{strings.Repeat("tolower(", 70) + "a.b" + strings.Repeat(")", 70) + " = x", `nested deeper than 64`},
		{"a.b = \x00", `NUL`},
		{`= 1`, `expected a field, a macro or (, not "="`},
	} {
		_, err := Parse(c.in)
		if err == nil {
			t.Errorf("%q was accepted", c.in)
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q\ngot  %s\nwant %s", c.in, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`evt.type in (execve, execveat) and container.id != host and proc.is_exe_upper_layer=true`,
		`not (a.b = "x\\\"y" or c.d[1] exists) and e.f pmatch (/a/b, "c d")`,
		`a.b = C:\ or a["x y"] < -5`, `tolower(basename(a.b)) in val(c.d[1]) or not len(a.b) >= len(c.d)`, "a.b in ()", "a.b = '\\''",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if e, err := Parse(s); err == nil {
			roundTrip(t, e)
		}
	})
}
