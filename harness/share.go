// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"sync"

	"github.com/mews-farm/mews/harness/schedule"
)

// shared holds what cells of a run have in common, each made once: an unpacked kernel, its initramfs, disks, a source. The
// first that needs it makes it; the others wait without a place.
type shared struct {
	mu   sync.Mutex
	made map[string]*common
}

type common struct {
	making chan struct{} // holds a token while nobody makes it
	value  any           // nil: it was not made yet
}

func newShared() *shared { return &shared{made: map[string]*common{}} }

func (s *shared) of(key string) *common {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.made[key]
	if c == nil {
		c = &common{making: make(chan struct{}, 1)}
		c.making <- struct{}{}
		s.made[key] = c
	}
	return c
}

// once returns what is shared under key, which make makes, in a step of its own if that is more than a moment's work. What could not be made is tried again by the
// next who needs it.
func once[T any](ctx context.Context, c *cellRun, key string, moment bool, make func() (T, error)) (v T, err error) {
	common := c.shared.of(key)
	c.turn.desk.Raise(key, c.rest())
	waited := c.turn.idle()
	select {
	case <-common.making:
	case <-ctx.Done():
		return v, cancelled(ctx)
	}
	defer func() { common.making <- struct{}{} }()
	waited()
	if v, ok := common.value.(T); ok {
		return v, nil
	}
	if !moment {
		leave, err := c.turn.take(ctx, schedule.Step{Kind: schedule.Fetch, Key: key, Rest: c.rest(), Needs: needs(schedule.Fetch)})
		if err != nil {
			return v, err
		}
		defer leave()
	}
	if v, err = make(); err == nil {
		common.value = v
	}
	return v, err
}
