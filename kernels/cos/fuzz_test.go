// SPDX-License-Identifier: Apache-2.0

package cos

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mews-farm/mews/kernels/internal/debtest"
)

func FuzzListing(f *testing.F) {
	f.Add([]byte(`<ListBucketResult><IsTruncated>true</IsTruncated><NextMarker>1.2.3/x</NextMarker>` +
		`<Contents><Key>1.2.3/vmlinux</Key><ETag>"d41d8cd98f00b204e9800998ecf8427e"</ETag><Size>0</Size></Contents></ListBucketResult>`))
	f.Add([]byte(`<Error><Code>SlowDown</Code></Error>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parsePage(text)
		if err != nil {
			return
		}
		if q, err := p.next(""); err == nil && (q != nil) != p.Truncated {
			t.Fatalf("truncated %t, next page %q", p.Truncated, q)
		}
		b := &builds{base: "http://b.example", m: map[string]*Build{}}
		for _, o := range p.Contents {
			b.add(o)
		}
		for _, build := range b.sorted() {
			for name, file := range build.Files {
				if name != file.Name || file.Size < 0 || !strings.HasPrefix(file.URL, "http://b.example/"+build.ID+"/") || strings.Contains(file.URL, "..") {
					t.Fatalf("made %+v", file)
				}
				if file.Sum != "" && len(file.Sum) != len("md5:")+32 {
					t.Fatalf("sum %q", file.Sum)
				}
			}
		}
	})
}

func FuzzHeaders(f *testing.F) {
	f.Add(debtest.Compress(f, ".gz", debtest.Tar(f, debtest.File("usr/src/linux-headers-6.1.143+/include/generated/utsrelease.h", `#define UTS_RELEASE "6.1.143"`))))
	f.Fuzz(func(t *testing.T, b []byte) {
		file := filepath.Join(t.TempDir(), Headers)
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
		id, err := identify(t.Context(), file)
		if err == nil && (id.release == "" || strings.ContainsAny(id.release, "/ \n")) {
			t.Fatalf("release %q", id.release)
		}
	})
}
