// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/mews-farm/mews/driver/consumer/fence"
)

// opener makes fences in a process of its own, for a driver that sees only what was started under it.
type opener struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	words bounded
}

// newOpener starts it.
func (a *Agent) newOpener(dir string) (*opener, error) {
	o := &opener{cmd: exec.Command(selfPath, "fences", dir)}
	o.words.limit = maxWords
	o.cmd.Stderr = &o.words
	in, err := o.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := o.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	o.in, o.out = in, bufio.NewReader(out)
	// It outlives the call that it was made in.
	return o, a.launch(context.Background(), o.cmd)
}

// make has a fence made, and returns when it is.
func (o *opener) make(token string) error {
	_, err := fmt.Fprintln(o.in, token)
	if err == nil {
		var made string
		if made, err = o.out.ReadString('\n'); err == nil && strings.TrimSpace(made) != token {
			err = fmt.Errorf("it answered %.100q", made)
		}
	}
	if err != nil {
		return fmt.Errorf("the process that makes fences: %w: %s", err, o.words.String())
	}
	return nil
}

func (o *opener) stop() error {
	return errors.Join(o.in.Close(), o.cmd.Wait())
}

// Fences is `mews-agent fences DIR`: for each line of in, a token, it makes the fence in the directory and answers
// with the token.
func Fences(dir string, in io.Reader, out io.Writer) error {
	f, err := fence.In(dir)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if err := f.Make(lines.Text()); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, lines.Text()); err != nil {
			return err
		}
	}
	return lines.Err()
}
