// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"

	"github.com/mews-farm/mews/kernels/internal/disk"
)

// crawled is an element of list.json.
type crawled struct {
	Target  string          `json:"target"`
	Release string          `json:"kernelrelease"`
	Version json.RawMessage `json:"kernelversion"` // a string today, a number in older lists
	Headers []string        `json:"headers"`
	Config  string          `json:"kernelconfigdata"`
}

// readCrawler reads kernel-crawler's list.json: an object whose members, by distribution, are arrays of kernels.
// It never holds more than one kernel's text.
func readCrawler(ctx context.Context, path string, o Options, c *collector) error {
	f, err := openList(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return crawl(ctx, f, path, o, c)
}

func crawl(ctx context.Context, r io.Reader, path string, o Options, c *collector) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		abs = path
	}
	in := json.NewDecoder(r)
	if err := expect(in, '{'); err != nil {
		return crawlErr(path, in, err)
	}
	for in.More() {
		t, err := in.Token()
		if err != nil {
			return crawlErr(path, in, err)
		}
		distro, _ := t.(string) // a member's name can be nothing else
		if err := expect(in, '['); err != nil {
			return crawlErr(path, in, fmt.Errorf("%q: %w", cut(distro), err))
		}
		for n := 0; in.More(); n++ {
			if err := disk.Ctx(ctx, "read "+path); err != nil {
				return err
			}
			if c.read+len(c.skipped) >= maxItems {
				return tooLong(path)
			}
			var raw json.RawMessage
			if err := in.Decode(&raw); err != nil {
				return crawlErr(path, in, err)
			}
			where := fmt.Sprintf("%s: %s[%d]", filepath.Base(path), cut(distro), n)
			err := c.addCrawled(ctx, where, raw, abs, o)
			if err != nil && ours(err) {
				return err
			}
			if err != nil {
				c.skip(where, string(raw), err)
				continue
			}
			c.read++
		}
		if err := expect(in, ']'); err != nil {
			return crawlErr(path, in, err)
		}
	}
	if err := expect(in, '}'); err != nil {
		return crawlErr(path, in, err)
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return crawlErr(path, in, errors.New("something follows the list"))
	}
	return nil
}

func (c *collector) addCrawled(ctx context.Context, where string, raw json.RawMessage, path string, o Options) error {
	var k crawled
	if err := json.Unmarshal(raw, &k); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			return fmt.Errorf("%s is of the wrong type, %s", wrong.Field, wrong.Value)
		}
		return errors.New("is not a kernel's record")
	}
	version, err := crawledVersion(k.Version)
	if err != nil {
		return err
	}
	return c.addRecord(ctx, where, record{target: k.Target, release: k.Release, version: version, headers: k.Headers, config: k.Config}, path, o)
}

func crawledVersion(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return "", nil
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s, nil
	}
	n, err := strconv.ParseUint(string(raw), 10, 32)
	if err != nil {
		return "", errVersion
	}
	return strconv.FormatUint(n, 10), nil
}

func expect(in *json.Decoder, want json.Delim) error {
	t, err := in.Token()
	if err != nil {
		return err
	}
	if t != want {
		return fmt.Errorf("%s was expected, not %s", want, cut(fmt.Sprint(t)))
	}
	return nil
}

func crawlErr(path string, in *json.Decoder, err error) error {
	return unreadable(path, fmt.Errorf("is no list of kernel-crawler: byte %d: %w", in.InputOffset(), err))
}
