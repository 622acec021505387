// SPDX-License-Identifier: Apache-2.0

// Package agent knows how the controller talks to the agent in a guest, and hides how that goes over the wire.
//
// Everything that comes back is a guest's word: a guest is under test and may be broken or hostile, so
// replies are limited in size, checked, and never trusted to say more than what happened in that guest.
package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/containerd/log"
	"github.com/containerd/ttrpc"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/results/cause"
)

// Port is the name of the virtio-serial port that the agent of a virtual machine answers on.
const Port = "mews.agent"

// Serial numbers of the disks that the agent looks for.
const (
	UserlandDisk  = "userland"  // read-only ext4: becomes the guest's root
	ContainerDisk = "container" // read-only ext4: the root of the container image
)

// Client is the controller's end. Its methods may be called from any goroutine, but a guest does one deed
// at a time. Every error carries a finding of results/cause.
type Client struct {
	conn  net.Conn
	rpc   *ttrpc.Client
	agent wire.AgentService
	hello Hello
	done  chan struct{}
}

// Dial greets the agent at the other end of conn, which the client owns from then on. It waits for the agent
// to answer until ctx ends.
func Dial(ctx context.Context, conn net.Conn) (*Client, error) {
	quiet()
	c := &Client{conn: conn, done: make(chan struct{})}
	c.rpc = ttrpc.NewClient(conn, ttrpc.WithOnClose(func() { close(c.done) }))
	c.agent = wire.NewAgentClient(c.rpc)
	r, err := call(ctx, c, "greet", c.agent.Hello, &wire.Empty{})
	if err != nil {
		c.Close()
		return nil, err
	}
	if c.hello = helloOf(r); c.hello.Release == "" || c.hello.Machine == "" {
		c.Close()
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "what answers is no agent of mews: it does not say what kernel it runs on")
	}
	return c, nil
}

// Wake is [Dial] to the agent of a guest that was saved and is taken up again: it learns what time it is, is given random
// numbers of its own and an id, and begins anew with whoever dials.
func Wake(ctx context.Context, conn net.Conn, id string) (*Client, error) {
	k := wire.Wake{Time: time.Now(), ID: id}
	rand.Read(k.Seed[:]) // never fails
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	_, err := k.WriteTo(conn)
	if err == nil {
		err = wire.ReadAwake(conn, id)
	}
	if !stop() || err != nil {
		conn.Close()
		return nil, cause.Errorf(cause.AgentLost, cause.FaultInfra, "wake the agent as %s: %w", id, errors.Join(err, ctx.Err()))
	}
	return Dial(ctx, conn)
}

// quiet keeps ttrpc from writing to the controller's terminal what a guest makes it complain of: a reply
// that came after its caller had given up, or garbage.
var quiet = sync.OnceFunc(func() { log.L.Logger.SetOutput(io.Discard) })

// Hello returns what the guest said of itself when it was dialled.
func (c *Client) Hello() Hello { return c.hello }

// Done is closed when the connection is lost or closed.
func (c *Client) Done() <-chan struct{} { return c.done }

// Close hangs up. It does not stop the guest.
func (c *Client) Close() error { return c.rpc.Close() }

// Ping asks for a sign of life.
func (c *Client) Ping(ctx context.Context) error {
	_, err := call(ctx, c, "ping", c.agent.Ping, &wire.Empty{})
	return err
}

// SetTime sets the guest's wall clock.
func (c *Client) SetTime(ctx context.Context, t time.Time) error {
	_, err := call(ctx, c, "set the clock", c.agent.SetTime, &wire.SetTimeRequest{UnixNano: t.UnixNano()})
	return err
}

// Dmesg reads the kernel's log from record since on; 0 is its start.
func (c *Client) Dmesg(ctx context.Context, since uint64) (Dmesg, error) {
	r, err := call(ctx, c, "read the kernel's log", c.agent.Dmesg, &wire.DmesgRequest{Since: since})
	if err != nil {
		return Dmesg{}, err
	}
	return Dmesg{Lines: linesOf(r.GetLines()), Next: r.GetNext(), Lost: r.GetLost()}, nil
}

// Log reads the agent's own log from line since on, and says where the next call goes on.
func (c *Client) Log(ctx context.Context, since uint64) (lines []string, next uint64, err error) {
	r, err := call(ctx, c, "read the agent's log", c.agent.Log, &wire.LogRequest{Since: since})
	if err != nil {
		return nil, since, err
	}
	return r.GetLines(), r.GetNext(), nil
}

