// SPDX-License-Identifier: Apache-2.0

// Package keyed knows how to hold one lock per key until a deadline.
package keyed

import (
	"context"
	"sync"

	"github.com/mews-farm/mews/kernels/internal/disk"
)

// Locks is one lock per key; waiting for one ends with the context. The zero value is ready.
type Locks[K comparable] struct {
	mu sync.Mutex
	m  map[K]chan struct{}
}

// Lock takes the lock of key and returns what gives it back.
func (l *Locks[K]) Lock(ctx context.Context, key K) (unlock func(), err error) {
	l.mu.Lock()
	if l.m == nil {
		l.m = map[K]chan struct{}{}
	}
	c, ok := l.m[key]
	if !ok {
		c = make(chan struct{}, 1)
		l.m[key] = c
	}
	l.mu.Unlock()
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-ctx.Done():
		return nil, disk.Ctx(ctx, "wait for another fetch of the same")
	}
}
