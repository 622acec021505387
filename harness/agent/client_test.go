// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mews-farm/mews/driver/skipped"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/agent/guest"
	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/results/cause"
)

// dial connects a client to a guest end that serve handles.
func dial(t *testing.T, serve func(net.Conn)) (*agent.Client, error) {
	t.Helper()
	host, far := net.Pipe()
	t.Cleanup(func() { far.Close() })
	go serve(far)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return agent.Dial(ctx, host)
}

// served connects a client to an agent that runs in this process.
func served(t *testing.T) *agent.Client {
	t.Helper()
	state := t.TempDir()
	c, err := dial(t, func(conn net.Conn) {
		if err := guest.Serve(context.Background(), conn, &guest.Agent{State: state, Modules: []string{"virtio"}, Halt: func() { conn.Close() }}); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// handed is a connection that outlives the client that owned it.
type handed struct{ net.Conn }

// Close ends the reads that are under way.
func (h handed) Close() error { return h.SetReadDeadline(time.Unix(1, 0)) }

// A guest that was saved while one controller talked to it is taken up by another, which knows nothing of the first.
func TestWake(t *testing.T) {
	host, far := net.Pipe()
	t.Cleanup(func() { host.Close(); far.Close() })
	var woken []wire.Wake
	go guest.Serve(context.Background(), far, &guest.Agent{State: t.TempDir(), Halt: func() {}, Woke: func(k *wire.Wake) error {
		woken = append(woken, *k)
		return nil
	}})
	c, err := agent.Dial(t.Context(), handed{host})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"first", "second"} {
		for range 3 { // streams whose numbers the next controller begins with again
			if err := c.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		c.Close()
		<-c.Done()
		host.SetReadDeadline(time.Time{})
		if c, err = agent.Wake(t.Context(), handed{host}, id); err != nil {
			t.Fatal(err)
		}
		lines, _, err := c.Log(t.Context(), 0)
		if err != nil || !strings.Contains(strings.Join(lines, "\n"), "woke as="+id) {
			t.Errorf("log %q, %v", lines, err)
		}
	}
	if len(woken) != 2 || woken[0].ID != "first" || woken[0].Seed == woken[1].Seed || time.Since(woken[1].Time) > time.Minute {
		t.Errorf("woken by %+v", woken)
	}
}

// What answers like an agent that nobody woke is not taken for one that was.
func TestWakeOfALiar(t *testing.T) {
	host, far := net.Pipe()
	go func() {
		io.ReadFull(far, make([]byte, 8))
		go io.Copy(io.Discard, far)
		far.Write([]byte("\x00\x00\x00\x05\x00\x00\x00\x00\x77\x00other" + strings.Repeat("x", 100)))
	}()
	_, err := agent.Wake(t.Context(), host, "first")
	if f := cause.Of(err); err == nil || f.Cause != cause.AgentLost {
		t.Errorf("%v", err)
	}

	host, _ = net.Pipe() // and one that is silent
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := agent.Wake(ctx, host, "first"); cause.Of(err).Cause != cause.AgentLost {
		t.Errorf("%v", err)
	}
}

func TestHello(t *testing.T) {
	c := served(t)
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	h := c.Hello()
	if h.Release != strings.TrimSpace(string(release)) || h.CPUs != runtime.NumCPU() || h.Memory == 0 || h.Boot <= 0 || len(h.Modules) != 1 || h.Agent == "" {
		t.Errorf("hello %+v", h)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	lines, next, err := c.Log(t.Context(), 0)
	if err != nil || next != uint64(len(lines)) || len(lines) == 0 || !strings.Contains(lines[0], "Hello") {
		t.Errorf("log %q, %d, %v", lines, next, err)
	}
}

// What the agent refuses must arrive with the agent's own finding, not as a broken connection.
func TestRefusals(t *testing.T) {
	c := served(t)
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"a deed without a consumer": func() error { _, err := c.RunDeed(ctx, agent.Deed{ID: "a", Context: agent.OnHost}); return err },
		"a fence without one":       func() error { return c.Fence(ctx) },
		"a stop without one":        func() error { _, err := c.StopConsumer(ctx); return err },
		"a check without one":       func() error { _, err := c.CheckEvents(ctx); return err },
		"an unknown consumer":       func() error { _, err := c.StartConsumer(ctx, agent.ConsumerSpec{Kind: "sysdog"}); return err },
		"an unknown option": func() error {
			_, err := c.StartConsumer(ctx, agent.ConsumerSpec{Kind: agent.Sysdig, Options: map[string]string{"x": "y"}})
			return err
		},
		"native without a probe": func() error { _, err := c.StartConsumer(ctx, agent.ConsumerSpec{Kind: agent.Native}); return err },
		"an unload without one":  func() error { return c.UnloadProbe(ctx) },
		"a path as a name": func() error {
			_, err := c.LoadModule(ctx, agent.Module{Name: "../../etc/passwd", Image: strings.NewReader("x")})
			return err
		},
	} {
		err := call()
		if f := cause.Of(err); err == nil || f.State != cause.Error || f.Cause != cause.Internal || f.Fault != cause.FaultHarness {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "makes no sense") {
			t.Errorf("%s: the finding was lost on the way: %v", name, err)
		}
	}
	if err := c.Ping(ctx); err != nil {
		t.Errorf("the connection did not live through it: %v", err)
	}
}

func TestShutdown(t *testing.T) {
	c := served(t)
	if err := c.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	<-c.Done()
	if f := cause.Of(c.Ping(t.Context())); f.Cause != cause.AgentLost || f.Fault != cause.FaultInfra {
		t.Errorf("a ping after the end is %+v", f)
	}
}

func TestLostPeer(t *testing.T) {
	_, err := dial(t, func(conn net.Conn) {
		io.ReadFull(conn, make([]byte, 10)) // the header of the first call
		conn.Close()
	})
	if f := cause.Of(err); f.State != cause.Error || f.Cause != cause.AgentLost {
		t.Errorf("got %+v", f)
	}
}

// A guest that hangs neither answers nor reads; a caller's deadline must hold all the same.
func TestMutePeer(t *testing.T) {
	host, far := net.Pipe()
	defer far.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := agent.Dial(ctx, host)
	if f := cause.Of(err); f.Cause != cause.AgentLost || !strings.Contains(err.Error(), "in time") {
		t.Errorf("got %v", err)
	}
}

func TestCancelled(t *testing.T) {
	host, far := net.Pipe()
	defer far.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := agent.Dial(ctx, host)
	if f := cause.Of(err); f.Cause != cause.Cancelled {
		t.Errorf("got %v", err)
	}
}

// frame is a message of ttrpc's.
func frame(length uint32, stream uint32, kind byte, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, length)
	b = binary.BigEndian.AppendUint32(b, stream)
	return append(append(b, kind, 0), payload...)
}

func TestGarbage(t *testing.T) {
	noise := make([]byte, 64<<10)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	for name, garbage := range map[string][]byte{
		"noise":              noise,
		"a kernel's console": []byte("[    0.000000] Linux version 6.1.0 (debian-kernel@lists.debian.org)\n"),
		"no payload":         frame(0, 1, 2, nil),
		"no response":        frame(4, 1, 2, []byte{0xff, 0xff, 0xff, 0xff}),
		"a wrong type":       frame(1, 1, 9, []byte{0}),
		"another stream":     frame(1, 77, 2, []byte{0}),
		"far too long":       frame(0xffffffff, 1, 2, bytes.Repeat([]byte{0}, 4096)),
		"cut short":          frame(1000, 1, 2, []byte{1, 2, 3}),
		"nothing":            nil,
	} {
		t.Run(name, func(t *testing.T) {
			c, err := dial(t, func(conn net.Conn) {
				go io.Copy(io.Discard, conn)
				conn.Write(garbage)
				conn.Close()
			})
			if c != nil {
				t.Errorf("the garbage was taken for an agent: %+v", c.Hello())
			}
			if f := cause.Of(err); err != nil && (f.State != cause.Error || f.Cause != cause.AgentLost && f.Cause != cause.Internal) {
				t.Errorf("got %+v", f)
			}
		})
	}
}

func FuzzClient(f *testing.F) {
	f.Add(frame(4, 1, 2, []byte{0x12, 0x02, 0x0a, 0x00}))
	f.Add(frame(0, 1, 2, nil))
	f.Add([]byte("garbage"))
	f.Fuzz(func(t *testing.T, garbage []byte) {
		host, far := net.Pipe()
		go func() {
			go io.Copy(io.Discard, far)
			far.Write(garbage)
			far.Close()
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if c, err := agent.Dial(ctx, host); err == nil {
			c.Close()
		}
	})
}

func TestEventsReportErr(t *testing.T) {
	skips := []skipped.Count{{Program: "sys_exit", Calls: 6}}
	good := agent.EventField{Event: "exec", Field: "proc.pid", Truth: "7", Seen: "7", Present: true}
	for name, c := range map[string]struct {
		fields  []agent.EventField
		drops   uint64
		skipped []skipped.Count
		state   cause.State
		want    cause.Cause
	}{
		"right":                   {[]agent.EventField{good}, 0, nil, cause.Pass, ""},
		"right, others lost":      {[]agent.EventField{good}, 3, nil, cause.Pass, ""},
		"right, programs skipped": {[]agent.EventField{good}, 0, skips, cause.Fail, cause.EventDrops},
		"wrong":                   {[]agent.EventField{good, {Event: "exec", Field: "proc.exepath", Truth: "/a", Seen: "/b", Present: true}}, 0, nil, cause.Fail, cause.EventFieldWrong},
		"lacking":                 {[]agent.EventField{good, {Event: "open", Field: "fd.num", Truth: "", Seen: ""}}, 0, nil, cause.Fail, cause.EventFieldWrong},
		"lacking, events lost":    {[]agent.EventField{good, {Event: "open", Field: "fd.num", Truth: "", Seen: ""}}, 3, nil, cause.Error, cause.EventDrops},
		"lacking, all of it":      {[]agent.EventField{good, {Event: "open", Field: "fd.num", Truth: "", Seen: ""}}, 3, skips, cause.Fail, cause.EventDrops},
		"nothing":                 {nil, 0, skips, cause.Error, cause.Internal},
	} {
		f := cause.Of(agent.EventsReport{Kernel: "7.3.4", Fields: c.fields, Drops: c.drops, Skipped: c.skipped}.Err())
		if f.State != c.state || f.Cause != c.want {
			t.Errorf("%s: %+v, want %s %q", name, f, c.state, c.want)
		}
		named := slices.ContainsFunc(f.Evidence, func(e cause.Evidence) bool {
			return strings.Contains(e.Text, "kernel 7.3.4 did not run program sys_exit for 6 events")
		})
		if want := c.want == cause.EventDrops && c.skipped != nil; named != want {
			t.Errorf("%s: the program is in the evidence: %v\n%v", name, named, f.Evidence)
		}
	}
}
