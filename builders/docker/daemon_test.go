// SPDX-License-Identifier: Apache-2.0

package docker_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/docker"
	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/results/cause"
)

// daemon is a way to the real one that can be cut.
type daemon struct {
	ln net.Listener

	mu    sync.Mutex
	conns []net.Conn
	cut   bool
}

func newDaemon(to string) *daemon {
	GinkgoHelper()
	dir, err := os.MkdirTemp("", "mews-docker-") // a socket's path must be short
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(os.RemoveAll, dir)
	ln, err := net.Listen("unix", filepath.Join(dir, "docker.sock"))
	Expect(err).NotTo(HaveOccurred())
	d := &daemon{ln: ln}
	DeferCleanup(d.stop)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("unix", to)
			if err != nil || !d.keep(c, up) {
				c.Close()
				continue
			}
			go pass(up, c)
			go pass(c, up)
		}
	}()
	return d
}

// pass copies one way, and ends that way alone: attach closes its half first.
func pass(to, from net.Conn) {
	io.Copy(to, from)
	if half, ok := to.(*net.UnixConn); ok {
		half.CloseWrite()
	}
}

func (d *daemon) keep(c, up net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns = append(d.conns, c, up)
	return !d.cut
}

func (d *daemon) host() string { return "unix://" + d.ln.Addr().String() }

// stop is the death of the daemon: nobody listens, and every connection breaks.
func (d *daemon) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut = true
	d.ln.Close()
	for _, c := range d.conns {
		c.Close()
	}
}

