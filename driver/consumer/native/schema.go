// SPDX-License-Identifier: Apache-2.0

package native

import (
	"sync"

	"github.com/mews-farm/mews/scenarios/rules"
)

// Schema lists the fields of this consumer's events. They mean what they mean to Falco (libsinsp).
var Schema = sync.OnceValue(schema)

// fixed makes the fields that do not depend on the system call.
func fixed() rules.Table {
	return rules.Table{
		"evt.num":           {Kind: rules.Number}, // from 1
		"evt.time":          {Kind: rules.String}, // of day, UTC
		"evt.type":          {Kind: rules.String}, // the system call, at its return; procexit
		"evt.dir":           {Kind: rules.String}, // always <
		"evt.res":           {Kind: rules.String}, // SUCCESS or the name of the error
		"evt.rawres":        {Kind: rules.Number},
		"evt.failed":        {Kind: rules.Bool},
		"evt.is_open_read":  {Kind: rules.Bool},
		"evt.is_open_write": {Kind: rules.Bool},

		"fd.name":       {Kind: rules.String}, // absolute and lexically clean, symlinks stay; of a socket client->server
		"fd.nameraw":    {Kind: rules.String}, // as the caller gave it
		"fd.directory":  {Kind: rules.String},
		"fd.filename":   {Kind: rules.String},
		"fd.num":        {Kind: rules.Number},  // -1 if the file could not be opened
		"fd.type":       {Kind: rules.String},  // file, directory, ipv4, ipv6, unix
		"fd.typechar":   {Kind: rules.String},  // d if a directory was opened, else f; 4, 6 and u of sockets
		"fd.sockfamily": {Kind: rules.String},  // ip or unix
		"fd.l4proto":    {Kind: rules.String},  // tcp, udp, icmp, raw
		"fd.cip":        {Kind: rules.Address}, // the client's address
		"fd.sip":        {Kind: rules.Address}, // the server's
		"fd.lip":        {Kind: rules.Address}, // the local one
		"fd.rip":        {Kind: rules.Address}, // the remote one
		"fd.cip.name":   {Kind: rules.String},  // what the guest's /etc/hosts calls the client's address; nobody asks DNS
		"fd.sip.name":   {Kind: rules.String},
		"fd.lip.name":   {Kind: rules.String},
		"fd.rip.name":   {Kind: rules.String},
		"fd.cnet":       {Kind: rules.Network}, // of the client's address, and so on
		"fd.snet":       {Kind: rules.Network},
		"fd.lnet":       {Kind: rules.Network},
		"fd.rnet":       {Kind: rules.Network},
		"fd.cport":      {Kind: rules.Number},
		"fd.sport":      {Kind: rules.Number},
		"fd.lport":      {Kind: rules.Number},
		"fd.rport":      {Kind: rules.Number},

		"fs.path.name":      {Kind: rules.String}, // what a system call that changes the tree is about, absolute and clean
		"fs.path.nameraw":   {Kind: rules.String}, // as the caller gave it
		"fs.path.source":    {Kind: rules.String}, // of rename and link: what there was; of symlink: the link
		"fs.path.sourceraw": {Kind: rules.String},
		"fs.path.target":    {Kind: rules.String}, // of rename and link: what there is now; of symlink: what it holds
		"fs.path.targetraw": {Kind: rules.String},

		"proc.name":               {Kind: rules.String}, // at most 15 bytes
		"proc.exe":                {Kind: rules.String}, // argv[0]
		"proc.exepath":            {Kind: rules.String},
		"proc.args":               {Kind: rules.String},
		"proc.cmdline":            {Kind: rules.String},
		"proc.cwd":                {Kind: rules.String}, // ends in a slash
		"proc.env":                {Kind: rules.String, Arg: rules.ArgOptional},
		"proc.pid":                {Kind: rules.Number},
		"proc.vpid":               {Kind: rules.Number},
		"proc.ppid":               {Kind: rules.Number},
		"proc.tty":                {Kind: rules.Number}, // 0 if it has none
		"proc.duration":           {Kind: rules.Number}, // nanoseconds since it was forked
		"proc.pname":              {Kind: rules.String},
		"proc.pexe":               {Kind: rules.String}, // argv[0] of the parent
		"proc.pexepath":           {Kind: rules.String},
		"proc.pcmdline":           {Kind: rules.String},
		"proc.pvpid":              {Kind: rules.Number},
		"proc.aname":              ofAncestors(rules.List, rules.String),
		"proc.aexe":               ofAncestors(rules.List, rules.String),
		"proc.aexepath":           ofAncestors(rules.List, rules.String),
		"proc.acmdline":           ofAncestors(rules.List, rules.String),
		"proc.apid":               ofAncestors(rules.Numbers, rules.Number),
		"proc.exe_ino":            {Kind: rules.Number},
		"proc.is_exe_writable":    {Kind: rules.Bool},
		"proc.is_exe_upper_layer": {Kind: rules.Bool},
		"proc.is_exe_from_memfd":  {Kind: rules.Bool},

		// Of the executable's inode, in nanoseconds: since 1970; from its ctime to the fork of whoever executed it; and from the fork of the
		// first process of its pid namespace to its ctime. A time between that is below zero is absent.
		"proc.exe_ino.ctime":                      {Kind: rules.Number},
		"proc.exe_ino.mtime":                      {Kind: rules.Number},
		"proc.exe_ino.ctime_duration_proc_start":  {Kind: rules.Number},
		"proc.exe_ino.ctime_duration_pidns_start": {Kind: rules.Number},

		"user.uid":       {Kind: rules.Number}, // effective
		"user.name":      {Kind: rules.String}, // as the guest's /etc/passwd has it; absent where it has none
		"user.loginuid":  {Kind: rules.Number}, // -1 if nobody logged in
		"user.loginname": {Kind: rules.String},
		"group.gid":      {Kind: rules.Number},
		"group.name":     {Kind: rules.String},

		"container.id":           {Kind: rules.String}, // 12 hexadecimal digits, or host
		"thread.tid":             {Kind: rules.Number},
		"thread.cgroups":         {Kind: rules.String}, // unified=PATH, or pids=PATH where that is of version 1
		"thread.cap_effective":   {Kind: rules.String}, // names with a space between
		"thread.cap_permitted":   {Kind: rules.String},
		"thread.cap_inheritable": {Kind: rules.String},
	}
}

