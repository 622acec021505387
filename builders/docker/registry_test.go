// SPDX-License-Identifier: Apache-2.0

package docker_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/docker"
	"github.com/mews-farm/mews/builders/images"
	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/results/cause"
)

// registry serves one image as the distribution's HTTP API V2 has it.
type registry struct {
	*httptest.Server
	manifest string            // its digest
	blobs    map[string][]byte // manifest, configuration and layer, by digest
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// newRegistry holds an image of one layer.
func newRegistry(layer []byte) *registry {
	GinkgoHelper()
	r := &registry{blobs: map[string][]byte{}}
	put := func(v any) (string, int) {
		b, err := json.Marshal(v)
		Expect(err).NotTo(HaveOccurred())
		r.blobs[digest(b)] = b
		return digest(b), len(b)
	}
	r.blobs[digest(layer)] = layer
	config, size := put(map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest(layer)}}, // not compressed: the same digest
	})
	const dist = "application/vnd.docker."
	r.manifest, _ = put(map[string]any{
		"schemaVersion": 2, "mediaType": dist + "distribution.manifest.v2+json",
		"config": map[string]any{"mediaType": dist + "container.image.v1+json", "size": size, "digest": config},
		"layers": []any{map[string]any{"mediaType": dist + "image.rootfs.diff.tar", "size": len(layer), "digest": digest(layer)}},
	})
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		i := strings.LastIndex(q.URL.Path, "/")
		b, ok := r.blobs[q.URL.Path[i+1:]]
		switch {
		case q.URL.Path == "/v2/":
		case !ok && strings.Contains(q.URL.Path, "/manifests/"):
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			w.Write([]byte(`{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`))
		case !ok:
			w.WriteHeader(http.StatusNotFound)
		default:
			if strings.Contains(q.URL.Path, "/manifests/") {
				w.Header().Set("Content-Type", dist+"distribution.manifest.v2+json")
			}
			http.ServeContent(w, q, "", time.Time{}, bytes.NewReader(b))
		}
	}))
	DeferCleanup(r.Close)
	return r
}

func (r *registry) ref(digest string) string {
	return strings.TrimPrefix(r.URL, "http://") + "/mews/test:1@" + digest
}

