// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"time"

	"github.com/mews-farm/mews/results/cause"
)

// Availability says whether a catalogue's kernel can be had.
type Availability string

// The availabilities.
const (
	Available Availability = "available" // its source listed it when it was last asked
	Withdrawn Availability = "withdrawn" // its source listed it once and does so no more; the archive may hold it
	Entitled  Availability = "entitled"  // only with a subscription; Entry.Access says where
)

// Entry is one kernel of the catalogue: who it is, where it can be had, and what is known of it without having it.
type Entry struct {
	Kernel
	Source         string       `json:"source"` // the name of the Source that knows it: debian, ubuntu, amazon, rocky, cos, import, ...
	Repo           string       `json:"repo"`   // where in the source: a suite, a releasever, a repository
	Flavour        string       `json:"flavour,omitempty"`
	PackageVersion string       `json:"package_version,omitempty"`
	Image          []Package    `json:"image,omitempty"`   // as in Resolved; may be empty until Source.Resolve
	Headers        []Package    `json:"headers,omitempty"` // likewise
	Availability   Availability `json:"availability"`
	Access         string       `json:"access,omitempty"` // how to have an entitled kernel
	Policies       []Policy     `json:"policies,omitempty"`
	Unbootable     string       `json:"unbootable,omitempty"` // why it cannot boot in QEMU; empty: nothing is known against it
	FirstSeen      time.Time    `json:"first_seen,omitzero"`
	LastSeen       time.Time    `json:"last_seen,omitzero"`
}

// Policy is what a kernel is known to refuse whatever the driver: kmod on COS, by LoadPin.
type Policy struct {
	Variant string      `json:"variant"` // kmod, ebpf, modern_ebpf
	Cause   cause.Cause `json:"cause"`
	Reason  string      `json:"reason"` // with its source
}

// Source is one place that kernels come from. It is safe for concurrent use.
type Source interface {
	// Name is what catalogue entries and selectors call the source.
	Name() string
	// Enumerate lists every kernel the source has now. Parts of it that could not be read are joined in the
	// error, each as a [RepoError], beside what could: a caller keeps its last good list for those Repos.
	Enumerate(ctx context.Context) ([]Entry, error)
	// Resolve finds the packages of an entry, verified against the source's signed index or published digests.
	// A withdrawn entry resolves as long as its packages are in the archive.
	Resolve(ctx context.Context, e Entry) (*Resolved, error)
	Fetcher
}

// RepoError says which repo of a source could not be listed whole. An error of Enumerate that names no repo may
// concern every one of them.
type RepoError struct {
	Repo string // as in Entry.Repo
	Err  error
}

func (e *RepoError) Error() string { return e.Repo + ": " + e.Err.Error() }

func (e *RepoError) Unwrap() error { return e.Err }
