// SPDX-License-Identifier: Apache-2.0

package sysdig

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/results/cause"
)

// Bounds of what is kept of one process: an event with a whole environment is below 16 KiB.
const (
	maxLine   = 1 << 20
	maxStderr = 64 << 10
)

// process is one sysdig and its watch.
type process struct {
	watch  consumer.Watch
	cmd    *exec.Cmd
	stderr limited
	ready  chan struct{} // closed at the first fence
	once   sync.Once
	done   chan struct{} // closed when it has ended and everything it printed was delivered

	// Set before done is closed.
	readErr error // a line that is not an event
	waitErr error
}

func (p *process) start(cmd *exec.Cmd, deliver func(*process, consumer.Match)) error {
	p.cmd = cmd
	cmd.Stderr = &p.stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		defer close(p.done)
		p.readErr = p.read(out, deliver)
		p.waitErr = cmd.Wait()
	}()
	return nil
}

func (p *process) read(r io.Reader, deliver func(*process, consumer.Match)) error {
	var first error
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		m, err := ParseLine(lines.Bytes(), p.watch)
		if err != nil {
			// Go on reading, or sysdig blocks and the driver drops; the process is reported broken at its end.
			if first == nil {
				first = err
			}
			continue
		}
		deliver(p, m)
	}
	if err := lines.Err(); err != nil && first == nil {
		first = err
		p.cmd.Process.Kill() // nobody reads on
	}
	return first
}

// interrupt asks the process to end with its totals. One that has ended already is died's matter.
func (p *process) interrupt() error {
	select {
	case <-p.done:
		return p.died()
	default:
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "interrupt sysdig for %s: %w", p.watch.Name, err)
	}
	return nil
}

// died says why a process ended that should not have.
func (p *process) died() error {
	text := p.stderr.String()
	if strings.Contains(text, "version supported by scap") || strings.Contains(text, "incompatible with the current driver") {
		// libscap prints its two versions swapped here: the line is evidence, its numbers are not.
		return cause.Failf(cause.APISchemaMismatch, cause.FaultDriver, "sysdig refuses the driver for its API or schema version").With(evidence(text)...)
	}
	return cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "sysdig for %s ended by itself: %s", p.watch.Name, p.state()).With(evidence(text)...).
		Advise("a field, an operator or a syntax that this sysdig does not know, or no driver: its own words are in the evidence")
}

func (p *process) state() string {
	if s := p.cmd.ProcessState; s != nil {
		return s.String()
	}
	return "not started"
}

// totals reads the summary of a process that has ended.
func (p *process) totals() (events, drops uint64, err error) {
	if p.readErr != nil {
		return 0, 0, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "read the output of sysdig for %s: %w", p.watch.Name, p.readErr)
	}
	if events, drops, err = ParseTotals(p.stderr.String()); err != nil {
		return 0, 0, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "sysdig for %s ended (%s) without its totals: %w", p.watch.Name, p.state(), err).
			With(evidence(p.stderr.String())...)
	}
	var exit *exec.ExitError
	if errors.As(p.waitErr, &exit) && exit.Sys().(syscall.WaitStatus).Signaled() && exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
		return events, drops, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "sysdig for %s: %w", p.watch.Name, p.waitErr)
	}
	return events, drops, nil
}

// evidence is the last lines of what a process said.
func evidence(text string) []cause.Evidence {
	const last = 20
	lines := strings.Split(strings.TrimSpace(text), "\n")
	var out []cause.Evidence
	for _, l := range lines[max(0, len(lines)-last):] {
		if l != "" {
			out = append(out, cause.Evidence{File: "sysdig's stderr", Text: l})
		}
	}
	return out
}

// limited keeps the last bytes written to it; the totals come last.
type limited struct {
	mu  sync.Mutex
	buf []byte
}

func (l *limited) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, b...)
	if over := len(l.buf) - maxStderr; over > 0 {
		l.buf = append(l.buf[:0], l.buf[over:]...)
	}
	return len(b), nil
}

func (l *limited) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.buf)
}
