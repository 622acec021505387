// SPDX-License-Identifier: Apache-2.0

package cos

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/mews-farm/mews/results/cause"
)

const (
	maxPage  = 8 << 20 // bytes; a page has 1000 keys of about 350 bytes
	maxPages = 5000
)

// object is one file of a bucket.
type object struct {
	Key  string `xml:"Key"`
	ETag string `xml:"ETag"`
	Size int64  `xml:"Size"`
}

// sum is the object's checksum as [kernels.Package] has it, empty where the ETag is none: objects that were put
// together from parts have an ETag that is no hash of their content.
func (o object) sum() string {
	tag := strings.ToLower(strings.Trim(o.ETag, `"`))
	if b, err := hex.DecodeString(tag); err != nil || len(b) != 16 {
		return ""
	}
	return "md5:" + tag
}

// page is a part of a bucket's listing, as S3 defined it and Google answers too: version 1, which is continued by
// a marker, or version 2, which is continued by a token.
type page struct {
	XMLName   xml.Name
	Contents  []object `xml:"Contents"`
	Truncated bool     `xml:"IsTruncated"`
	Marker    string   `xml:"NextMarker"`
	Token     string   `xml:"NextContinuationToken"`
	// Of an <Error>.
	Code    string `xml:"Code"`
	Message string `xml:"Message"`
}

// parsePage reads one page. What is no listing, and a listing that is cut short, is an error.
func parsePage(text []byte) (*page, error) {
	dec := xml.NewDecoder(bytes.NewReader(text))
	var p page
	if err := dec.Decode(&p); err != nil {
		return nil, err
	}
	if p.XMLName.Local == "Error" {
		return nil, fmt.Errorf("the bucket answers %s: %s", p.Code, p.Message)
	}
	if p.XMLName.Local != "ListBucketResult" {
		return nil, fmt.Errorf("<%s> is not the listing of a bucket", p.XMLName.Local)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the listing")
	}
	for _, o := range p.Contents {
		if o.Key == "" || o.Size < 0 {
			return nil, fmt.Errorf("object %q has %d bytes", o.Key, o.Size)
		}
	}
	return &p, nil
}

// next is the query of the page after p; empty after the last.
func (p *page) next(prefix string) (url.Values, error) {
	q := url.Values{}
	if prefix != "" {
		q.Set("prefix", prefix)
	}
	switch {
	case !p.Truncated:
		return nil, nil
	case p.Token != "":
		q.Set("list-type", "2")
		q.Set("continuation-token", p.Token)
	case p.Marker != "":
		q.Set("marker", p.Marker)
	case len(p.Contents) > 0: // S3 leaves the marker out when no delimiter was asked for
		q.Set("marker", p.Contents[len(p.Contents)-1].Key)
	default:
		return nil, errors.New("a page is truncated and does not say where the next begins")
	}
	return q, nil
}

// list calls fn for every object whose key begins with prefix, in the order of the keys. The listing is whole, or
// there is an error: a build of which half the files are known would look like one that lost them.
func (s *Source) list(ctx context.Context, prefix string, fn func(object)) error {
	q := url.Values{}
	if prefix != "" {
		q.Set("prefix", prefix)
	}
	seen := map[string]bool{}
	for n := 1; q != nil; n++ {
		query := q.Encode()
		where := s.o.Base + "/?" + query
		if n > maxPages || seen[query] {
			return listingErr(where, fmt.Errorf("the listing does not end: page %d", n))
		}
		seen[query] = true
		text, err := s.client.Read(ctx, where, fmt.Sprintf("listing of %s, page %d", s.o.Base, n), maxPage)
		if err != nil {
			return err
		}
		p, err := parsePage(text)
		if err != nil {
			return listingErr(where, err)
		}
		for _, o := range p.Contents {
			fn(o)
		}
		if q, err = p.next(prefix); err != nil {
			return listingErr(where, err)
		}
	}
	return nil
}

func listingErr(where string, err error) error {
	return cause.Errorf(cause.MirrorUnreachable, cause.FaultInfra, "list %s: %w", where, err).
		Advise("see whether that is the URL of a bucket, and whether a proxy answers in its place")
}