var _ = Describe("A registry's image", Label("build", "net"), Ordered, func() {
	var (
		f     *host
		layer bytes.Buffer
		cli   *client.Client
	)
	BeforeAll(func(ctx SpecContext) {
		f = newHost(ctx)
		f.runner()
		Expect(docker.WriteTar(ctx, f.tree(ctx, "bookworm", small...).Dir, &layer)).To(Succeed())
		var err error
		cli, err = client.NewClientWithOpts(client.WithHost(f.docker.Info().Host), client.WithAPIVersionNegotiation())
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(cli.Close)
	})

	choice := func(ref string, install ...string) images.Choice {
		c := images.Compiler{Name: "gcc-8", Command: "gcc", Family: "gcc", Major: 8}
		return images.Choice{Image: &images.Image{Name: "test", Registry: ref, Install: install, Compilers: []images.Compiler{c}}, Compiler: c}
	}
	maker := func(dir string) *images.Maker {
		return &images.Maker{Roots: &root.Cache{Dir: dir}, Registry: f.docker}
	}
	forget := func(ctx context.Context, ref string) {
		if _, err := cli.ImageRemove(ctx, ref, image.RemoveOptions{Force: true, PruneChildren: true}); err != nil {
			GinkgoWriter.Println("remove:", err)
		}
	}

	It("is pulled by its digest, completed, and becomes a root for every runner", func(ctx SpecContext) {
		r := newRegistry(layer.Bytes())
		ref := r.ref(r.manifest)
		DeferCleanup(func(ctx SpecContext) { forget(ctx, ref) })
		dir := GinkgoT().TempDir()
		c := choice(ref, "/bin/sh", "-c", `printf '#!/bin/sh\necho gcc 8.5 as "$(id -u)"\n' >/usr/bin/gcc; chmod 755 /usr/bin/gcc`)
		made, err := maker(dir).Root(ctx, c)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(made.Identity).To(Equal(c.Image.Identity(nil)))
		for name, runner := range map[string]sandbox.Runner{"docker": f.docker, "local": sandbox.Local{}} {
			s, out := shell(made.Root, "gcc")
			res, err := runner.Run(ctx, s)
			Expect(err).NotTo(HaveOccurred(), "%s: %+v", name, err)
			Expect(res.ExitCode).To(Equal(0), name)
			Expect(out.String()).To(HavePrefix("gcc 8.5 as "), name)
		}
		_, err = f.docker.Prune(ctx, func(key string) bool { return key != made.Key })
		Expect(err).NotTo(HaveOccurred())

		By("not asking the registry again")
		r.Close()
		again, err := maker(dir).Root(ctx, c)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(again.Dir).To(Equal(made.Dir))
	})

	refusal := func(ctx context.Context, c images.Choice) cause.Finding {
		GinkgoHelper()
		dir := GinkgoT().TempDir()
		made, err := maker(dir).Root(ctx, c)
		Expect(err).To(HaveOccurred(), "%+v", made)
		AddReportEntry("error", err.Error(), ReportEntryVisibilityFailureOrVerbose)
		Expect(err.Error()).To(ContainSubstring(c.Image.Registry))
		finding := cause.Of(err)
		Expect(finding.State).To(Equal(cause.Error))
		Expect(finding.Fault).To(Equal(cause.FaultInfra))
		Expect(filepath.Glob(filepath.Join(dir, "image-*[0-9a-f]"))).To(BeEmpty(), "nothing is taken for a root")
		return finding
	}

	It("of another digest is refused", func(ctx SpecContext) {
		r := newRegistry(layer.Bytes())
		other := digest([]byte("what was promised"))
		r.blobs[other] = r.blobs[r.manifest]
		Expect(refusal(ctx, choice(r.ref(other))).Cause).To(Equal(cause.PackageCorrupt))
	})

	It("whose layer was tampered with is refused", func(ctx SpecContext) {
		var evil bytes.Buffer
		dir := GinkgoT().TempDir()
		Expect(os.WriteFile(filepath.Join(dir, "evil"), nil, 0o755)).To(Succeed())
		Expect(docker.WriteTar(ctx, dir, &evil)).To(Succeed())
		r := newRegistry(evil.Bytes())
		r.blobs[digest(evil.Bytes())] = bytes.Replace(evil.Bytes(), []byte("evil"), []byte("good"), 1)
		Expect(refusal(ctx, choice(r.ref(r.manifest))).Cause).To(Equal(cause.PackageCorrupt))
	})

	It("that the registry lacks is said to be missing", func(ctx SpecContext) {
		r := newRegistry(layer.Bytes())
		Expect(refusal(ctx, choice(r.ref(digest([]byte("nothing"))))).Cause).To(Equal(cause.PackageMissing))
	})

	It("is said to be out of reach where the registry is", func(ctx SpecContext) {
		r := newRegistry(layer.Bytes())
		r.Close()
		Expect(refusal(ctx, choice(r.ref(r.manifest))).Cause).To(Equal(cause.MirrorUnreachable))

		By("as are the real ones from a machine without a network; a machine with one is not asked for them")
		_, err := (&images.Maker{}).Root(ctx, choice(r.ref(r.manifest)))
		Expect(cause.Of(err).Cause).To(Equal(cause.MirrorUnreachable))
	})

	It("that cannot be completed says what its package manager said", func(ctx SpecContext) {
		r := newRegistry(layer.Bytes())
		ref := r.ref(r.manifest)
		DeferCleanup(func(ctx SpecContext) { forget(ctx, ref) })
		finding := refusal(ctx, choice(ref, "/bin/sh", "-c", "echo Cannot find a valid baseurl; exit 4"))
		Expect(finding.Cause).To(Equal(cause.ToolchainBroken))
		Expect(finding.Evidence).To(ContainElement(HaveField("Text", "Cannot find a valid baseurl")))
	})

	It("without the compiler it promises is refused", func(ctx SpecContext) {
		r := newRegistry(layer.Bytes())
		ref := r.ref(r.manifest)
		DeferCleanup(func(ctx SpecContext) { forget(ctx, ref) })
		_, err := maker(GinkgoT().TempDir()).Root(ctx, choice(ref))
		Expect(err).To(MatchError(ContainSubstring("has no /usr/bin/gcc")))
	})
})
