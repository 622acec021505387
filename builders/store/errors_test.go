// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/results/cause"
)

// is fails unless err is the error of a store, with this cause.
func is(t *testing.T, what string, err error, want cause.Cause) {
	t.Helper()
	if f := cause.Of(err); f.State != cause.Error || f.Cause != want || f.Fault != cause.FaultInfra {
		t.Errorf("%s: %s/%s/%s, want %s: %v", what, f.State, f.Cause, f.Fault, want, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, at := range []string{
		"ftp://host/dir", "s3://", "s3:///prefix", "s3://key:hunter2@bucket/p", "s3://bucket/p?secret=hunter2", "s3://buc ket\x7f:hunter2", "/dev/null/store",
	} {
		s, err := Open(t.Context(), at)
		is(t, at, err, cause.StoreUnreachable)
		if s != nil || strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%s: %v, %v", at, s, err)
		}
	}
}

// small is a file system of a few kilobytes.
func small(t *testing.T, flags uintptr, size string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, "size="+size); err != nil {
		t.Skipf("needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFullDirectory(t *testing.T) {
	s, err := Open(t.Context(), small(t, 0, "64k"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.b.(*dirBackend).root.Close()
	dir := t.TempDir()
	for i := 0; ; i++ {
		k := key("1", fmt.Sprintf("debian_6.1.%d-1-amd64_1", i), "kmod")
		_, err = s.Publish(t.Context(), []Entry{built(dir, k, strings.Repeat("x", 4096)+k.Path())}, Options{})
		if err != nil {
			break
		}
		if i > 100 {
			t.Fatal("the disk never got full")
		}
	}
	is(t, "a full disk", err, cause.DiskFull)
	c, err := s.Verify(t.Context(), "")
	if err != nil || len(c.Problems) > 0 {
		t.Errorf("a full disk spoilt the store: %+v, %v", c, err)
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	s, err := Open(t.Context(), small(t, unix.MS_RDONLY, "64k"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.b.(*dirBackend).root.Close()
	_, err = s.Publish(t.Context(), sample(t.TempDir()), Options{})
	is(t, "a read-only directory", err, cause.StoreDenied)
	if st, err := s.Has(t.Context(), bookwormKo); err != nil || st.Sidecar != nil {
		t.Errorf("a read-only directory can be asked: %+v, %v", st, err)
	}
}

func TestDirectoryGone(t *testing.T) {
	at := filepath.Join(t.TempDir(), "store")
	s, err := Open(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(at); err != nil {
		t.Fatal(err)
	}
	_, err = s.Publish(t.Context(), sample(t.TempDir()), Options{})
	is(t, "a directory that was removed", err, cause.StoreUnreachable)
}

// Answers that moto does not give, as S3, MinIO and Ceph word them.
func TestAnswersOfServers(t *testing.T) {
	for _, tt := range []struct {
		status int
		code   string
		want   cause.Cause
	}{
		{403, "AccessDenied", cause.StoreDenied},
		{403, "InvalidAccessKeyId", cause.StoreDenied},
		{403, "SignatureDoesNotMatch", cause.StoreDenied},
		{400, "ExpiredToken", cause.StoreDenied},
		{401, "", cause.StoreDenied},
		{403, "QuotaExceeded", cause.DiskFull},
		{507, "XMinioStorageFull", cause.DiskFull},
		{507, "", cause.DiskFull},
		{404, "NoSuchBucket", cause.StoreUnreachable},
		{501, "NoSuchThing", cause.StoreUnreachable},
		{301, "PermanentRedirect", cause.StoreUnreachable},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(tt.status)
			if tt.code != "" {
				fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>m</Message><AWSAccessKeyId>AKIAHUNTER</AWSAccessKeyId></Error>`, tt.code)
			}
		}))
		withServer(t, srv.URL)
		s, err := Open(t.Context(), "s3://bucket/prefix")
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Publish(t.Context(), sample(t.TempDir()), Options{})
		srv.Close()
		is(t, fmt.Sprint(tt.status, tt.code), err, tt.want)
		if text := fmt.Sprintf("%+v", err); strings.Contains(text, "hunter2") || strings.Contains(text, "AKIA") || !strings.Contains(text, "s3://bucket/prefix") {
			t.Errorf("%d %s: %s", tt.status, tt.code, text)
		}
	}
}

func withServer(t *testing.T, at string) {
	t.Helper()
	for k, v := range map[string]string{
		"AWS_ENDPOINT_URL": at, "AWS_ACCESS_KEY_ID": "AKIAHUNTER", "AWS_SECRET_ACCESS_KEY": "hunter2", "AWS_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(k, v)
	}
}

func TestServerGone(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	withServer(t, strings.Replace(srv.URL, "http://", "http://someone:hunter2@", 1))
	s, err := Open(t.Context(), "s3://bucket")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Publish(t.Context(), sample(t.TempDir()), Options{})
	is(t, "nobody listens", err, cause.StoreUnreachable)
	if strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
}

func TestNoCredentials(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	withServer(t, srv.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	s, err := Open(t.Context(), "s3://bucket")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Publish(t.Context(), sample(t.TempDir()), Options{})
	is(t, "no credentials", err, cause.StoreDenied)
}

// A server without conditional writes is looked at instead.
func TestServerWithoutConditions(t *testing.T) {
	var puts int
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		case r.Header.Get("If-None-Match") != "":
			w.WriteHeader(http.StatusNotImplemented)
			fmt.Fprint(w, `<Error><Code>NotImplemented</Code><Message>m</Message></Error>`)
		default:
			puts++
			w.Header().Set("ETag", `"e"`)
		}
	}))
	defer srv.Close()
	withServer(t, srv.URL)
	s, err := Open(t.Context(), "s3://bucket")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.write(t.Context(), "a", kindJSON, []byte("{}"), condition{absent: true}); err != nil || puts != 1 {
		t.Errorf("%d puts, %v", puts, err)
	}
}

func TestCancelled(t *testing.T) {
	s := opened(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Publish(ctx, sample(t.TempDir()), Options{})
	is(t, "cancelled", err, cause.Cancelled)
}
