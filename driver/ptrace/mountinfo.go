// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"strconv"
	"strings"
)

// mounted is one line of /proc/PID/mountinfo, proc(5).
type mounted struct {
	id     int
	root   string // what of the filesystem is mounted
	point  string // where, as the process sees it
	fstype string
	super  map[string]string // options of the filesystem; a flag has ""
}

// mountWithID finds a mount. What is not in the list is mounted nowhere, as the filesystem of memfds.
func mountWithID(mountinfo string, id int) (m mounted, ok bool) {
	for line := range strings.Lines(mountinfo) {
		m, ok := parseMount(line)
		if ok && m.id == id {
			return m, true
		}
	}
	return mounted{}, false
}

func parseMount(line string) (m mounted, ok bool) {
	before, after, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
	head, tail := strings.Split(before, " "), strings.Split(after, " ")
	if !ok || len(head) < 6 || len(tail) < 3 {
		return mounted{}, false
	}
	id, err := strconv.Atoi(head[0])
	if err != nil {
		return mounted{}, false
	}
	m = mounted{id: id, root: unescape(head[3]), point: unescape(head[4]), fstype: tail[0], super: map[string]string{}}
	for _, option := range strings.Split(tail[2], ",") {
		key, value, _ := strings.Cut(option, "=")
		m.super[key] = unescape(value)
	}
	return m, true
}

// unescape undoes the kernel's mangling, seq_escape(): \ and three octal digits are a byte. The backslash itself is
// mangled, and in an option a comma too, so that nothing else needs undoing.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
