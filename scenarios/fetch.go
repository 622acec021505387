// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

// Fetch makes a new file of what comes over a connection by TCP, as curl and wget do: the file is not one that runs before all
// of it is there.
type Fetch struct {
	Address string `yaml:"address,required" json:"address"` // where somebody listens who sends
	Dst     string `yaml:"dst,required" json:"dst"`         // must not exist
	Mode    string `yaml:"mode" json:"mode,omitempty"`
}

// Kind implements [Action].
func (Fetch) Kind() string { return "fetch" }

// Do implements [Action].
func (a Fetch) Do(ctx context.Context) (Detail, error) {
	d := Detail{Path: a.Dst, FD: -1}
	mode, err := fileMode(a.Mode)
	if err != nil {
		return d, err
	}
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", a.Address)
	if err != nil {
		return d, err
	}
	defer c.Close()
	dst, err := os.OpenFile(a.Dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return d, err
	}
	// Without ReadFrom and WriteTo, which would splice: the bytes go through a buffer of this process, as curl's do.
	n, err := io.Copy(struct{ io.Writer }{dst}, struct{ io.Reader }{io.LimitReader(c, maxCopy+1)})
	switch {
	case err != nil:
		err = fmt.Errorf("fetch from %s: %w", a.Address, err)
	case n == 0:
		err = fmt.Errorf("fetch from %s: nothing came", a.Address)
	case n > maxCopy:
		err = fmt.Errorf("fetch from %s: it is larger than %d MiB", a.Address, maxCopy>>20)
	default:
		err = dst.Chmod(mode)
	}
	return d, errors.Join(err, dst.Close())
}

func (a Fetch) check() error {
	_, err := fileMode(a.Mode)
	return errors.Join(addressPort(a.Address), absolute(a.Dst), err)
}

func (Fetch) needs() []string { return nil }

func (a Fetch) fill(sub substitution) (Action, error) { return filled(a, sub) }
