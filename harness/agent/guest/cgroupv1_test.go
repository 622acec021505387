// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// What the kernel says meanwhile is waited for, within the deed's time; anything else is the answer.
func TestEventually(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name    string
		ctx     context.Context
		answers []error // the last again and again
		want    error
		asked   int
	}{
		{"at once", t.Context(), []error{nil}, nil, 1},
		{"after a while", t.Context(), []error{unix.EBUSY, unix.EBUSY, nil}, nil, 3},
		{"another error", t.Context(), []error{unix.EBUSY, unix.EINVAL}, unix.EINVAL, 2},
		{"not in its time", over, []error{unix.EBUSY}, unix.EBUSY, 1},
	} {
		asked := 0
		err := eventually(c.ctx, func() error {
			asked++
			return c.answers[min(asked, len(c.answers))-1]
		}, unix.EBUSY)
		if !errors.Is(err, c.want) || err != nil && c.want == nil || asked != c.asked {
			t.Errorf("%s: %v after %d; want %v after %d", c.name, err, asked, c.want, c.asked)
		}
	}
}

func TestRootsAlone(t *testing.T) {
	const head = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n"
	for _, c := range []struct {
		table string
		alone bool
	}{
		{head + "cpu\t3\t1\t1\npids\t2\t1\t1\nmemory\t0\t9\t1\n", true},
		{head + "cpu\t3\t1\t1\npids\t2\t2\t1\n", false},
		{head + "pids\t0\t9\t1\n", true},   // given back already
		{head + "memory\t4\t9\t1\n", true}, // somebody else's
	} {
		if err := rootsAlone(c.table, []string{"pids", "cpu"}); (err == nil) != c.alone || err != nil && !errors.Is(err, unix.EBUSY) {
			t.Errorf("%q: %v", c.table, err)
		}
	}
}
