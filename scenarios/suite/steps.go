// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/mews-farm/mews/internal/lazy"
	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/internal/strictyaml"
)

// scope is the fields that steps can be bound to, by resource or step.
type scope map[string][]string

func (s scope) add(name strictyaml.Str, fields ...string) error {
	if name.V == "" || strings.Contains(name.V, ".") {
		return name.Errorf("the name %q must not be empty, and not have a dot", name.V)
	}
	if _, twice := s[name.V]; twice {
		return name.Errorf("two steps or resources are named %q", name.V)
	}
	s[name.V] = fields
	return nil
}

var binding = lazy.Regexp(`^\$\{([^.{}]+)\.([^{}]+)\}$`)

// bound checks a value that is a binding, and reports whether it is one.
func (s scope) bound(value string) (bool, error) {
	m := binding().FindStringSubmatch(value)
	if m == nil {
		return false, nil
	}
	fields, ok := s[m[1]]
	if !ok {
		return true, fmt.Errorf("no earlier step and no resource is named %q%s", m[1], nearest.Hint(m[1], slices.Collect(maps.Keys(s))))
	}
	// Upstream finds the fields of its own structures, whatever the case of the name.
	if f := strings.ToLower(m[2]); !slices.Contains(fields, f) {
		return true, fmt.Errorf("%s has no field %q%s (known: %s)", m[1], m[2], nearest.Hint(f, fields), strings.Join(fields, ", "))
	}
	return true, nil
}

// resources are the keys of each type, and the fields that can be bound.
func resource(raw strictyaml.Raw, known scope) (Resource, error) {
	var head struct {
		Type, Name, Subtype strictyaml.Str
	}
	for key, to := range map[string]*strictyaml.Str{"type": &head.Type, "name": &head.Name, "subtype": &head.Subtype} {
		if n := member(raw.Node, key); n != nil {
			if err := (strictyaml.Raw{File: raw.File, Node: n}).Decode(to); err != nil {
				return Resource{}, err
			}
		}
	}
	if head.Type.V == "" || head.Name.V == "" {
		return Resource{}, raw.Errorf("a resource has a type and a name")
	}
	out := Resource{Name: head.Name.V, Type: head.Type.V, Subtype: head.Subtype.V}
	if err := one(head.Type, "type of resource", []string{"clientServer", "fd", "process"}); err != nil {
		return out, err
	}
	switch out.Type {
	case "clientServer":
		var f struct {
			Type    string         `yaml:"type"`
			Name    string         `yaml:"name"`
			Proto   strictyaml.Str `yaml:"l4Proto,required"`
			Address strictyaml.Str `yaml:"address"`
		}
		if err := raw.Decode(&f); err != nil {
			return out, err
		}
		out.Proto, out.Address = f.Proto.V, f.Address.V
		if err := one(f.Proto, "protocol", []string{"udp4", "udp6", "tcp4", "tcp6", "unix"}); err != nil {
			return out, err
		}
		if _, err := netip.ParseAddrPort(out.Address); err != nil && (out.Proto != "unix" || out.Address != "") {
			return out, f.Address.Errorf("the address %q is no address:port", out.Address)
		}
		return out, known.add(head.Name, "client.fd", "server.fd")
	case "process":
		var f struct {
			Type string                 `yaml:"type"`
			Name string                 `yaml:"name"`
			Path strictyaml.Str         `yaml:"exePath"`
			Args strictyaml.Str         `yaml:"args"`
			Arg0 string                 `yaml:"exe"`
			Proc strictyaml.Str         `yaml:"procName"`
			Env  strictyaml.Map[string] `yaml:"env"`
		}
		if err := raw.Decode(&f); err != nil {
			return out, err
		}
		p, err := processForm{Path: f.Path, Args: f.Args, Arg0: f.Arg0, Name: f.Proc, Env: f.Env}.process()
		if err != nil {
			return out, err
		}
		out.Process = &p
		return out, known.add(head.Name, "pid")
	}
	return out, descriptor(raw, head.Subtype, &out, known, head.Name)
}

