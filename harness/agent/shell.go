// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"

	"github.com/mews-farm/mews/harness/agent/wire"
)

// Size is a terminal's; the zero Size leaves it as it was.
type Size struct{ Rows, Columns int }

// ShellInput gives the guest's shell what was typed, and its terminal another size. The first call starts it.
func (c *Client) ShellInput(ctx context.Context, typed []byte, size Size) error {
	_, err := call(ctx, c, "give the shell its input", c.agent.Shell,
		&wire.ShellRequest{Input: typed, Rows: uint32(size.Rows), Columns: uint32(size.Columns)})
	return err
}

// ShellOutput waits a while for what the guest's shell says: nothing is no error. Ended tells that the shell is over, with its
// exit code.
func (c *Client) ShellOutput(ctx context.Context) (said []byte, ended bool, code int, err error) {
	r, err := call(ctx, c, "read from the shell", c.agent.Shell, &wire.ShellRequest{Read: true})
	if err != nil {
		return nil, false, 0, err
	}
	return r.GetOutput(), r.GetEnded(), int(r.GetExitCode()), nil
}