// LoadModule loads a module and verifies that it came up: listed, with its device nodes, versions answered. What the
// kernel refused is a fail with the cause the taxonomy has for it; what it logged meanwhile is for the caller to judge.
func (c *Client) LoadModule(ctx context.Context, m Module) (ModuleReport, error) {
	upload := m.Name + ".ko"
	if err := c.upload(ctx, upload, m.Image); err != nil {
		return ModuleReport{}, err
	}
	r, err := call(ctx, c, "load module "+m.Name, c.agent.LoadModule,
		&wire.LoadModuleRequest{Upload: upload, Name: m.Name, Params: m.Params, Device: m.Device})
	if err != nil {
		return ModuleReport{}, err
	}
	return ModuleReport{
		Name: r.GetName(), Took: seconds(r.GetSeconds()), Devices: int(r.GetDevices()),
		APIVersion: r.GetApiVersion(), SchemaVersion: r.GetSchemaVersion(), Dmesg: linesOf(r.GetDmesg()),
	}, nil
}

// uploadChunk bounds one message of an upload. ttrpc refuses more than 4 MiB.
const uploadChunk = 1 << 20

// upload sends r piece by piece, each acknowledged, to be used under a name by a later call.
func (c *Client) upload(ctx context.Context, name string, r io.Reader) error {
	buf := make([]byte, uploadChunk)
	for offset := uint64(0); ; {
		n, err := io.ReadFull(r, buf)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return cause.Errorf(cause.Internal, cause.FaultHarness, "read %s to upload it: %w", name, err)
		}
		if n == 0 && offset > 0 {
			return nil
		}
		req := &wire.UploadRequest{Name: name, Offset: offset, Data: buf[:n]}
		if _, callErr := call(ctx, c, "upload "+name, c.agent.Upload, req); callErr != nil {
			return callErr
		}
		offset += uint64(n)
		if err != nil {
			return nil
		}
	}
}

// UnloadModule removes a module; one that is in use is an error that names its holders.
func (c *Client) UnloadModule(ctx context.Context, name string) ([]KernelLine, error) {
	r, err := call(ctx, c, "unload module "+name, c.agent.UnloadModule, &wire.UnloadModuleRequest{Name: name})
	if err != nil {
		return nil, err
	}
	return linesOf(r.GetDmesg()), nil
}

// probeTypes is the name under which the kernel types of a probe are uploaded.
const probeTypes = "probe.btf"

// LoadProbe loads an edition of the CO-RE probe in the guest.
func (c *Client) LoadProbe(ctx context.Context, p Probe) (ProbeReport, error) {
	req := &wire.LoadProbeRequest{Edition: p.Edition, Ring: p.Ring, Stats: p.Stats}
	if p.Types != nil {
		if err := c.upload(ctx, probeTypes, p.Types); err != nil {
			return ProbeReport{}, err
		}
		req.Types = probeTypes
	}
	r, err := call(ctx, c, "load the probe", c.agent.LoadProbe, req)
	if err != nil {
		return ProbeReport{}, err
	}
	return probeOf(r), nil
}

// UnloadProbe detaches and unloads it.
func (c *Client) UnloadProbe(ctx context.Context) error {
	_, err := call(ctx, c, "unload the probe", c.agent.UnloadProbe, &wire.Empty{})
	return err
}

// legacyProbe is the name under which a legacy probe is uploaded.
const legacyProbe = "probe.o"

// LoadLegacy uploads a legacy probe and has the userland's sysdig load it. The report is there whenever that was tried.
func (c *Client) LoadLegacy(ctx context.Context, probe io.Reader) (LegacyReport, error) {
	if err := c.upload(ctx, legacyProbe, probe); err != nil {
		return LegacyReport{}, err
	}
	r, err := call(ctx, c, "load the legacy probe", c.agent.LoadLegacy, &wire.LoadLegacyRequest{Upload: legacyProbe})
	if err != nil {
		return LegacyReport{}, err
	}
	report := LegacyReport{Took: seconds(r.GetSeconds()), Log: r.GetLog()}
	if f := r.GetFailure(); f != nil {
		return report, wire.ErrOf(f)
	}
	return report, nil
}

