// SPDX-License-Identifier: Apache-2.0

// Command mews-agent is the guest side of mews: init of a virtual machine, the agent that serves the
// controller, and the processes that the agent starts to do a deed.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/mews-farm/mews/driver/ptrace"
	"github.com/mews-farm/mews/harness/agent/guest"
	"github.com/mews-farm/mews/harness/agent/meter"
	"github.com/mews-farm/mews/scenarios"
	"github.com/mews-farm/mews/scenarios/suite"
)

// The main goroutine stays on the main thread, whose id is the process's: what it forks has a parent that every driver
// names the same.
func init() { runtime.LockOSThread() }

func main() {
	if os.Args[0] == "/init" && os.Getpid() == 1 {
		guest.Die(guest.Init())
	}
	if os.Getenv(suite.EnvAct) != "" {
		// Its arguments are those that a test wants it to have.
		if err := suite.Follow(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintf(os.Stderr, "mews-agent: %v\n", err)
			os.Exit(1)
		}
		return
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "mews-agent: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case scenarios.ActingAs():
		return scenarios.ActAs(context.Background())
	case len(args) >= 2 && args[0] == "serve":
		return guest.ServePort(args[1], args[2:])
	case len(args) == 1 && args[0] == "act":
		return scenarios.Act(context.Background(), os.Stdin, os.Stdout)
	case len(args) == 3 && args[0] == "check":
		return guest.Check(args[2], os.Stdout)
	case len(args) == 1 && args[0] == guest.CrowdWord:
		return guest.Crowd()
	case len(args) == 2 && args[0] == "fences":
		return guest.Fences(args[1], os.Stdin, os.Stdout)
	case len(args) == 2 && args[0] == meter.Word:
		return meter.Run(args[1], os.Stdin, os.Stdout)
	case len(args) == 2 && args[0] == meter.StrainWord:
		return meter.Strain(args[1], os.Stdin, os.Stdout)
	case len(args) == 1 && args[0] == ptrace.TraceWord:
		return ptrace.Trace()
	case len(args) > 1 && args[0] == ptrace.ExecWord:
		return ptrace.Exec(args[1:])
	}
	return errors.New("usage: mews-agent serve PORT [MODULE...] | act | check WORD PATH | crowd | fences DIR | measure DIR | strain DIR (it is no command for people)")
}
