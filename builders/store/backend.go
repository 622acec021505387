// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/mews-farm/mews/kernels/archive"
)

// backend keeps objects by name: relative, with slashes, as [Key] makes them. An object is there whole or not at all.
// Every error is a *cause.Err; one about an object that is not there wraps fs.ErrNotExist.
type backend interface {
	// put writes an object and returns its version. When a condition is not met nothing is written, and the error wraps errChanged.
	put(ctx context.Context, name string, c content, only condition) (version string, err error)
	open(ctx context.Context, name string) (r io.ReadCloser, version string, err error)
	stat(ctx context.Context, name string) (info, error)
	// digest is the SHA-256 of what the object holds.
	digest(ctx context.Context, name string) (archive.Digest, error)
	// list names the objects that begin with a prefix, in no order. Not those that are being written.
	list(ctx context.Context, prefix string) iter.Seq2[info, error]
	// remove takes an object away; one that is not there is no error.
	remove(ctx context.Context, name string) error
	// versions names the directories at the top.
	versions(ctx context.Context) ([]string, error)
	String() string // without secrets
}

// info is what a back end knows of an object without reading it.
type info struct {
	name    string
	size    int64  // bytes
	version string // changes with every put
}

// content is what is to be written. A put reads it once or more, from its beginning, and fails when it is not what sha256 says.
type content struct {
	r      io.ReadSeeker
	size   int64
	sha256 archive.Digest
	kind   string // MIME type
}

// condition says when a put may be done. The zero value: always.
type condition struct {
	absent  bool   // nothing has that name
	version string // the object has still this version
}

// errChanged: a put's condition was not met, because somebody else was faster.
var errChanged = errors.New("the object was changed meanwhile")

// The MIME types of what is in a store. S3 hands them out; a web server in front of a directory has its own idea.
const (
	kindArtifact = "application/octet-stream"
	kindJSON     = "application/json"
	kindHTML     = "text/html; charset=utf-8"
	kindLog      = "text/plain; charset=utf-8"
)