var _ = Describe("A Docker daemon", Label("build", "net"), Ordered, func() {
	var (
		f   *host
		r   *root.Root
		cli *client.Client
	)
	BeforeAll(func(ctx SpecContext) {
		f = newHost(ctx)
		r = f.tree(ctx, "bookworm", small...)
		var err error
		cli, err = client.NewClientWithOpts(client.WithHost(f.runner().Info().Host), client.WithAPIVersionNegotiation())
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(cli.Close)
	})

	// mine are the containers of this process.
	mine := func(ctx context.Context) (ids []string) {
		GinkgoHelper()
		all, err := cli.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", docker.LabelOwner))})
		Expect(err).NotTo(HaveOccurred())
		for _, c := range all {
			if strings.Contains(c.Labels[docker.LabelOwner], fmt.Sprintf("/%d/", os.Getpid())) {
				ids = append(ids, c.ID)
			}
		}
		return ids
	}

	It("that goes away in the middle of a build judges nobody", func(ctx SpecContext) {
		way := newDaemon(strings.TrimPrefix(f.docker.Info().Host, "unix://"))
		there, err := docker.New(ctx, docker.Options{Host: way.host()})
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		DeferCleanup(there.Close)
		s, _ := shell(r, "echo asleep; sleep 1000")
		s.Log = writer(func(p []byte) (int, error) { way.stop(); return len(p), nil })
		_, err = there.Run(ctx, s)
		finding := cause.Of(err)
		Expect(finding.State).To(Equal(cause.Error), "%+v", err)
		Expect(finding.Cause).To(Equal(cause.BuilderLost), "%+v", err)
		Expect(finding.Fault).To(Equal(cause.FaultInfra))
		Expect(err.Error()).To(ContainSubstring("--builder local"))
		for _, id := range mine(ctx) { // nobody could remove it
			Expect(cli.ContainerRemove(ctx, id, container.RemoveOptions{Force: true})).To(Succeed())
		}
	})

	It("leaves no container behind, however it ended", func(ctx SpecContext) {
		Expect(mine(ctx)).To(BeEmpty())
	})

	It("that is not there is said so, and auto does without", func(ctx SpecContext) {
		gone := newDaemon("/nowhere")
		gone.stop()
		_, err := docker.New(ctx, docker.Options{Host: gone.host()})
		Expect(cause.Of(err).Cause).To(Equal(cause.BuilderLost), "%+v", err)

		GinkgoT().Setenv("DOCKER_HOST", gone.host())
		runner, why, err := docker.Pick(ctx, "auto")
		Expect(err).NotTo(HaveOccurred())
		Expect(runner).To(Equal(sandbox.Local{}))
		Expect(why).To(And(HavePrefix("local: "), ContainSubstring(gone.ln.Addr().String())))
		_, _, err = docker.Pick(ctx, "docker")
		Expect(cause.Of(err).Cause).To(Equal(cause.BuilderLost), "%+v", err)
		_, _, err = docker.Pick(ctx, "podman")
		Expect(err).To(MatchError(ContainSubstring("podman")))
	})

	It("that answers is what auto picks", func(ctx SpecContext) {
		runner, why, err := docker.Pick(ctx, "auto")
		Expect(err).NotTo(HaveOccurred())
		Expect(runner).To(BeAssignableToTypeOf(&docker.Runner{}))
		Expect(why).To(HavePrefix("docker: "))
		DeferCleanup(runner.(*docker.Runner).Close)
		local, _, err := docker.Pick(ctx, "local")
		Expect(err).NotTo(HaveOccurred())
		Expect(local).To(Equal(sandbox.Local{}))
	})

	It("bounds the processes", func(ctx SpecContext) {
		s, out := shell(r, "i=0; while [ $i -lt 500 ]; do sleep 1000 & i=$((i+1)); echo $i; done")
		s.Limits.Processes = 32
		res, err := f.docker.Run(ctx, s)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(res.ExitCode).NotTo(Equal(0))
		Expect(out.String()).To(And(ContainSubstring("fork"), ContainSubstring("\n20\n"), Not(ContainSubstring("\n33\n"))))
	})

	It("bounds the memory, and says when that was the end", func(ctx SpecContext) {
		s, out := shell(r, "tail /dev/zero; echo tail ended with $?; exit 3")
		s.Limits.Memory = 64 << 20
		res, err := f.docker.Run(ctx, s)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(out.String()).To(ContainSubstring("tail ended with 137"))
		Expect(*res).To(And(HaveField("ExitCode", 3), HaveField("OutOfMemory", true), HaveField("TimedOut", false)))

		s, _ = shell(r, "exec tail /dev/zero")
		s.Limits.Memory = 64 << 20
		res, err = f.docker.Run(ctx, s)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(*res).To(And(HaveField("Signal", syscall.SIGKILL), HaveField("OutOfMemory", true)))

		s, _ = shell(r, "exit 3")
		res, err = f.docker.Run(ctx, s)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(*res).To(And(HaveField("ExitCode", 3), HaveField("OutOfMemory", false)))
	})

	It("is cleared of what a killed run left, and of images that nothing needs", func(ctx SpecContext) {
		s, _ := shell(r, "true")
		s.RootKey = "test-of-prune"
		_, err := f.docker.Run(ctx, s)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		host, err := os.Hostname()
		Expect(err).NotTo(HaveOccurred())
		left, err := cli.ContainerCreate(ctx, &container.Config{
			Image: docker.Repository + ":" + s.RootKey, Cmd: []string{"/usr/bin/sh"},
			Labels: map[string]string{docker.LabelOwner: host + "/999999999/1"},
		}, nil, nil, nil, "")
		Expect(err).NotTo(HaveOccurred())
		others := func(key string) bool { return key != s.RootKey }
		Expect(f.docker.Prune(ctx, others)).To(BeEmpty(), "a container uses it")

		again, err := docker.New(ctx, docker.Options{})
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		DeferCleanup(again.Close)
		_, err = cli.ContainerInspect(ctx, left.ID)
		Expect(err).To(MatchError(ContainSubstring("No such container")))
		Expect(f.docker.Prune(ctx, others)).To(Equal([]string{s.RootKey}))
		Expect(f.docker.Prune(ctx, others)).To(BeEmpty())

		By("making again what somebody pruned")
		res, err := f.docker.Run(ctx, s)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(res.ExitCode).To(Equal(0))
		Expect(f.docker.Prune(ctx, others)).To(Equal([]string{s.RootKey}))
	})

	It("refuses what it cannot do before it starts anything", func(ctx SpecContext) {
		for key, s := range map[string]sandbox.Spec{
			"no key":                 {Root: r.Dir, Scratch: GinkgoT().TempDir(), Argv: []string{"/usr/bin/true"}},
			"a key that is no tag":   {Root: r.Dir, RootKey: "../evil", Scratch: GinkgoT().TempDir(), Argv: []string{"/usr/bin/true"}},
			"a command that is none": {Root: r.Dir, RootKey: r.Key, Scratch: GinkgoT().TempDir(), Argv: []string{"true"}},
		} {
			_, err := f.docker.Run(ctx, s)
			Expect(cause.Of(err)).To(And(HaveField("Cause", cause.ToolchainBroken), HaveField("Fault", cause.FaultHarness)), key)
		}
		s, out := shell(r, "")
		s.Argv = []string{"/nothing"}
		_, err := f.docker.Run(ctx, s)
		Expect(err).To(MatchError(ContainSubstring("/nothing")))
		Expect(cause.Of(err).Cause).To(Equal(cause.ToolchainBroken))
		s.Argv = []string{"/usr/bin/sh", "-c", "echo not mews-entry: no program; exit 125"}
		res, err := f.docker.Run(ctx, s)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(res.ExitCode).To(Equal(125))
		Expect(out.String()).To(ContainSubstring("not mews-entry"))
	})
})