// KeepLegacy uploads a legacy probe for a program that loads it itself: nothing is tried.
func (c *Client) KeepLegacy(ctx context.Context, probe io.Reader) error {
	if err := c.upload(ctx, legacyProbe, probe); err != nil {
		return err
	}
	_, err := call(ctx, c, "keep the legacy probe", c.agent.LoadLegacy, &wire.LoadLegacyRequest{Upload: legacyProbe, Keep: true})
	return err
}

// UnloadLegacy removes the probe; programs of it that are left in the kernel are an error that names them.
func (c *Client) UnloadLegacy(ctx context.Context) error {
	_, err := call(ctx, c, "unload the legacy probe", c.agent.UnloadLegacy, &wire.Empty{})
	return err
}

// LoadTracer starts the tracer in the guest, and says how long that took.
func (c *Client) LoadTracer(ctx context.Context) (time.Duration, error) {
	r, err := call(ctx, c, "start the tracer", c.agent.LoadTracer, &wire.Empty{})
	if err != nil {
		return 0, err
	}
	return seconds(r.GetSeconds()), nil
}

// UnloadTracer ends it, and says how many threads still run that it must stay with.
func (c *Client) UnloadTracer(ctx context.Context) (traced int, err error) {
	r, err := call(ctx, c, "end the tracer", c.agent.UnloadTracer, &wire.Empty{})
	if err != nil {
		return 0, err
	}
	return int(r.GetTraced()), nil
}

// StartConsumer starts the consumer and returns when capturing is proven: every watch reported a fence.
func (c *Client) StartConsumer(ctx context.Context, spec ConsumerSpec) (ConsumerReport, error) {
	req := &wire.StartConsumerRequest{Kind: spec.Kind, Options: spec.Options, Bare: spec.Bare}
	for _, w := range spec.Watches {
		req.Watches = append(req.Watches, &wire.Watch{Name: w.Name, Condition: w.Condition, Fields: w.Fields})
	}
	r, err := call(ctx, c, "start consumer "+spec.Kind, c.agent.StartConsumer, req)
	if err != nil {
		return ConsumerReport{}, err
	}
	return ConsumerReport{Took: seconds(r.GetSeconds()), Version: r.GetVersion()}, nil
}

// StopConsumer ends the watch and returns its totals.
func (c *Client) StopConsumer(ctx context.Context) (consumer.Stats, error) {
	return c.stats(ctx, "stop the consumer", c.agent.StopConsumer)
}

// Totals returns the totals of the watch, which may have ended after that: it is the last word to a guest that is left behind.
func (c *Client) Totals(ctx context.Context) (consumer.Stats, error) {
	return c.stats(ctx, "ask the consumer for its totals", c.agent.Totals)
}

func (c *Client) stats(ctx context.Context, what string, ask func(context.Context, *wire.Empty) (*wire.StopConsumerReply, error)) (consumer.Stats, error) {
	r, err := call(ctx, c, what, ask, &wire.Empty{})
	if err != nil {
		return consumer.Stats{}, err
	}
	return consumer.Stats{Events: r.GetEvents(), Drops: r.GetDrops(), DropsBy: r.GetDropsBy()}, nil
}

// RunCommand runs a program of the userland over the driver that is loaded. The report is there whenever it ended by
// itself; the error is nil only for a program that says that all is well.
func (c *Client) RunCommand(ctx context.Context, argv []string) (CommandReport, error) {
	r, err := call(ctx, c, "run the command", c.agent.RunCommand, &wire.RunCommandRequest{Argv: argv})
	if err != nil {
		return CommandReport{}, err
	}
	report := CommandReport{ExitCode: int(r.GetExitCode()), Took: seconds(r.GetSeconds()), Output: r.GetOutput(), Stderr: r.GetStderr()}
	if f := r.GetFailure(); f != nil {
		return report, wire.ErrOf(f)
	}
	return report, nil
}

// Fence returns when every watch reported an event that happened after the call, so that whatever was not
// reported until then will not be.
func (c *Client) Fence(ctx context.Context) error {
	_, err := call(ctx, c, "fence", c.agent.Fence, &wire.Empty{})
	return err
}

// CheckEvents does a known exec and a known open under the running consumer, and reports field by field what
// it saw of them. See [EventsReport.Err].
func (c *Client) CheckEvents(ctx context.Context) (EventsReport, error) {
	r, err := call(ctx, c, "check the content of events", c.agent.CheckEvents, &wire.Empty{})
	if err != nil {
		return EventsReport{}, err
	}
	report := eventsOf(r)
	report.Kernel = c.hello.Release
	return report, nil
}

