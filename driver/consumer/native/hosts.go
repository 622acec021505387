// SPDX-License-Identifier: Apache-2.0

package native

import (
	"net/netip"
	"strings"
)

// hosts are the names of addresses, as of when they were read. Falco asks the resolver for the names that rules have; here
// the host's own file is all there is, and of several names of an address the first counts.
type hosts map[netip.Addr]string

// maxHosts bounds what is read of /etc/hosts.
const maxHosts = 1 << 20

func readHosts(file string) hosts {
	h := hosts{}
	for line := range strings.Lines(head(file, maxHosts)) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		if ip, err := netip.ParseAddr(words[0]); err == nil && h[ip.Unmap()] == "" {
			h[ip.Unmap()] = words[1]
		}
	}
	return h
}
