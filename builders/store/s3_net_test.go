// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/store/moto"
	"github.com/mews-farm/mews/results/cause"
)

const (
	motoBucket = "falco-distribution"
	motoSecret = "very-secret-not-to-be-shown"
)

var _ = ginkgo.Describe("A store in a bucket of moto_server", ginkgo.Ordered, ginkgo.Label("net"), func() {
	var at, dir string
	var client *s3.Client

	open := func(ctx context.Context, url string) *Store {
		s, err := Open(ctx, url)
		gomega.ExpectWithOffset(1, err).NotTo(gomega.HaveOccurred())
		return s
	}
	ginkgo.BeforeAll(func(ctx ginkgo.SpecContext) {
		at = moto.Start(ctx)
		for k, v := range map[string]string{
			"AWS_ENDPOINT_URL": at, "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": motoSecret,
			"AWS_REGION": "eu-west-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		} {
			was, had := os.LookupEnv(k)
			gomega.Expect(os.Setenv(k, v)).To(gomega.Succeed())
			ginkgo.DeferCleanup(func() error {
				if had {
					return os.Setenv(k, was)
				}
				return os.Unsetenv(k)
			})
		}
		client = open(ctx, "s3://"+motoBucket).b.(*bucket).client
		_, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(motoBucket), CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}})
		gomega.Expect(err).NotTo(gomega.HaveOccurred())
		_, err = client.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: aws.String(motoBucket), Policy: aws.String(
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::` + motoBucket + `/*"}]}`)})
		gomega.Expect(err).NotTo(gomega.HaveOccurred())
		dir, err = os.MkdirTemp("", "mews-store-")
		gomega.Expect(err).NotTo(gomega.HaveOccurred())
		ginkgo.DeferCleanup(os.RemoveAll, dir)
	})

	verify := func(ctx context.Context, s *Store, artifacts int) {
		ginkgo.GinkgoHelper()
		c, err := s.Verify(ctx, "")
		gomega.Expect(err).NotTo(gomega.HaveOccurred())
		gomega.Expect(c.Clean()).To(gomega.BeTrue(), "%+v", c)
		gomega.Expect(c.Artifacts).To(gomega.Equal(artifacts))
	}

	ginkgo.It("is published to, listed, added to and verified below its prefix", func(ctx ginkgo.SpecContext) {
		s := open(ctx, "s3://"+motoBucket+"/driver/")
		r, err := s.Publish(ctx, sample(dir), Options{})
		gomega.Expect(err).NotTo(gomega.HaveOccurred())
		gomega.Expect(r.Written).To(gomega.Equal(5))
		verify(ctx, s, 3)
		r, err = s.Publish(ctx, sample(dir), Options{})
		gomega.Expect(err).NotTo(gomega.HaveOccurred())
		gomega.Expect(r.Same).To(gomega.Equal(5))
		page, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String(motoBucket)})
		gomega.Expect(err).NotTo(gomega.HaveOccurred())
		names := []string{}
		for _, o := range page.Contents {
			gomega.Expect(*o.Key).To(gomega.HavePrefix("driver/"))
			names = append(names, *o.Key)
		}
		gomega.Expect(names).To(gomega.ContainElements("driver/"+plusKo.Path(), "driver/"+plusKo.sidecar(), "driver/7.2.1+driver/index.json"))

		x, err := s.Index(ctx, "7.2.1+driver")
		gomega.Expect(err).NotTo(gomega.HaveOccurred())
		gomega.Expect(x.Kernels).To(gomega.HaveLen(1))
		gomega.Expect(x.Kernels[0].Variants["kmod"].Supported).To(gomega.Equal(Available))
		gomega.Expect(x.Kernels[0].Variants["ebpf"].Cause).To(gomega.Equal(cause.CompileError))
	})

	ginkgo.It("has the bytes that a directory has", func(ctx ginkgo.SpecContext) {
		local, err := os.MkdirTemp("", "mews-store-")
		gomega.Expect(err).NotTo(gomega.HaveOccurred())
		ginkgo.DeferCleanup(os.RemoveAll, local)
		d := open(ctx, local)
		_, err = d.Publish(ctx, sample(dir), Options{})
		gomega.Expect(err).NotTo(gomega.HaveOccurred())
		s := open(ctx, "s3://"+motoBucket+"/driver")
		n := 0
		for i, err := range s.b.list(ctx, "") {
			gomega.Expect(err).NotTo(gomega.HaveOccurred())
			theirs, _, err := s.read(ctx, i.name, maxIndex)
			gomega.Expect(err).NotTo(gomega.HaveOccurred())
			ours, _, err := d.read(ctx, i.name, maxIndex)
			gomega.Expect(err).NotTo(gomega.HaveOccurred())
			gomega.Expect(string(theirs)).To(gomega.Equal(string(ours)), i.name)
			n++
		}
		gomega.Expect(n).To(gomega.BeNumerically(">", 15))
	})

	ginkgo.It("refuses other content until it is told to replace it", func(ctx ginkgo.SpecContext) {
		s := open(ctx, "s3://"+motoBucket+"/driver")
		other := built(dir, bookwormKo, "another module")
		r, err := s.Publish(ctx, []Entry{other}, Options{})
		gomega.Expect(cause.Of(err).Cause).To(gomega.Equal(cause.StoreConflict), "%v", err)
		gomega.Expect(err.Error()).To(gomega.ContainSubstring(string(other.Artifact.SHA256)))
		gomega.Expect(r.Conflicts).To(gomega.ConsistOf(bookwormKo))
		verify(ctx, s, 3)
		r, err = s.Publish(ctx, []Entry{other}, Options{Replace: true})
		gomega.Expect(err).NotTo(gomega.HaveOccurred())
		gomega.Expect(r.Replaced).To(gomega.Equal(1))
		verify(ctx, s, 3)
	})

	ginkgo.It("puts nothing over what somebody else put meanwhile", func(ctx ginkgo.SpecContext) {
		b := open(ctx, "s3://"+motoBucket+"/conditions").b
		put := func(text string, only condition) (string, error) {
			return (&Store{b}).write(ctx, "a+b", kindJSON, []byte(text), only)
		}
		v1, err := put("1", condition{absent: true})
		gomega.Expect(err).NotTo(gomega.HaveOccurred())
		_, err = put("2", condition{absent: true})
		gomega.Expect(errors.Is(err, errChanged)).To(gomega.BeTrue(), "%v", err)
		v2, err := put("3", condition{version: v1})
		gomega.Expect(err).NotTo(gomega.HaveOccurred())
		_, err = put("4", condition{version: v1})
		gomega.Expect(errors.Is(err, errChanged)).To(gomega.BeTrue(), "If-Match of %s where %s is: %v", v1, v2, err)
		_, err = b.stat(ctx, "nothing")
		gomega.Expect(errors.Is(err, fs.ErrNotExist)).To(gomega.BeTrue(), "%v", err)
		gomega.Expect(b.remove(ctx, "nothing")).To(gomega.Succeed())
	})

	ginkgo.It("serves what falcoctl asks for", func(ctx ginkgo.SpecContext) {
		gomega.Expect(fetchAll(at + "/" + motoBucket + "/driver")).To(gomega.Succeed())
	})

	ginkgo.It("names a bucket that is gone, and a server that is", func(ctx ginkgo.SpecContext) {
		_, err := open(ctx, "s3://no-such-bucket/x").Publish(ctx, sample(dir), Options{})
		f := cause.Of(err)
		gomega.Expect([]any{f.State, f.Cause, f.Fault}).To(gomega.Equal([]any{cause.Error, cause.StoreUnreachable, cause.FaultInfra}), "%v", err)
		gomega.Expect(err.Error()).To(gomega.ContainSubstring("no-such-bucket"))
	})

	// The last: from here on the server checks who asks.
	ginkgo.It("says that it is denied, and never the secret", func(ctx ginkgo.SpecContext) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, at+"/moto-api/reset-auth", strings.NewReader("0"))
		gomega.Expect(err).NotTo(gomega.HaveOccurred())
		resp, err := http.DefaultClient.Do(req)
		gomega.Expect(err).NotTo(gomega.HaveOccurred())
		resp.Body.Close()
		gomega.Expect(resp.StatusCode).To(gomega.Equal(http.StatusOK))
		_, err = open(ctx, "s3://"+motoBucket+"/driver").Publish(ctx, sample(dir), Options{Replace: true})
		f := cause.Of(err)
		gomega.Expect([]any{f.State, f.Cause, f.Fault}).To(gomega.Equal([]any{cause.Error, cause.StoreDenied, cause.FaultInfra}), "%v", err)
		gomega.Expect(err.Error()).NotTo(gomega.ContainSubstring(motoSecret))
		gomega.Expect(err.Error()).NotTo(gomega.ContainSubstring("AKIA"))
	})
})