// unsaid are words that libsinsp says of a field and this consumer never does, by field: no caller gives them, Falco's drivers
// add them. A condition about one would be quietly false.
var unsaid = map[string][]string{
	"evt.arg.flags": {"O_F_CREATED", "FD_UPPER_LAYER", "FD_LOWER_LAYER", "EXE_LOWER_LAYER"},
}

// Write is a condition as this consumer takes it, or an [*rules.Error] that names what it would be quietly wrong about.
func Write(e rules.Expr) (string, error) {
	if err := rules.Unsaid(e, unsaid); err != nil {
		return "", err
	}
	return e.String(), nil
}

func ofAncestors(all, one rules.Kind) rules.FieldType {
	return rules.FieldType{Kind: all, Arg: rules.ArgOptional, ArgIndex: true, WithArg: one}
}

// schema is the arguments of the system calls and the fixed fields, and what libsinsp calls the types of all: fields are
// compared with each other only if that is the same.
func schema() rules.Table {
	t := fixed()
	for _, args := range arguments() {
		for _, a := range args {
			t["evt.arg."+a.name] = rules.FieldType{Kind: rules.String}
		}
	}
	for name, ft := range t {
		if theirs, ok := rules.Falco.Field(name); ok {
			ft.Type, ft.Bare = theirs.Type, theirs.Bare
			t[name] = ft
		}
	}
	return t
}