// descriptor reads a resource of type fd.
func descriptor(raw strictyaml.Raw, subtype strictyaml.Str, out *Resource, known scope, name strictyaml.Str) error {
	if subtype.V == "" {
		return raw.Errorf("a resource of type fd has a subtype")
	}
	if err := one(subtype, "subtype", []string{"file", "directory", "pipe", "event", "signalfd", "eventpoll", "inotify", "memfd"}); err != nil {
		return err
	}
	var f struct {
		Type string         `yaml:"type"`
		Name string         `yaml:"name"`
		Sub  string         `yaml:"subtype"`
		File strictyaml.Str `yaml:"filePath"`
		Dir  strictyaml.Str `yaml:"dirPath"`
		Mem  strictyaml.Str `yaml:"fileName"`
	}
	if err := raw.Decode(&f); err != nil {
		return err
	}
	out.Path = f.File.V + f.Dir.V + f.Mem.V
	for key, v := range map[string]strictyaml.Str{"file": f.File, "directory": f.Dir, "memfd": f.Mem} {
		if v.V != "" && subtype.V != key {
			return v.Errorf("a resource of subtype %s has no such key", subtype.V)
		}
	}
	if (subtype.V == "file") && out.Path == "" {
		return raw.Errorf("a resource of subtype file has a filePath")
	}
	if subtype.V == "pipe" {
		return known.add(name, "readfd", "writefd")
	}
	return known.add(name, "fd")
}

// kind is what an argument may be.
type kind struct {
	what  string
	flags map[string]uint64 // of a number that may be written as names joined by |
	text  bool              // whatever it is
	addr  bool
}

func (k kind) check(v string) error {
	switch {
	case k.text:
		return nil
	case k.addr:
		_, err := sockaddr(v)
		return err
	}
	_, err := k.number(v)
	return err
}

// number is the value of a number, or of names joined by |.
func (k kind) number(v string) (uint64, error) {
	if n, err := strconv.ParseInt(v, 0, 64); err == nil {
		return uint64(n), nil
	}
	if k.flags == nil {
		return 0, fmt.Errorf("%q is no %s", v, k.what)
	}
	var out uint64
	for name := range strings.SplitSeq(v, "|") {
		name = strings.TrimSpace(name)
		f, ok := k.flags[name]
		if !ok {
			return 0, fmt.Errorf("unknown %s %q%s", k.what, name, nearest.Hint(name, slices.Collect(maps.Keys(k.flags))))
		}
		out |= f
	}
	return out, nil
}

// step reads a step of type syscall.
func step(raw strictyaml.Raw, known scope) (Step, error) {
	var f struct {
		Type    strictyaml.Str                 `yaml:"type,required"`
		Name    strictyaml.Str                 `yaml:"name,required"`
		Syscall strictyaml.Str                 `yaml:"syscall,required"`
		Args    strictyaml.Map[strictyaml.Raw] `yaml:"args"`
	}
	if err := raw.Decode(&f); err != nil {
		return Step{}, err
	}
	out := Step{Name: f.Name.V, Call: f.Syscall.V, Args: map[string]string{}}
	if err := one(f.Type, "type of step", []string{"syscall"}); err != nil {
		return out, err
	}
	if err := one(f.Syscall, "syscall", slices.Sorted(maps.Keys(calls))); err != nil {
		return out, err
	}
	c := calls[out.Call]
	for _, e := range f.Args {
		if n := e.Value.Node; n.Kind == yaml.MappingNode && e.Key.V == "how" && out.Call == "openat2" {
			var how strictyaml.Map[strictyaml.Raw]
			if err := e.Value.Decode(&how); err != nil {
				return out, err
			}
			for _, h := range how {
				h.Key.V = "how." + h.Key.V
				if err := c.take(out, h.Key, h.Value, known); err != nil {
					return out, err
				}
			}
			continue
		}
		if err := c.take(out, e.Key, e.Value, known); err != nil {
			return out, err
		}
	}
	for _, name := range c.required {
		if _, ok := out.Args[name]; !ok {
			return out, f.Syscall.Errorf("%s lacks its argument %q", out.Call, name)
		}
	}
	fields := []string{"ret"}
	for name := range c.args {
		fields = append(fields, "args."+strings.ToLower(name))
	}
	return out, known.add(f.Name, fields...)
}

// take puts an argument into s.
func (c call) take(s Step, key strictyaml.Str, raw strictyaml.Raw, known scope) error {
	k, ok := c.args[key.V]
	if !ok {
		return key.Errorf("%s has no argument %q%s (known: %s)", s.Call, key.V, nearest.Hint(key.V, slices.Collect(maps.Keys(c.args))), strings.Join(slices.Sorted(maps.Keys(c.args)), ", "))
	}
	var v strictyaml.Str
	if err := raw.Decode(&v); err != nil {
		return err
	}
	is, err := known.bound(v.V)
	if !is && err == nil {
		err = k.check(v.V)
	}
	if err != nil {
		return v.Errorf("%v", err)
	}
	s.Args[key.V] = v.V
	return nil
}
