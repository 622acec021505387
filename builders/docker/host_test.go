// SPDX-License-Identifier: Apache-2.0

package docker_test

import (
	"bytes"
	"context"
	"os"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/docker"
	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/internal/suite"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/debian"
)

// host is this machine: its mirror and Docker, with the archive and the roots of the user's own cache.
type host struct {
	source *debian.Source
	roots  *root.Cache
	docker *docker.Runner
	lack   error // why it has none
}

func newHost(ctx context.Context) *host {
	GinkgoHelper()
	dir, err := archive.DefaultDir()
	Expect(err).NotTo(HaveOccurred())
	kept, err := archive.New(dir)
	Expect(err).NotTo(HaveOccurred())
	f := &host{}
	f.source, err = debian.New(debian.Options{
		Archive:    kept,
		ValidUntil: func(string) debian.Policy { return debian.Warn },
		Warn:       func(text string) { GinkgoWriter.Println("warning:", text) },
	})
	Expect(err).NotTo(HaveOccurred())
	rootDir, err := root.DefaultDir()
	Expect(err).NotTo(HaveOccurred())
	f.roots = &root.Cache{Dir: rootDir, Fetcher: f.source}
	if f.docker, f.lack = docker.New(ctx, docker.Options{}); f.lack == nil {
		DeferCleanup(f.docker.Close)
	}
	return f
}

// runner is the docker of a host that has one; without it the spec is skipped, or fails where one was promised.
func (f *host) runner() *docker.Runner {
	GinkgoHelper()
	suite.Docker(f.lack)
	return f.docker
}

// tree is the build root of the packages' closure in a suite.
func (f *host) tree(ctx context.Context, suite string, packages ...string) *root.Root {
	GinkgoHelper()
	pkgs, err := f.source.Closure(ctx, []string{suite, suite + "-security"}, packages...)
	Expect(err).NotTo(HaveOccurred())
	r, err := f.roots.Tree(ctx, pkgs)
	Expect(err).NotTo(HaveOccurred())
	return r
}

// shell is a command of the root's shell with a scratch directory of its own.
func shell(r *root.Root, script string) (sandbox.Spec, *bytes.Buffer) {
	GinkgoHelper()
	scratch, err := os.MkdirTemp("", "mews-docker-test-")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(os.RemoveAll, scratch)
	var out bytes.Buffer
	return sandbox.Spec{Root: r.Dir, RootKey: r.Key, Scratch: scratch, Argv: []string{"/usr/bin/sh", "-c", script}, Log: &out}, &out
}

// lines of a text, without the last end of line.
func lines(text string) []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") }
