// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Age has to do with how long the acting process runs. Some rules forgive what a program does in its first seconds.
type Age struct {
	AtLeast string `yaml:"at_least" json:"at_least,omitempty"` // waits until it is that old
	AtMost  string `yaml:"at_most" json:"at_most,omitempty"`   // fails if it is older: what was done before came too late
}

// maxAge is the longest that a deed may wait: it has a deadline of its own.
const maxAge = 7 * time.Second

// Kind implements [Action].
func (Age) Kind() string { return "age" }

// Do implements [Action].
func (a Age) Do(ctx context.Context) (Detail, error) {
	d := Detail{FD: -1}
	least, most, err := a.values()
	if err != nil {
		return d, err
	}
	age, err := ownAge()
	switch {
	case err != nil:
		return d, err
	case most != 0 && age > most:
		return d, fmt.Errorf("the process is %v old, and was to be %v at most: the machine is too slow for this deed", age, most)
	}
	select {
	case <-time.After(least - age):
		return d, nil
	case <-ctx.Done():
		return d, context.Cause(ctx)
	}
}

// ownAge is how long ago the kernel made this process, to a hundredth of a second.
func ownAge() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0, err
	}
	// Of what follows the name in brackets, starttime is the twentieth, in clock ticks, 100 a second for all programs.
	words := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(words) < 20 {
		return 0, fmt.Errorf("/proc/self/stat has %d words behind the name", len(words))
	}
	ticks, err := strconv.ParseInt(words[19], 10, 64)
	if err != nil {
		return 0, err
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, err
	}
	return time.Duration(now.Nano()) - time.Duration(ticks)*(time.Second/100), nil
}

func (a Age) values() (least, most time.Duration, err error) {
	for _, v := range []struct {
		text string
		to   *time.Duration
	}{{a.AtLeast, &least}, {a.AtMost, &most}} {
		if v.text == "" {
			continue
		}
		if *v.to, err = time.ParseDuration(v.text); err != nil || *v.to <= 0 || *v.to > maxAge {
			return 0, 0, fmt.Errorf("%q is no time of up to %v, as in 5500ms", v.text, maxAge)
		}
	}
	if (least == 0) == (most == 0) {
		return 0, 0, errors.New("an age is at_least a time, or at_most")
	}
	return least, most, nil
}

func (a Age) check() error {
	_, _, err := a.values()
	return err
}

func (Age) needs() []string { return nil }

func (a Age) fill(sub substitution) (Action, error) { return filled(a, sub) }
