// SPDX-License-Identifier: Apache-2.0

package native

import (
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/scenarios/rules"
)

// accounts are the names of users and groups, as of when they were read. Like Falco it knows those of the host alone.
type accounts struct{ users, groups map[int]string }

// maxAccounts bounds what is read of /etc/passwd and /etc/group.
const maxAccounts = 1 << 20

func readAccounts() *accounts {
	return &accounts{users: accountsOf("/etc/passwd"), groups: accountsOf("/etc/group")}
}

// head is what a file begins with, "" if it cannot be read.
func head(file string, limit int64) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return ""
	}
	return string(text)
}

// accountsOf reads name:password:number lines. A guest that has none has no names.
func accountsOf(file string) map[int]string {
	m := map[int]string{}
	for line := range strings.Lines(head(file, maxAccounts)) {
		parts := strings.SplitN(line, ":", 4)
		if len(parts) < 4 {
			continue
		}
		if id, err := strconv.Atoi(parts[2]); err == nil && m[id] == "" {
			m[id] = parts[0]
		}
	}
	return m
}

func (a *accounts) user(id int) (rules.Value, bool)  { return nonEmpty(a.users[id], a.users[id]) }
func (a *accounts) group(id int) (rules.Value, bool) { return nonEmpty(a.groups[id], a.groups[id]) }
