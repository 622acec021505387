// SPDX-License-Identifier: Apache-2.0

package apt

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/mews-farm/mews/kernels/internal/get"
	"github.com/mews-farm/mews/results/cause"
)

// Suites are those of one architecture as far as they could be read.
type Suites struct {
	names   []string
	indexes map[string]*Index
	errs    map[string]error
}

// Load reads the indexes of suites. One suite's failure is not another's.
func (s *Source) Load(ctx context.Context, suites []string) *Suites {
	indexes, errs := make([]*Index, len(suites)), make([]error, len(suites))
	var g errgroup.Group
	g.SetLimit(4)
	for i, suite := range suites {
		g.Go(func() error {
			indexes[i], errs[i] = s.Index(ctx, suite)
			return nil
		})
	}
	g.Wait()
	l := &Suites{names: suites, indexes: map[string]*Index{}, errs: map[string]error{}}
	for i, suite := range suites {
		if errs[i] != nil {
			l.errs[suite] = errs[i]
		} else {
			l.indexes[suite] = indexes[i]
		}
	}
	return l
}

// Index is that of suite, or why there is none.
func (l *Suites) Index(suite string) (*Index, error) {
	return l.indexes[suite], l.errs[suite]
}

// All is every suite that could be read, or the first error when none could.
func (l *Suites) All() (Universe, error) {
	var u Universe
	for _, name := range l.names {
		if x := l.indexes[name]; x != nil {
			u = append(u, x)
		}
	}
	if len(u) == 0 && len(l.names) > 0 {
		return nil, l.errs[l.names[0]]
	}
	return u, nil
}

// Family is the suites that belong together, such as bookworm and bookworm-security: what a package depends on may lie
// in any of them. Beyond it nothing must be taken: linux-kbuild-6.1 is in bullseye-security too, built for bullseye.
// The error is of one of them that the mirror has and that could not be read.
func (l *Suites) Family(suite string) (u Universe, err error) {
	base, _, _ := strings.Cut(suite, "-")
	for _, name := range l.names {
		if b, _, _ := strings.Cut(name, "-"); b != base {
			continue
		}
		if x := l.indexes[name]; x != nil {
			u = append(u, x)
		} else if !errors.Is(l.errs[name], get.ErrNotFound) {
			err = l.errs[name]
		}
	}
	return u, err
}

// PartsUnread says that parts of a kernel may be in a suite of its family, of which err is the error.
func PartsUnread(release string, err error) error {
	return cause.Errorf(cause.Of(err).Cause, cause.FaultInfra, "parts of %s may be in a suite that could not be read: %w", release, err)
}
