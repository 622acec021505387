// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"maps"
	"strings"
	"sync"
)

// Falco is the vocabulary of the source syscall: the fields of libsinsp 0.41.4's sysdig (what `sysdig -l -v` lists; a
// test holds the two against each other) and those of Falco's container plug-in (its README of 2026).
var Falco Schema = falco{}

type falco struct{}

// Field implements [Schema].
func (falco) Field(name string) (FieldType, bool) {
	if ft, ok := falcoFields()[name]; ok {
		return ft, true
	}
	// evt.arg.flags is the field evt.arg with an argument of its own form.
	for prefix, ft := range dotted {
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" {
			return ft, true
		}
	}
	return FieldType{}, false
}

// Fields implements [Lister].
func (falco) Fields() []string {
	names := make([]string, 0, len(falcoFields()))
	for n := range maps.Keys(falcoFields()) {
		names = append(names, n)
	}
	return names
}

// FilterOnly reports whether libsinsp compares a field and refuses to print it ("is filter only and cannot be used as a
// display field"): what stands for either end of a connection has no one value, and a network is a question.
func FilterOnly(name string) bool {
	name, _, _ = strings.Cut(name, "[")
	return filterOnly[name]
}

var filterOnly = setOf(strings.Fields("evt.around fd.cnet fd.ip fd.lnet fd.net fd.port fd.proto fd.rnet fd.snet"))

// dotted are the fields whose argument follows a dot.
var dotted = map[string]FieldType{
	"evt.arg.":       {Kind: String, Type: "CHARBUF"},
	"evt.rawarg.":    {Kind: Dynamic, Type: "DYNAMIC", Bare: true},
	"evt.abspath.":   {Kind: String, Type: "CHARBUF"},
	"evt.type.is.":   {Kind: Number, Type: "UINT32"},
	"thread.cgroup.": {Kind: String, Type: "CHARBUF"},
}

var falcoFields = sync.OnceValue(func() Table {
	t := Table{}
	for _, group := range fieldGroups {
		for name := range strings.FieldsSeq(group.names) {
			t[name] = group.FieldType
		}
	}
	return t
})

