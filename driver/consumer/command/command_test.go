// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mews-farm/mews/results/cause"
)

func TestRun(t *testing.T) {
	for _, c := range []struct {
		name   string
		script string
		state  cause.State // empty: nil
		cause  cause.Cause
		says   string // in the evidence
	}{
		{"passes", "echo 50 events", "", "", ""},
		{"unsupported", "echo ring buffer map type is not supported >&2; exit 95", cause.Unsupported, cause.ConsumerUnsupported, "ring buffer"},
		{"fails", "echo no event; exit 1", cause.Fail, cause.ConsumerFailed, "no event"},
		{"nearly unsupported", "exit 94", cause.Fail, cause.ConsumerFailed, ""},
		{"killed", "kill -SEGV $$", cause.Error, cause.ConsumerBroken, ""},
		{"hangs", "echo before; sleep 600", cause.Error, cause.ConsumerBroken, "before"},
		{"endless line", "yes | tr -d '\\n'", cause.Error, cause.ConsumerBroken, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			limit := time.Minute
			if c.name == "hangs" {
				limit = time.Second // it ends by its deadline alone
			}
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			_, err := Run(ctx, []string{"sh", "-c", c.script}, nil)
			if c.state == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var e *cause.Err
			if !errors.As(err, &e) || e.State != c.state || e.Cause != c.cause {
				t.Fatalf("%v, want %s %s", err, c.state, c.cause)
			}
			var text strings.Builder
			for _, ev := range e.Evidence {
				text.WriteString(ev.String() + "\n")
			}
			if !strings.Contains(text.String(), c.says) {
				t.Errorf("%q is not in the evidence %q", c.says, text.String())
			}
		})
	}
	if _, err := Run(context.Background(), []string{"/no/such/program"}, nil); err == nil {
		t.Error("a program that is not there ran")
	}
}

func TestOutputIsBounded(t *testing.T) {
	r, err := Run(context.Background(), []string{"seq", "100000"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Output) != maxLines+1 || r.Output[0] != "1" || r.Output[maxLines] != "100000" || !strings.Contains(r.Output[maxLines/2], "99800 lines") {
		t.Errorf("%d lines, %q", len(r.Output), r.Output[maxLines/2])
	}
}
