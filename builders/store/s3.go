// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// sumKey is the name of the user metadata (x-amz-meta-...) that holds an object's SHA-256: S3's own checksum of an
// object is kept by some servers only, and an ETag is no digest.
const sumKey = "sha256"

// defaultRegion is for servers that have none, which all take this one.
const defaultRegion = "us-east-1"

// bucket is a back end in an S3 bucket, on any server that speaks S3. Credentials, region and endpoint come from where the
// AWS tools find them: AWS_ACCESS_KEY_ID, AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL, ...
type bucket struct {
	client *s3.Client
	name   string
	prefix string // "" or ends in a slash
}

func openBucket(ctx context.Context, u *url.URL) (*bucket, error) {
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		// The URL is not repeated: whoever writes a user there writes a secret there.
		return nil, cause.Errorf(cause.StoreUnreachable, cause.FaultInfra, "a bucket's URL is s3://bucket/prefix, without a user, a query or a fragment").
			Advise("give credentials as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or as AWS_PROFILE")
	}
	prefix := strings.Trim(path.Clean("/"+u.Path), "/")
	if prefix != "" {
		prefix += "/"
	}
	b := &bucket{name: u.Host, prefix: prefix}
	if u.Host == "" {
		return nil, cause.Errorf(cause.StoreUnreachable, cause.FaultInfra, "s3://%s names no bucket", prefix).Advise("write s3://bucket/prefix")
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, b.fail("open", "", err)
	}
	if cfg.Region == "" {
		cfg.Region = defaultRegion
	}
	cfg.Credentials = credentials{cfg.Credentials}
	// Of the newer SDKs' own checksums other servers know nothing; ours is in every request that writes.
	cfg.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	cfg.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	b.client = s3.NewFromConfig(cfg, func(o *s3.Options) {
		// bucket.host is for AWS alone: no other server's certificate and name can be counted on to cover it.
		o.UsePathStyle = os.Getenv("AWS_ENDPOINT_URL") != "" || os.Getenv("AWS_ENDPOINT_URL_S3") != ""
	})
	return b, nil
}

// credentials marks the error of having none: the SDK's own is told by its text only.
type credentials struct{ aws.CredentialsProvider }

var errNoCredentials = errors.New("no credentials")

func (c credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	got, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil && ctx.Err() == nil {
		return got, fmt.Errorf("%w (%s)", errNoCredentials, innermost(err))
	}
	return got, err
}

func (b *bucket) String() string { return "s3://" + b.name + "/" + strings.TrimSuffix(b.prefix, "/") }

func (b *bucket) key(name string) *string { return aws.String(b.prefix + name) }

// denied are the codes with which servers refuse whoever asks, over the HTTP statuses 401 and 403.
var denied = []string{
	"AccessDenied", "AccountProblem", "AllAccessDisabled", "AuthorizationHeaderMalformed", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken",
	"SignatureDoesNotMatch", "TokenRefreshRequired", "UnauthorizedAccess",
}

// full are the codes of a server without room: Ceph's, MinIO's, and HTTP's own.
var full = []string{"QuotaExceeded", "InsufficientCapacity", "InsufficientStorage", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"}

// fail gives an error of the SDK its cause, and a text without the request: that may hold what is secret.
func (b *bucket) fail(what, name string, err error) error {
	var known *cause.Err
	var api smithy.APIError
	var resp *smithyhttp.ResponseError
	if err == nil || errors.As(err, &known) {
		return err
	}
	status := 0
	if errors.As(err, &resp) && resp.Response != nil {
		status = resp.HTTPStatusCode()
	}
	code := ""
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	at := strings.TrimSpace(fmt.Sprintf("store %s: %s %s", b, what, name))
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return cause.Errorf(cause.Cancelled, cause.FaultInfra, "%s: %w", at, context.Canceled)
	case errors.Is(err, errNoCredentials):
		return cause.Errorf(cause.StoreDenied, cause.FaultInfra, "%s: %w", at, errNoCredentials).Advise("give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or as AWS_PROFILE")
	case code == "PreconditionFailed", code == "ConditionalRequestConflict", status == http.StatusPreconditionFailed:
		return cause.Errorf(cause.StoreConflict, cause.FaultInfra, "%s: %w", at, errChanged)
	case code == "NoSuchBucket":
		return cause.Errorf(cause.StoreUnreachable, cause.FaultInfra, "%s: there is no bucket %s", at, b.name).Advise("make it, or see whether AWS_ENDPOINT_URL and AWS_REGION are the right ones")
	case code == "NoSuchKey", code == "NotFound", status == http.StatusNotFound:
		return cause.Errorf(cause.StoreUnreachable, cause.FaultInfra, "%s: %w", at, fs.ErrNotExist)
	case slices.Contains(full, code), status == http.StatusInsufficientStorage:
		return cause.Errorf(cause.DiskFull, cause.FaultInfra, "%s: the server has no room (%s)", at, said(code, status)).Advise("make room, or raise the bucket's quota")
	case slices.Contains(denied, code), status == http.StatusUnauthorized, status == http.StatusForbidden:
		return cause.Errorf(cause.StoreDenied, cause.FaultInfra, "%s: the server refuses (%s)", at, said(code, status))
	case code != "" || status != 0:
		return cause.Errorf(cause.StoreUnreachable, cause.FaultInfra, "%s: the server answers %s", at, said(code, status))
	}
	return cause.Errorf(cause.StoreUnreachable, cause.FaultInfra, "%s: %s", at, innermost(err))
}

