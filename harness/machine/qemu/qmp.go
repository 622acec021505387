// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/digitalocean/go-qemu/qmp"
)

// qmpClient is QEMU's monitor. Everything that is known of go-qemu's limits is in this file:
//
//   - Its reader stops for good at a line of 64 KiB, and reuses a reply's bytes for what comes next: no command here
//     has a long reply (query-qmp-schema would), or one that anybody reads.
//   - Its calls take no context: run gives up waiting when ctx ends, and the call ends when QEMU does, as the
//     owner of a client always ends QEMU.
//   - An event that nobody takes blocks every reply: events are drained from the handshake to the end.
//   - Its handshake loses an event that arrives with the reply: QEMU is started paused, and let go by cont.
//   - Disconnect hangs if the handshake failed, and a read error waits for it: see close.
type qmpClient struct {
	mon       *qmp.SocketMonitor
	ready     chan error // one value: how the handshake went
	connected atomic.Bool

	mu       sync.Mutex
	shutdown string        // the reason of the SHUTDOWN event, which QEMU sends before it ends in an orderly way
	panicked bool          // GUEST_PANICKED came: the guest has a pvpanic driver, or an NMI was refused
	portOpen bool          // the agent's port was opened at some time
	moved    chan string   // how a migration ended: completed or failed; the first only
	ended    chan struct{} // the connection is at its end, and no event can follow
}

// monitorSocket makes a connection to a monitor that is yet to be started: the listener's file is inherited by
// QEMU, and what connects to a listening socket need not wait for the accept. So there is no path to wait for;
// it is gone before QEMU runs. It is short because a socket's may have 108 bytes at most.
func monitorSocket() (*qmp.SocketMonitor, *os.File, error) {
	l, remove, err := listen()
	if err != nil {
		return nil, nil, err
	}
	defer remove()
	f, err := l.File()
	if err != nil {
		return nil, nil, err
	}
	mon, err := qmp.NewSocketMonitor("unix", l.Addr().String(), time.Second)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return mon, f, nil
}

// listen makes a socket under a path that is gone after remove.
func listen() (l *net.UnixListener, remove func(), err error) {
	dir, err := os.MkdirTemp("/tmp", "mews-qmp-")
	if err != nil {
		return nil, nil, err
	}
	if l, err = net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"}); err != nil {
		os.RemoveAll(dir)
		return nil, nil, err
	}
	return l, func() { l.Close(); os.RemoveAll(dir) }, nil
}

// newQMPClient starts to shake hands with the QEMU at the other end of mon. Ready tells how that went; it ends
// in any case when QEMU does.
func newQMPClient(mon *qmp.SocketMonitor) *qmpClient {
	c := &qmpClient{mon: mon, ready: make(chan error, 1), moved: make(chan string, 1), ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		if err := mon.Connect(); err != nil {
			c.ready <- err
			return
		}
		c.connected.Store(true)
		events, err := mon.Events(context.Background()) // never fails, and does not look at the context
		c.ready <- err
		for e := range events {
			c.event(e)
		}
	}()
	return c
}

// close waits for the last events of a QEMU that is gone, and frees the connection. What QEMU sent is in the
// socket already; grace bounds the wait for a reader that met a read error, which only Disconnect can free.
// After a handshake that failed there is nothing to free: Disconnect would wait for ever, and the collector closes.
func (c *qmpClient) close(grace time.Duration) {
	select {
	case <-c.ended:
	case <-time.After(grace):
	}
	if c.connected.Load() {
		c.mon.Disconnect() // its error is that of closing a socket whose peer is gone
		<-c.ended
	}
}

func (c *qmpClient) event(e qmp.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e.Event {
	case "SHUTDOWN":
		c.shutdown, _ = e.Data["reason"].(string)
		if c.shutdown == "" {
			c.shutdown = "unknown"
		}
	case "GUEST_PANICKED":
		c.panicked = true
	case "VSERPORT_CHANGE":
		if open, _ := e.Data["open"].(bool); open {
			c.portOpen = true
		}
	case "MIGRATION":
		if how, _ := e.Data["status"].(string); how == "completed" || how == "failed" {
			select {
			case c.moved <- how:
			default:
			}
		}
	}
}

// version is QEMU's, once ready said nil.
func (c *qmpClient) version() string { return c.mon.Version.String() }

// heard is what the events said so far.
func (c *qmpClient) heard() (shutdown string, panicked, portOpen bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shutdown, c.panicked, c.portOpen
}

// run executes a command; args is nil for one that takes none.
func (c *qmpClient) run(ctx context.Context, command string, args map[string]any) error {
	cmd := qmp.Command{Execute: command}
	if args != nil { // a nil map in it would be a null, which QEMU refuses
		cmd.Args = args
	}
	req, err := json.Marshal(cmd)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		_, err := c.mon.Run(req)
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("qmp %s: %w", command, err)
		}
		return nil
	case <-c.ended:
		return fmt.Errorf("qmp %s: QEMU is gone", command)
	case <-ctx.Done():
		return fmt.Errorf("qmp %s: %w", command, ctx.Err())
	}
}
