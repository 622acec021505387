// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line of mews: its commands, their flags, what they print and how they exit.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/results"
)

// Streams are where a command writes: what was asked for to Out, everything else to Err.
type Streams struct{ Out, Err io.Writer }

// The exit codes beside those of a run's verdicts (results.ExitExpected, ExitFellShort, ExitLacking).
const (
	exitUsage       = 2
	exitInterrupted = 130
)

// exitError is an error with the exit code it deserves. An empty text prints nothing: all was said already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// Main runs the command that args name and returns the exit code.
func Main(args []string, s Streams) int {
	ctx, stop := interruptible()
	defer stop()
	root := newRoot(s)
	root.SetArgs(args)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return results.ExitExpected
	}
	code := codeOf(err)
	if text := err.Error(); text != "" {
		fmt.Fprintf(s.Err, "mews: %s\n", text)
	}
	return code
}

// codeOf says how a command that returned err exits. What is not classified is a bad call or configuration: the
// troubles of a run are in its verdicts.
func codeOf(err error) int {
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	if harness.Interrupted(err) {
		return exitInterrupted
	}
	return exitUsage
}

// interruptible is a context that the first SIGINT or SIGTERM ends; the second kills mews, and with it every guest.
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	sig := make(chan os.Signal, 2)
	signal.Notify(sig, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-sig
		cancel(harness.ErrInterrupted)
		<-sig
		os.Exit(exitInterrupted)
	}()
	return ctx, func() { signal.Stop(sig); cancel(nil) }
}

func newRoot(s Streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "mews",
		Short: "Boot real kernels, load Falco-style drivers, replay attacks, and say which rules fired",
		Long: `mews boots real distribution kernels, builds and loads every driver variant on them, replays attacks,
and reports which rules fired and which did not.

Exit codes: 0 all as expected; 1 the thing under test fell short; 2 bad usage or configuration;
3 nothing fell short but a verdict is lacking; 130 interrupted.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(newRun(s), newPlan(s), newPerf(s), newBuild(s), newScenarios(s), newShell(s), newResults(s), newKernels(s), newDoctor(s))
	return root
}