func said(code string, status int) string {
	return strings.TrimSpace(fmt.Sprintf("%s %d", code, status))
}

// innermost is the text of what went wrong at the bottom (connection refused, no such host, no credentials), without the URLs above.
func innermost(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

// put looks at what is there before each conditional write, too: some servers refuse conditions (NotImplemented), and some take
// If-Match and do not heed it (moto 5.1). With those two publishers can still be at one index in the same instant, and the slower
// one's word stays; Verify sees that, and Reindex mends it.
func (b *bucket) put(ctx context.Context, name string, c content, only condition) (string, error) {
	if err := b.met(ctx, name, only); err != nil {
		return "", err
	}
	version, err := b.send(ctx, name, c, only)
	var api smithy.APIError
	if only != (condition{}) && errors.As(err, &api) && api.ErrorCode() == "NotImplemented" {
		version, err = b.send(ctx, name, c, condition{})
	}
	return version, b.fail("write", name, err)
}

// met reports a condition that is not met now.
func (b *bucket) met(ctx context.Context, name string, only condition) error {
	if only == (condition{}) {
		return nil
	}
	now, err := b.stat(ctx, name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && only.absent, err == nil && !only.absent && now.version == only.version:
		return nil
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return cause.Errorf(cause.StoreConflict, cause.FaultInfra, "store %s: write %s: %w", b, name, errChanged)
	}
	return err
}

func (b *bucket) send(ctx context.Context, name string, c content, only condition) (string, error) {
	if _, err := c.r.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	raw, err := hex.DecodeString(string(c.sha256))
	if err != nil {
		return "", err
	}
	in := &s3.PutObjectInput{
		Bucket: &b.name, Key: b.key(name), Body: c.r, ContentLength: &c.size, ContentType: &c.kind,
		// The server compares: what arrives is what was built, or nothing is written.
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256, ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(raw)),
		Metadata: map[string]string{sumKey: string(c.sha256)},
	}
	if only.absent {
		in.IfNoneMatch = aws.String("*")
	} else if only.version != "" {
		in.IfMatch = &only.version
	}
	out, err := b.client.PutObject(ctx, in)
	if err != nil {
		return "", err
	}
	return aws.ToString(out.ETag), nil
}

func (b *bucket) head(ctx context.Context, name string) (*s3.HeadObjectOutput, error) {
	out, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.name, Key: b.key(name)})
	return out, b.fail("look at", name, err)
}

func (b *bucket) stat(ctx context.Context, name string) (info, error) {
	out, err := b.head(ctx, name)
	if err != nil {
		return info{}, err
	}
	return info{name: name, size: aws.ToInt64(out.ContentLength), version: aws.ToString(out.ETag)}, nil
}

func (b *bucket) open(ctx context.Context, name string) (io.ReadCloser, string, error) {
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: b.key(name)})
	if err != nil {
		return nil, "", b.fail("read", name, err)
	}
	return out.Body, aws.ToString(out.ETag), nil
}

func (b *bucket) digest(ctx context.Context, name string) (archive.Digest, error) {
	out, err := b.head(ctx, name)
	if err != nil {
		return "", err
	}
	if d := archive.Digest(out.Metadata[sumKey]); d.Valid() {
		return d, nil
	}
	return hashed(ctx, b, name) // somebody else put it there
}

func (b *bucket) list(ctx context.Context, prefix string) iter.Seq2[info, error] {
	return func(yield func(info, error) bool) {
		pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{Bucket: &b.name, Prefix: b.key(prefix)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(info{}, b.fail("list", prefix, err))
				return
			}
			for _, o := range page.Contents {
				i := info{name: strings.TrimPrefix(aws.ToString(o.Key), b.prefix), size: aws.ToInt64(o.Size), version: aws.ToString(o.ETag)}
				if !yield(i, nil) {
					return
				}
			}
		}
	}
}

func (b *bucket) remove(ctx context.Context, name string) error {
	_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.name, Key: b.key(name)})
	if err = b.fail("remove", name, err); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (b *bucket) versions(ctx context.Context) ([]string, error) {
	var out []string
	pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{Bucket: &b.name, Prefix: &b.prefix, Delimiter: aws.String("/")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, b.fail("list", "", err)
		}
		for _, p := range page.CommonPrefixes {
			v := strings.Trim(strings.TrimPrefix(aws.ToString(p.Prefix), b.prefix), "/")
			if checkVersion(v) == nil {
				out = append(out, v)
			}
		}
	}
	return out, nil
}