// StartActors ends the actors that wait for their deeds and starts others, and returns the ids of those that wait then. One
// that is not among them is started when its deed is asked for.
func (c *Client) StartActors(ctx context.Context, actors []Actor) ([]string, error) {
	req := &wire.StartActorsRequest{}
	for _, a := range actors {
		req.Actors = append(req.Actors, &wire.Actor{Id: a.ID, Context: a.Context, Setup: a.Setup})
	}
	r, err := call(ctx, c, "start actors", c.agent.StartActors, req)
	return r.GetWaiting(), err
}

// RunDeed does a deed under the watch of the running consumer, then fences. The error is of the connection
// or the call; a deed that could not be done is in the report's Failure.
func (c *Client) RunDeed(ctx context.Context, d Deed) (DeedReport, error) {
	r, err := call(ctx, c, "do deed "+d.ID, c.agent.RunDeed,
		&wire.RunDeedRequest{Id: d.ID, Context: d.Context, Request: d.Request, Leave: d.Leave})
	if err != nil {
		return DeedReport{}, err
	}
	return deedOf(r), nil
}

// Measure finds out what system calls cost, in a process of its own that the driver sees.
func (c *Client) Measure(ctx context.Context, m Measurement) (MeasureReport, error) {
	r, err := call(ctx, c, "measure the cost of system calls", c.agent.Measure,
		&wire.MeasureRequest{Paths: m.Paths, Repeats: int32(m.Repeats), Batches: int32(m.Batches)})
	if err != nil {
		return MeasureReport{}, err
	}
	return measureOf(r), nil
}

// Strain makes events at a rate for a while, in a process of its own that the driver sees.
func (c *Client) Strain(ctx context.Context, rate int, d time.Duration) (StrainReport, error) {
	r, err := call(ctx, c, "make events", c.agent.Strain, &wire.StrainRequest{Rate: int32(rate), Millis: int32(d.Milliseconds())})
	if err != nil {
		return StrainReport{}, err
	}
	return strainOf(r)
}

// Shutdown powers the guest off. The connection is lost by that, which is no error here.
func (c *Client) Shutdown(ctx context.Context) error {
	_, err := call(ctx, c, "shut down", c.agent.Shutdown, &wire.Empty{})
	if lost(c) && ctx.Err() == nil {
		return nil
	}
	return err
}

func lost(c *Client) bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// call makes one call and turns whatever goes wrong into a finding. It returns when ctx ends even if the
// guest does not read: ttrpc's own call would hang in the write to the connection.
func call[Q, R any](ctx context.Context, c *Client, what string, method func(context.Context, *Q) (*R, error), req *Q) (*R, error) {
	type answer struct {
		reply *R
		err   error
	}
	got := make(chan answer, 1)
	go func() {
		reply, err := method(ctx, req)
		got <- answer{reply, err}
	}()
	select {
	case a := <-got:
		if a.err != nil {
			return nil, c.failure(ctx, what, a.err)
		}
		return a.reply, nil
	case <-ctx.Done():
		return nil, c.failure(ctx, what, ctx.Err())
	}
}

// failure makes a finding of what went wrong with a call.
func (c *Client) failure(ctx context.Context, what string, err error) error {
	if f, ok := wire.FailureOf(err); ok {
		return f
	}
	switch {
	case errors.Is(context.Cause(ctx), context.Canceled):
		return cause.Errorf(cause.Cancelled, cause.FaultHarness, "%s: %w", what, err)
	case errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil:
		return cause.Errorf(cause.AgentLost, cause.FaultInfra, "%s: the agent did not answer in time: %w", what, err).
			Advise("read the end of console.log: the guest hangs, or is slower than the deadline allows")
	case lost(c) || errors.Is(err, ttrpc.ErrClosed):
		return cause.Errorf(cause.AgentLost, cause.FaultInfra, "%s: the connection to the agent is lost: %w", what, err).
			Advise("read the end of console.log: the guest has died, or its agent has")
	}
	return cause.Errorf(cause.Internal, cause.FaultHarness, "%s: the agent's answer makes no sense: %w", what, fmt.Errorf("%.200q", err.Error()))
}
