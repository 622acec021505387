// SPDX-License-Identifier: Apache-2.0

// Package kernels knows what a bootable kernel consists of: its identity, the packages that hold it,
// and the boot files, headers, configuration and modules that come out of them.
//
// Where kernels can be had is the business of its folders (debian, ...), which resolve a name to a [Resolved].
package kernels

import "github.com/mews-farm/mews/kernels/archive"

// Kernel is the identity of one kernel build.
type Kernel struct {
	Distro  string `json:"distro"`             // "debian", ...
	Release string `json:"release"`            // uname -r
	Version string `json:"version"`            // the number after # of uname -v; Debian builds each version once: "1"
	Arch    string `json:"arch"`               // x86_64 or aarch64
	BuildID string `json:"build_id,omitempty"` // where the release is not unique (COS); empty for Debian
}

// Package is one distribution package, named by its content.
type Package struct {
	Name    string         `json:"name"`
	Version string         `json:"version,omitempty"` // in the distribution's own notation
	Arch    string         `json:"arch,omitempty"`    // in the distribution's own notation: amd64, all, ...
	URL     string         `json:"url,omitempty"`     // where it is fetched from when the archive does not hold it
	Digest  archive.Digest `json:"digest,omitempty"`  // SHA-256; empty where the source publishes none, and Sum is there then
	Size    int64          `json:"size,omitempty"`    // bytes; 0 where it is not published
	Sum     string         `json:"sum,omitempty"`     // the published checksum where Digest is empty: md5:..., sha1:..., sha512:...
	Index   string         `json:"index,omitempty"`   // what names it: a suite, a repository's URL; empty where that is not an index
}

// Resolved is a kernel whose packages were found in a verified index. Nothing is fetched yet.
type Resolved struct {
	Kernel         Kernel
	Suite          string    // where the image came from
	PackageVersion string    // of the image package: 6.1.192-2
	Image          []Package // hold the boot image, modules and config; the image package itself first
	Headers        []Package // hold what external modules are built against; empty when any is gone
	HeadersWanted  []string  // the header packages looked for, each "name (constraint)"
	HeadersMissing []string  // those of HeadersWanted that no index held
}

// EventKind says what an [Event] reports on.
type EventKind string

// The kinds of progress.
const (
	EventFetch  EventKind = "fetch"  // bytes over the network
	EventUnpack EventKind = "unpack" // bytes of packages unpacked, as packed
)

// Event is progress on one item. The last event of an item has Done == Total.
type Event struct {
	Kind  EventKind
	Item  string // the file or package
	Done  int64  // bytes
	Total int64  // bytes; -1 when not known
}