// fieldGroups are the fields by type. evt.dir is not listed any more, and still taken.
var fieldGroups = []struct {
	FieldType
	names string
}{
	{FieldType{Kind: String, Type: "CHARBUF"}, `
		evt.args evt.asynctype evt.category evt.datetime evt.datetime.s evt.dir evt.hostname evt.info
		evt.io_dir evt.plugininfo evt.pluginname evt.res evt.source evt.time evt.time.iso8601 evt.time.s
		evt.type fd.containerdirectory fd.containername fd.cproto fd.directory fd.filename fd.l4proto
		fd.lproto fd.name fd.nameraw fd.rproto fd.sockfamily fd.sproto fd.type fd.typechar fd.uid
		fdlist.cips fdlist.cports fdlist.names fdlist.nums fdlist.sips fdlist.sports fs.path.name
		fs.path.nameraw fs.path.source fs.path.sourceraw fs.path.target fs.path.targetraw group.name
		proc.cmdline proc.cwd proc.exe proc.exeline proc.exepath proc.name proc.pcmdline proc.pexe
		proc.pexepath proc.pgid.exe proc.pgid.exepath proc.pgid.name proc.pname proc.sid.exe
		proc.sid.exepath proc.sname proc.stderr.name proc.stderr.type proc.stdin.name proc.stdin.type
		proc.stdout.name proc.stdout.type proc.vpgid.exe proc.vpgid.exepath proc.vpgid.name syscall.type
		thread.cap_effective thread.cap_inheritable thread.cap_permitted thread.cgroups user.homedir
		user.loginname user.name user.shell`},
	{FieldType{Kind: Bool, Type: "BOOL"}, `
		evt.failed evt.is_async evt.is_io evt.is_io_read evt.is_io_write evt.is_open_create evt.is_open_exec
		evt.is_open_read evt.is_open_write evt.is_syslog evt.is_wait fd.connected fd.is_lower_layer
		fd.is_server fd.is_upper_layer fd.name_changed proc.is_exe_from_memfd proc.is_exe_lower_layer
		proc.is_exe_upper_layer proc.is_exe_writable proc.is_pgid_leader proc.is_sid_leader
		proc.is_vpgid_leader thread.ismain`},
	{FieldType{Kind: Number, Type: "INT64"}, `
		evt.rawres fd.ino fd.num proc.exe_ino proc.fdlimit proc.loginshellid proc.pgid proc.pid proc.ppid
		proc.pvpid proc.sid proc.vpgid proc.vpid thread.tid thread.vtid user.loginuid`},
	{FieldType{Kind: Number, Type: "UINT64"}, `
		evt.buflen evt.num proc.cmdlenargs proc.cmdnargs proc.fdopencount proc.nchilds proc.nthreads
		proc.pidns_init_start_ts proc.vmrss proc.vmsize proc.vmswap thread.pfmajor thread.pfminor
		thread.vmrss thread.vmsize`},
	{FieldType{Kind: Number, Type: "RELTIME"}, `
		evt.deltatime evt.deltatime.ns evt.deltatime.s evt.reltime evt.reltime.ns evt.reltime.s
		proc.duration proc.pid.ts proc.ppid.duration proc.ppid.ts thread.exectime thread.totexectime`},
	{FieldType{Kind: Number, Type: "UINT32"}, `
		evt.count evt.count.error evt.count.error.file evt.count.error.memory evt.count.error.net
		evt.count.error.other evt.count.exit group.gid proc.tty user.uid`},
	{FieldType{Kind: Number, Type: "ABSTIME"}, `
		evt.rawtime evt.rawtime.ns evt.rawtime.s proc.exe_ino.ctime proc.exe_ino.ctime_duration_pidns_start
		proc.exe_ino.ctime_duration_proc_start proc.exe_ino.mtime`},
	{FieldType{Kind: Network, Type: "IPNET"}, `fd.cnet fd.lnet fd.net fd.rnet fd.snet`},
	{FieldType{Kind: Address, Type: "IPADDR"}, `fd.cip fd.lip fd.rip fd.sip`},
	{FieldType{Kind: String, Type: "CHARBUF", Bare: true}, `fd.cip.name fd.lip.name fd.rip.name fd.sip.name`},
	{FieldType{Kind: Number, Type: "PORT"}, `fd.cport fd.lport fd.rport fd.sport`},
	{FieldType{Kind: List, Type: "CHARBUF", Arg: ArgOptional, ArgIndex: true, WithArg: String}, `proc.acmdline proc.aexe proc.aexepath proc.aname`},
	{FieldType{Kind: Number, Type: "DOUBLE"}, `proc.fdusage thread.cpu thread.cpu.system thread.cpu.user`},
	{FieldType{Kind: Number, Type: "INT32"}, `fd.dev fd.dev.major fd.dev.minor`},
	{FieldType{Kind: Number, Type: "PORT", Bare: true}, `fd.port fd.proto`},
	{FieldType{Kind: String, Type: "CHARBUF", Arg: ArgOptional, ArgIndex: true}, `proc.aargs proc.args`},
	{FieldType{Kind: Bytes, Type: "BYTEBUF"}, `evt.buffer`},
	{FieldType{Kind: Number, Type: "INT16"}, `evt.cpu`},
	{FieldType{Kind: Address, Type: "IPADDR", Bare: true}, `fd.ip`},
	{FieldType{Kind: Members, Type: "CHARBUF", Arg: ArgOptional, ArgIndex: true}, `fd.types`},
	{FieldType{Kind: List, Type: "CHARBUF", Arg: ArgOptional, WithArg: String}, `proc.aenv`},
	{FieldType{Kind: Numbers, Type: "INT64", Arg: ArgOptional, ArgIndex: true, WithArg: Number}, `proc.apid`},
	{FieldType{Kind: String, Type: "CHARBUF", Arg: ArgOptional}, `proc.env`},
	{FieldType{Kind: String, Type: "CHARBUF", Arg: ArgRequired, ArgIndex: true}, `evt.arg`},
	{FieldType{Kind: String, Type: "CHARBUF"}, `evt.abspath`},
	{FieldType{Kind: Number, Type: "UINT64", Arg: ArgRequired, ArgIndex: true, Bare: true}, `evt.around`},

	// The plug-in's. Types are those of the plug-in API.
	{FieldType{Kind: String, Type: "CHARBUF"}, `
		container.id container.full_id container.name container.image container.image.id container.image.repository
		container.image.tag container.image.digest container.type container.mounts container.healthcheck
		container.liveness_probe container.readiness_probe container.ip container.cni.json container.labels k8s.pod.name k8s.pod.id
		k8s.pod.uid k8s.pod.full_sandbox_id k8s.pod.sandbox_id k8s.pod.labels k8s.pod.ip k8s.pod.cni.json k8s.ns.name k8s.ns.id`},
	{FieldType{Kind: String, Type: "CHARBUF", Arg: ArgRequired}, `
		container.mount container.mount.source container.mount.dest container.mount.mode container.mount.rdwr
		container.mount.propagation container.label k8s.pod.label`},
	{FieldType{Kind: Bool, Type: "BOOL"}, `
		container.privileged container.host_pid container.host_network container.host_ipc proc.is_container_healthcheck
		proc.is_container_liveness_probe proc.is_container_readiness_probe`},
	{FieldType{Kind: Number, Type: "ABSTIME"}, `container.start_ts`},
	{FieldType{Kind: Number, Type: "RELTIME"}, `container.duration`},
}
