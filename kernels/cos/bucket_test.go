// SPDX-License-Identifier: Apache-2.0

package cos

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/get"
)

// bucket answers as Google's XML interface does. Tests change it before they use it.
type bucket struct {
	objects map[string]string // content by key
	sizes   map[string]int64  // of objects whose content nobody asks for
	etags   map[string]string // in place of the MD5
	page    int               // keys on a page
	v2      bool              // continue by token
	bare    bool              // continue by the last key: no NextMarker
	before  func(w http.ResponseWriter, r *http.Request, n int) (answered bool)

	mu       sync.Mutex
	requests []string
}

func (b *bucket) add(prefix string, files map[string]string) {
	for name, content := range files {
		b.objects[prefix+name] = content
	}
}

func (b *bucket) keys(prefix string) []string {
	var keys []string
	for k := range b.objects {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

func (b *bucket) etag(key string) string {
	if tag, ok := b.etags[key]; ok {
		return tag
	}
	sum := md5.Sum([]byte(b.objects[key]))
	return hex.EncodeToString(sum[:])
}

func (b *bucket) size(key string) int64 {
	if n, ok := b.sizes[key]; ok {
		return n
	}
	return int64(len(b.objects[key]))
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	b.requests = append(b.requests, r.URL.RequestURI())
	n := len(b.requests)
	b.mu.Unlock()
	if b.before != nil && b.before(w, r, n) {
		return
	}
	key := strings.TrimPrefix(r.URL.Path, "/cos-tools/")
	if key == "" {
		b.list(w, r)
		return
	}
	content, ok := b.objects[key]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>`)
		return
	}
	fmt.Fprint(w, content)
}

// list has the shape of an answer of storage.googleapis.com, version 1 with markers or version 2 with tokens.
func (b *bucket) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	keys := b.keys(q.Get("prefix"))
	after := q.Get("marker")
	if b.v2 && after != "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if token := q.Get("continuation-token"); token != "" {
		raw, err := base64.StdEncoding.DecodeString(token)
		if err != nil || q.Get("list-type") != "2" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		after = string(raw)
	}
	from, found := slices.BinarySearch(keys, after)
	if found {
		from++
	}
	to := min(from+b.page, len(keys))
	if b.page == 0 {
		to = len(keys)
	}
	w.Header().Set("Content-Type", "application/xml; charset=UTF-8")
	fmt.Fprintf(w, `<?xml version='1.0' encoding='UTF-8'?><ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'>`+
		`<Name>cos-tools</Name><Prefix>%s</Prefix><Marker>%s</Marker>`, q.Get("prefix"), q.Get("marker"))
	if to < len(keys) && b.v2 {
		fmt.Fprintf(w, `<NextContinuationToken>%s</NextContinuationToken>`, base64.StdEncoding.EncodeToString([]byte(keys[to-1])))
	} else if to < len(keys) && !b.bare {
		fmt.Fprintf(w, `<NextMarker>%s</NextMarker>`, keys[to-1])
	}
	fmt.Fprintf(w, `<IsTruncated>%s</IsTruncated>`, strconv.FormatBool(to < len(keys)))
	for _, k := range keys[from:to] {
		fmt.Fprintf(w, `<Contents><Key>%s</Key><Generation>1579291243459163</Generation><MetaGeneration>1</MetaGeneration>`+
			`<LastModified>2020-01-17T20:00:43.459Z</LastModified><ETag>"%s"</ETag><Size>%d</Size></Contents>`, k, b.etag(k), b.size(k))
	}
	fmt.Fprint(w, `</ListBucketResult>`)
}

// serve makes a source that reads b.
func serve(t *testing.T, b *bucket, change func(*Options)) *Source {
	t.Helper()
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	store, err := archive.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Archive: store, Base: server.URL + "/cos-tools/", Patience: get.Patience{Stall: 10 * time.Second, Backoff: time.Millisecond}}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
