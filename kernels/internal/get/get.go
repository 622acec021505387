// SPDX-License-Identifier: Apache-2.0

// Package get knows how to fetch files over HTTP from mirrors that misbehave, and to let only verified ones
// into the archive.
package get

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/disk"
	"github.com/mews-farm/mews/kernels/internal/keyed"
	"github.com/mews-farm/mews/results/cause"
)

const (
	attempts     = 4
	maxRedirects = 5
	maxRetry     = time.Minute // of what a server asks for by Retry-After
)

// What stands behind a MIRROR_UNREACHABLE.
var (
	ErrRedirects = errors.New("redirected too often")
	ErrStalled   = errors.New("the server stopped sending")
	ErrNotFound  = errors.New("not found")
	ErrWebPage   = errors.New("a web page came instead of the file")
)

// Options of a [Client]. Archive is needed; the zero value of the rest means the usual.
type Options struct {
	Archive   *archive.Archive
	Transport http.RoundTripper   // nil: http.DefaultTransport
	Offline   bool                // nothing but the archive
	Progress  func(kernels.Event) // may be nil; called from several goroutines
	Hints     Hints
	Patience  Patience
}

// Hints say what to do next, in the words of the source whose files are fetched.
type Hints struct {
	Unreachable string // the server fails: "see whether the mirror is up, ..."
	NotFound    string // after "the mirror does not hold FILE any more, or never did: "
	Corrupt     string // content is not what the index promises
}

// Patience is how long a mirror may keep silent (zero: 30 s), and how long to wait before the second attempt
// (zero: 0.5 s); each further one waits twice as long.
type Patience struct {
	Stall, Backoff time.Duration
}

// Client fetches. It is safe for concurrent use.
type Client struct {
	o        Options
	http     *http.Client
	fetching keyed.Locks[string]
}

// New makes a Client.
func New(o Options) *Client {
	if o.Patience.Stall == 0 {
		o.Patience.Stall = 30 * time.Second
	}
	if o.Patience.Backoff == 0 {
		o.Patience.Backoff = 500 * time.Millisecond
	}
	if o.Hints.Unreachable == "" {
		o.Hints.Unreachable = "see whether the mirror is up, or use --offline"
	}
	if o.Hints.NotFound == "" {
		o.Hints.NotFound = "update the catalogue"
	}
	if o.Hints.Corrupt == "" {
		o.Hints.Corrupt = "the mirror does not serve what its index promises: try again later, or another mirror"
	}
	return &Client{o: o, http: &http.Client{
		Transport: o.Transport,
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return ErrRedirects
			}
			return nil
		},
	}}
}

// Get hands the body of url to use, again after failures that may pass. use must bear to be called again.
// item is what progress calls the file; size is in bytes, -1 when not known.
func (c *Client) Get(ctx context.Context, url, item string, size int64, use func(io.Reader) error) error {
	wait := c.o.Patience.Backoff
	for attempt := 1; ; attempt++ {
		passing, err := c.try(ctx, url, item, size, use)
		if err == nil {
			return nil
		}
		if err := disk.Ctx(ctx, "fetch "+url); err != nil {
			return err
		}
		if !passing {
			return err
		}
		if attempt == attempts {
			return c.unreachable(url, err)
		}
		wait = pause(wait, err)
		select {
		case <-ctx.Done():
			return disk.Ctx(ctx, "fetch "+url)
		case <-time.After(wait):
		}
		wait *= 2
	}
}

// Read returns the body of url, which may have at most limit bytes; more is PACKAGE_CORRUPT.
func (c *Client) Read(ctx context.Context, url, item string, limit int64) ([]byte, error) {
	var text []byte
	err := c.Get(ctx, url, item, -1, func(r io.Reader) (err error) {
		text, err = io.ReadAll(io.LimitReader(r, limit+1))
		if err == nil && int64(len(text)) > limit {
			return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "%s has more than the %d bytes allowed", url, limit).
				Advise("%s", c.o.Hints.Corrupt)
		}
		return err
	})
	return text, err
}

// try is one attempt; passing tells that another one may succeed.
func (c *Client) try(ctx context.Context, url, item string, size int64, use func(io.Reader) error) (passing bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(c.o.Patience.Stall, func() { cancel(ErrStalled) })
	defer watchdog.Stop()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, c.unreachable(url, err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		if errors.Is(err, ErrRedirects) {
			return false, c.unreachable(url, err)
		}
		return true, stalled(ctx, err)
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusOK:
	case res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusGone:
		return false, c.unreachable(url, fmt.Errorf("%w: %s", ErrNotFound, res.Status))
	case res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusRequestTimeout:
		return true, retryAfter{res.Status, asked(res)}
	default:
		return false, c.unreachable(url, errors.New(res.Status))
	}

	b := &body{r: res.Body, progress: c.progress(item, size, res.ContentLength), alive: func() { watchdog.Reset(c.o.Patience.Stall) }}
	in := bufio.NewReaderSize(b, 64<<10)
	head, _ := in.Peek(512) // an error comes again when use reads
	if kind := http.DetectContentType(head); strings.HasPrefix(kind, "text/html") {
		return false, c.unreachable(url, ErrWebPage).
			With(cause.Text(firstLine(head))...).
			Advise("a proxy or a log-in page may sit between here and the mirror")
	}
	err = use(in)
	if b.err != nil {
		return true, stalled(ctx, b.err)
	}
	return false, err
}

// retryAfter is an answer that another attempt may better, not before wait.
type retryAfter struct {
	status string
	wait   time.Duration
}

func (r retryAfter) Error() string { return r.status }

// pause is how long to wait after err: wait, or longer where the server asked for it.
func pause(wait time.Duration, err error) time.Duration {
	var asked retryAfter
	errors.As(err, &asked)
	return max(wait, asked.wait)
}

// asked is the pause a server asks for, in seconds; the form with a date is not worth a clock that may be wrong.
func asked(res *http.Response) time.Duration {
	seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(min(seconds, 3600))*time.Second, maxRetry)
}

// body is a response's body that reports progress, keeps the watchdog quiet, and remembers an error of the network,
// which is worth another attempt where one of the archive is not.
type body struct {
	r        io.Reader
	progress func(n int)
	alive    func()
	err      error
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if n > 0 {
		b.alive()
		b.progress(n)
	}
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		b.err = err
	}
	return n, err
}

// progress returns what counts the bytes of one attempt.
func (c *Client) progress(item string, size, length int64) func(n int) {
	if size < 0 {
		size = length
	}
	var done int64
	return func(n int) {
		done += int64(n)
		if c.o.Progress != nil {
			c.o.Progress(kernels.Event{Kind: kernels.EventFetch, Item: item, Done: done, Total: size})
		}
	}
}

// stalled names the watchdog where it was what ended an attempt.
func stalled(ctx context.Context, err error) error {
	if c := context.Cause(ctx); errors.Is(c, ErrStalled) {
		return c
	}
	return err
}

func (c *Client) unreachable(url string, err error) *cause.Err {
	hint := c.o.Hints.Unreachable
	if errors.Is(err, ErrNotFound) {
		hint = "the mirror does not hold " + path.Base(url) + " any more, or never did: " + c.o.Hints.NotFound
	}
	return cause.Errorf(cause.MirrorUnreachable, cause.FaultInfra, "fetch %s: %w", url, err).Advise("%s", hint)
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return strings.ToValidUTF8(line, "?")
}
