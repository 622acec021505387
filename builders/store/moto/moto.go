// SPDX-License-Identifier: Apache-2.0

// Package moto knows how tests get an S3 server that nobody here wrote: Debian's moto_server, in a container made of packages.
package moto

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/nat"
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"github.com/mews-farm/mews/internal/suite"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/deb"
	"github.com/mews-farm/mews/kernels/debian"
)

// motoImage is the repository of the image that the tests make; its tag is the digest of its packages.
const motoImage = "mews-test-moto"

// noAuthActions is how many requests moto answers before it checks who asks: all, until it is told to.
const noAuthActions = 1 << 30

// motoPort is where moto_server listens inside its container.
const motoPort = nat.Port("5000/tcp")

// Start runs Debian trixie's moto_server, an S3 that nobody here wrote, in a container made of its verified packages,
// and returns its URL. The container goes with the suite.
func Start(ctx context.Context) string {
	ginkgo.GinkgoHelper()
	docker, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	ginkgo.DeferCleanup(docker.Close)
	_, err = docker.Ping(ctx)
	suite.Docker(err)
	ref := motoContainerImage(ctx, docker)
	c, err := docker.ContainerCreate(ctx, &container.Config{
		Image: ref, Cmd: []string{"/usr/bin/python3", "-m", "moto.server", "-H", "0.0.0.0", "-p", motoPort.Port()},
		Env:          []string{"PYTHONDONTWRITEBYTECODE=1", "INITIAL_NO_AUTH_ACTION_COUNT=" + fmt.Sprint(noAuthActions)},
		ExposedPorts: nat.PortSet{motoPort: {}},
	}, &container.HostConfig{PortBindings: nat.PortMap{motoPort: {{HostIP: "127.0.0.1"}}}}, nil, nil, "")
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	ginkgo.DeferCleanup(func(ctx ginkgo.SpecContext) error {
		return docker.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true})
	})
	gomega.Expect(docker.ContainerStart(ctx, c.ID, container.StartOptions{})).To(gomega.Succeed())
	up, err := docker.ContainerInspect(ctx, c.ID)
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	bound := up.NetworkSettings.Ports[motoPort]
	gomega.Expect(bound).NotTo(gomega.BeEmpty())
	at := "http://127.0.0.1:" + bound[0].HostPort
	gomega.Eventually(ctx, func() error {
		resp, err := http.Get(at + "/moto-api/")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode >= 500 {
			return errors.New(resp.Status)
		}
		return nil
	}).WithTimeout(2*time.Minute).WithPolling(200*time.Millisecond).Should(gomega.Succeed(), func() string { return logs(docker, c.ID) })
	return at
}

func logs(docker *client.Client, id string) string {
	r, err := docker.ContainerLogs(context.Background(), id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: "50"})
	if err != nil {
		return err.Error()
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, 64<<10))
	return fmt.Sprintf("moto_server says (%v): %s", err, text)
}

// motoContainerImage returns the image of python3-moto's dependency closure, imported when Docker does not have it yet.
func motoContainerImage(ctx context.Context, docker *client.Client) string {
	ginkgo.GinkgoHelper()
	dir, err := archive.DefaultDir()
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	a, err := archive.New(dir)
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	src, err := debian.New(debian.Options{
		Archive: a, ValidUntil: func(string) debian.Policy { return debian.Warn },
		Warn: func(text string) { ginkgo.GinkgoWriter.Println("warning:", text) },
	})
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	pkgs, err := src.Closure(ctx, []string{"trixie"}, "python3-moto", "python3-flask", "python3-flask-cors")
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	ref := motoImage + ":" + digestOf(pkgs)
	_, err = docker.ImageInspect(ctx, ref)
	if err == nil {
		return ref
	}
	gomega.Expect(errdefs.IsNotFound(err)).To(gomega.BeTrue(), "docker: %v", err)
	debs, err := src.FetchAll(ctx, pkgs)
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	r, w := io.Pipe()
	go func() { w.CloseWithError(merge(ctx, debs, w)) }()
	said, err := docker.ImageImport(ctx, image.ImportSource{Source: r, SourceName: "-"}, ref, image.ImportOptions{})
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	defer said.Close()
	text, err := io.ReadAll(said)
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	gomega.Expect(string(text)).NotTo(gomega.ContainSubstring(`"error"`))
	return ref
}

// digestOf names what the packages hold.
func digestOf(pkgs []kernels.Package) string {
	var all []string
	for _, p := range pkgs {
		all = append(all, string(p.Digest))
	}
	slices.Sort(all)
	sum := sha256.Sum256([]byte(strings.Join(all, "\n")))
	return hex.EncodeToString(sum[:])[:16]
}

// merge writes the files of the packages as one tar, below /usr where some still are not. No maintainer script runs.
func merge(ctx context.Context, debs []string, w io.Writer) error {
	out := tar.NewWriter(w)
	written := map[string]bool{} // the engine refuses a name that comes twice
	var authorities bytes.Buffer // what ca-certificates' postinst makes of its files; Python's requests does not start without
	links := []string{"bin", "lib", "lib64", "sbin"}
	for _, l := range links {
		for _, h := range []*tar.Header{
			{Name: "usr/" + l, Typeflag: tar.TypeDir, Mode: 0o755},
			{Name: l, Typeflag: tar.TypeSymlink, Linkname: "usr/" + l, Mode: 0o777},
		} {
			if err := out.WriteHeader(h); err != nil {
				return err
			}
			written[h.Name] = true
		}
	}
	for _, f := range debs {
		err := deb.Walk(ctx, f, deb.Limits{}, func(h *tar.Header, r io.Reader) error {
			name := path.Clean(h.Name)
			first, _, below := strings.Cut(name, "/")
			if name == "." || slices.Contains(links, name) || strings.HasPrefix(name, "usr/share/doc/") || strings.HasPrefix(name, "usr/share/locale/") {
				return nil
			}
			if below && slices.Contains(links, first) {
				name = "usr/" + name
			}
			if written[name] {
				return nil
			}
			h.Name, written[name] = name, true
			if err := out.WriteHeader(h); err != nil {
				return err
			}
			if strings.HasPrefix(name, "usr/share/ca-certificates/") {
				r = io.TeeReader(r, &authorities)
			}
			_, err := io.Copy(out, r)
			return err
		})
		if err != nil {
			return err
		}
	}
	bundle := &tar.Header{Name: "etc/ssl/certs/ca-certificates.crt", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(authorities.Len())}
	if err := out.WriteHeader(bundle); err != nil {
		return err
	}
	if _, err := authorities.WriteTo(out); err != nil {
		return err
	}
	return out.Close()
}
