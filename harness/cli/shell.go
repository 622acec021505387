// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/live"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/scenarios"
)

// guestOfShell is the driver whose guest a shell is opened in where none is named: its userland has the fewest parts. It is not
// loaded.
const guestOfShell = "mews-modern"

func newShell(s Streams) *cobra.Command {
	var f selectFlags
	var driver string
	var memory int
	c := &cobra.Command{
		Use:   "shell KERNEL [--driver D]",
		Short: "Boot a kernel as a run does, and open a shell in the guest",
		Long: `shell boots the kernel with the guest that a run would have, loads the driver if one is named, and opens a shell in it.
Ctrl-] leaves, and so does the end of the shell. The guest has no network and keeps nothing: it is gone afterwards.`,
		Example: `  mews shell debian-6.1
  mews shell 'debian:7.*-cloud-amd64' --driver falco-kmod
  echo 'uname -r; dmesg | tail' | mews shell debian-5.10`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f.sel = harness.Selection{Kernels: args, Drivers: []string{driver}}
			if driver == "" {
				f.sel.Drivers = []string{guestOfShell}
			}
			return openShell(c.Context(), s, f, driver != "", memory)
		},
	}
	c.Flags().StringVarP(&f.file, "file", "f", "matrix.yaml", "the matrix")
	c.Flags().StringVar(&driver, "driver", "", "load this `driver` of the matrix")
	c.Flags().BoolVar(&f.offline, "offline", false, "use the archive alone; touch no network")
	c.Flags().IntVar(&memory, "memory", 640, "memory of the guest in `MiB`")
	return c
}

func openShell(ctx context.Context, s Streams, f selectFlags, load bool, memory int) error {
	binary, err := agentBinary()
	if err != nil {
		return err
	}
	e, err := open(f, binary, warnTo(s.Err))
	if err != nil {
		return err
	}
	plan, err := e.plan(ctx)
	if err != nil {
		return err
	}
	if len(plan.Cells) != 1 {
		return fmt.Errorf("%v with %v is %d guests, and a shell is of one: name a release", f.sel.Kernels, f.sel.Drivers, len(plan.Cells))
	}
	cell := plan.Cells[0]
	acc, err := accelerator(ctx, e.shop, plan)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mews-shell-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	kernel, _ := cell.Label()
	fmt.Fprintf(s.Err, "mews: booting %s (%s)\n", kernel, acc.Name())
	r := &harness.Runner{Parts: e.shop, Starter: qemu.Starter{Accel: acc}, Patience: harness.Patience(acc.Scale(time.Second).Seconds()),
		MemoryMiB: memory, Recorder: func(string) harness.Recorder { return unrecorded(dir) }, View: live.New(io.Discard)}
	if err := r.Visit(ctx, cell, load, func(ctx context.Context, c *agent.Client) error { return visit(ctx, s, c) }); err != nil {
		return &exitError{results.ExitLacking, fmt.Errorf("%+v", err)}
	}
	return nil
}

// unrecorded keeps nothing but a directory for logs, while the guest lives.
type unrecorded string

func (unrecorded) Start(string) error                             { return nil }
func (unrecorded) Stage(results.Stage) error                      { return nil }
func (unrecorded) Scenario(results.Scenario) error                { return nil }
func (unrecorded) Perf(...results.Perf) error                     { return nil }
func (unrecorded) Alerts(string, string, []scenarios.Alert) error { return nil }
func (d unrecorded) Dir() string                                  { return filepath.Clean(string(d)) }

const (
	leave     = 0x1d // Ctrl-]
	endOfFile = 0x04
)

// visit joins this terminal to a shell in the guest, until that ends or Ctrl-] is typed. Where there is no terminal, what is to
// be typed is read to its end.
func visit(ctx context.Context, s Streams, c *agent.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fd := int(os.Stdin.Fd())
	interactive := term.IsTerminal(fd)
	var size agent.Size
	if interactive {
		fmt.Fprintf(s.Err, "mews: kernel %s; Ctrl-] leaves\n", c.Hello().Release)
		old, err := term.MakeRaw(fd)
		if err != nil {
			return err
		}
		defer term.Restore(fd, old)
		size = terminalSize(fd)
		resized := make(chan os.Signal, 1)
		signal.Notify(resized, syscall.SIGWINCH)
		defer signal.Stop(resized)
		go func() {
			for {
				select {
				case <-resized:
					_ = c.ShellInput(ctx, nil, terminalSize(fd)) // the next call says if the guest is gone
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	if err := c.ShellInput(ctx, nil, size); err != nil {
		return err
	}
	typed := make(chan error, 1)
	go func() { typed <- typing(ctx, c, os.Stdin, interactive) }()
	said := make(chan error, 1)
	go func() { said <- listening(ctx, c, s.Out) }()
	for {
		select {
		case err := <-said:
			return err
		case err := <-typed:
			if err != nil || interactive {
				return err
			}
			typed = nil // what was read is still being done
		}
	}
}

func terminalSize(fd int) agent.Size {
	columns, rows, err := term.GetSize(fd)
	if err != nil {
		return agent.Size{}
	}
	return agent.Size{Rows: rows, Columns: columns}
}

// typing hands on what is typed, until it ends or Ctrl-] is among it.
func typing(ctx context.Context, c *agent.Client, in io.Reader, interactive bool) error {
	buf := make([]byte, 4<<10)
	for {
		n, err := in.Read(buf)
		text := buf[:n]
		left := interactive && bytes.IndexByte(text, leave) >= 0
		if left {
			text = text[:bytes.IndexByte(text, leave)]
		}
		if err != nil && !interactive {
			text = append(bytes.Clone(text), endOfFile)
		}
		if len(text) > 0 {
			if sent := c.ShellInput(ctx, text, agent.Size{}); sent != nil {
				return sent
			}
		}
		switch {
		case left || errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// listening prints what the shell says until it ends.
func listening(ctx context.Context, c *agent.Client, out io.Writer) error {
	for {
		said, ended, code, err := c.ShellOutput(ctx)
		if err != nil {
			return err
		}
		if _, err := out.Write(said); err != nil {
			return err
		}
		if ended {
			if code != 0 {
				return fmt.Errorf("the shell ended with %d", code)
			}
			return nil
		}
	}
}
