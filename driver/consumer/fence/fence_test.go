// SPDX-License-Identifier: Apache-2.0

package fence_test

import (
	"os"
	"reflect"
	"testing"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/consumer/fence"
)

func TestGuard(t *testing.T) {
	dir := t.TempDir() + "/f"
	f, err := fence.In(dir + "/")
	if err != nil {
		t.Fatal(err)
	}
	in := consumer.Watch{Name: "w", Condition: "a=b or c=d", Fields: []string{"proc.name"}}
	got := f.Guard(in)
	want := consumer.Watch{
		Name: "w", Fields: []string{"proc.name", "fd.name"},
		Condition: "(a=b or c=d) or (evt.type in (open, openat) and fd.name startswith " + dir + "/)",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if len(in.Fields) != 1 {
		t.Error("Guard changed its argument")
	}
	if again := f.Guard(got); len(again.Fields) != 2 {
		t.Errorf("a field is asked for twice: %v", again.Fields)
	}
}

func TestToken(t *testing.T) {
	dir := t.TempDir()
	f, err := fence.In(dir)
	if err != nil {
		t.Fatal(err)
	}
	token := fence.NewToken()
	if token == fence.NewToken() {
		t.Error("two fences have one token")
	}
	if err := f.Make(token); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("a fence left %v, %v", left, err)
	}
	if got, ok := f.Token(consumer.Match{Fields: map[string]string{"fd.name": dir + "/" + token}}); !ok || got != token {
		t.Errorf("token %q, %v", got, ok)
	}
	for _, fields := range []map[string]string{nil, {"fd.name": "/etc/shadow"}, {"fd.name": dir}, {"fd.name": dir + "2/x"}} {
		if got, ok := f.Token(consumer.Match{Fields: fields}); ok {
			t.Errorf("%v is taken for fence %q", fields, got)
		}
	}
}
