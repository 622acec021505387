// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/grid"
	"github.com/mews-farm/mews/builders/store"
	"github.com/mews-farm/mews/builders/store/moto"
	"github.com/mews-farm/mews/results/cause"
)

var _ = Describe("mews build --publish", Label("build", "net"), Ordered, func() {
	const bucket = "falco-drivers"
	var at string // of the server

	// request asks the server itself, past mews.
	request := func(method, path, body string) (int, []byte) {
		GinkgoHelper()
		req, err := http.NewRequestWithContext(GinkgoT().Context(), method, at+path, strings.NewReader(body))
		Expect(err).NotTo(HaveOccurred())
		resp, err := http.DefaultClient.Do(req)
		Expect(err).NotTo(HaveOccurred())
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		Expect(err).NotTo(HaveOccurred())
		return resp.StatusCode, text
	}
	BeforeAll(func(ctx SpecContext) {
		at = moto.Start(ctx)
		status, _ := request(http.MethodPut, "/"+bucket, "")
		Expect(status).To(Equal(http.StatusOK))
		// Whoever downloads drivers has no account.
		status, _ = request(http.MethodPut, "/"+bucket+"?policy",
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::`+bucket+`/*"}]}`)
		Expect(status).To(BeNumerically("<", 300))
	})
	var dir, quick string
	var args []string
	BeforeEach(func() {
		for k, v := range map[string]string{
			"AWS_ENDPOINT_URL": at, "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "very-secret-not-to-be-shown",
			"AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		} {
			GinkgoT().Setenv(k, v)
		}
		dir = GinkgoT().TempDir()
		quick = toy(dir, "quick", "1.0", "# "+dir+"\n") // of a content that nobody built before
		args = []string{"-f", "../../matrix.yaml", "--builder", "local", "--kernel", oneKernel, "--source", quick, "--publish", "s3://" + bucket + dir}
	})
	// verify reads all that the bucket holds below a prefix: whatever a reader finds there must be whole.
	verify := func(prefix string) *store.Check {
		GinkgoHelper()
		s, err := store.Open(GinkgoT().Context(), "s3://"+bucket+prefix)
		Expect(err).NotTo(HaveOccurred())
		check, err := s.Verify(GinkgoT().Context(), "")
		Expect(err).NotTo(HaveOccurred())
		Expect(check.Problems).To(BeEmpty())
		return check
	}
	clean := func(prefix string) {
		GinkgoHelper()
		check := verify(prefix)
		Expect(check.Clean()).To(BeTrue(), "%+v", check)
		Expect(check.Artifacts).To(Equal(1))
	}

	It("puts into a bucket what a plain client then downloads", func() {
		code, by := built(args...)
		Expect(code).To(Equal(0))
		r := by["quick-1.0-kmod"]
		Expect(r.Origin).To(Equal(grid.Built))
		clean(dir)
		status, index := request(http.MethodGet, "/"+bucket+dir+"/1.0/index.json", "")
		Expect(status).To(Equal(http.StatusOK))
		file := regexp.MustCompile(`falco_debian_[^"]*_1\.ko`).FindString(string(index))
		Expect(file).NotTo(BeEmpty(), "%s", index)
		status, ko := request(http.MethodGet, "/"+bucket+dir+"/1.0/x86_64/"+strings.ReplaceAll(file, "+", "%2B"), "")
		Expect(status).To(Equal(http.StatusOK))
		sum := sha256.Sum256(ko)
		Expect(hex.EncodeToString(sum[:])).To(Equal(string(r.Artifact.SHA256)))

		By("changing nothing when asked again")
		code, by = built(args...)
		Expect(code).To(Equal(0))
		Expect(by["quick-1.0-kmod"].Origin).To(Equal(grid.Remembered))

		By("putting nothing over what users have")
		Expect(os.WriteFile(filepath.Join(quick, "quick.c"), []byte("#include <linux/module.h>\nMODULE_LICENSE(\"GPL\");\nint x = 1;\n"), 0o644)).To(Succeed())
		code, by = built(args...)
		Expect(code).To(Equal(3))
		Expect(by["quick-1.0-kmod"].Cause).To(Equal(cause.StoreConflict))
		_, still := request(http.MethodGet, "/"+bucket+dir+"/1.0/x86_64/"+strings.ReplaceAll(file, "+", "%2B"), "")
		Expect(still).To(Equal(ko))
	})

	It("leaves a whole store when it is killed at any of its writes, and goes on when it is asked again", func() {
		target, err := url.Parse(at)
		Expect(err).NotTo(HaveOccurred())
		var c atomic.Pointer[exec.Cmd]
		var puts, deadly atomic.Int32
		proxy := httputil.NewSingleHostReverseProxy(target)
		between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && puts.Add(1) == deadly.Load() {
				Expect(c.Load().Process.Kill()).To(Succeed())
				return
			}
			proxy.ServeHTTP(w, r)
		}))
		DeferCleanup(between.Close)
		// What is to be built is the same each time: of all but the first only the publishing is done again, below another prefix.
		killed, halfway := 0, 0
		for n := int32(1); ; n++ {
			Expect(n).To(BeNumerically("<", 50))
			prefix := fmt.Sprintf("%s/%d", dir, n)
			args[len(args)-1] = "s3://" + bucket + prefix
			puts.Store(0)
			deadly.Store(n)
			run := mews(append([]string{"build"}, args...)...)
			run.Env = append(run.Env, "AWS_ENDPOINT_URL="+between.URL)
			run.Stderr = GinkgoWriter
			c.Store(run)
			err := run.Run()
			if puts.Load() < n {
				Expect(err).NotTo(HaveOccurred())
				clean(prefix)
				break
			}
			Expect(run.ProcessState.Sys().(syscall.WaitStatus).Signal()).To(Equal(syscall.SIGKILL))
			killed++
			if !verify(prefix).Clean() {
				halfway++
			}
			code, _ := built(args...)
			Expect(code).To(Equal(0))
			clean(prefix)
		}
		// The module, its sidecar, its provenance, its log and the index at least.
		Expect(killed).To(BeNumerically(">=", 5))
		Expect(halfway).To(BeNumerically(">=", 2), "it is not the publishing that was stopped")
	})

	DescribeTable("keeps what it built when the server will not have it",
		func(status int, said string, want cause.Cause) {
			refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/xml")
				w.WriteHeader(status)
				io.WriteString(w, `<?xml version="1.0"?><Error><Code>`+said+`</Code><Message>no</Message></Error>`)
			}))
			DeferCleanup(refusing.Close)
			GinkgoT().Setenv("AWS_ENDPOINT_URL", refusing.URL)
			GinkgoT().Setenv("AWS_MAX_ATTEMPTS", "1")
			code, by := built(args...)
			Expect(code).To(Equal(3))
			f := by["quick-1.0-kmod"].Finding
			Expect([]any{f.State, f.Cause, f.Fault}).To(Equal([]any{cause.Error, want, cause.FaultInfra}), "%+v", f)
			Expect(f.Evidence[0].Text).NotTo(ContainSubstring("very-secret"))
			GinkgoT().Setenv("AWS_ENDPOINT_URL", at)
			code, by = built(args...)
			Expect(code).To(Equal(0))
			Expect(by["quick-1.0-kmod"].State).To(Equal(cause.Pass))
			clean(dir)
		},
		Entry("because it may not", 403, "AccessDenied", cause.StoreDenied),
		Entry("because it is full", 507, "XMinioStorageFull", cause.DiskFull),
		Entry("because the bucket is gone", 404, "NoSuchBucket", cause.StoreUnreachable),
	)
})
