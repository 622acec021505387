// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/parts"
	"github.com/mews-farm/mews/scenarios"
)

// env is what the commands that look at the matrix stand on.
type env struct {
	flags   selectFlags
	catalog *scenarios.Catalog
	shop    *parts.Workshop
}

// warnTo shows warnings on w: for commands that have no live view.
func warnTo(w io.Writer) func(string) {
	return func(text string) { fmt.Fprintln(w, "mews: warning: "+text) }
}

// open reads the matrix and opens the workshop. Warnings about a mirror go to warn.
func open(f selectFlags, agent string, warn func(string)) (*env, error) {
	m, cat, err := parts.Load(f.file)
	if err != nil {
		return nil, err
	}
	if f.own != "" {
		own, err := scenarios.Dir(f.own)
		if err != nil {
			return nil, err
		}
		// Without a twin, or with one that is not harmless alone, what passes proves nothing.
		if err := errors.Join(own.Lint()...); err != nil {
			return nil, fmt.Errorf("--scenarios-dir %s holds what is no test yet (`mews scenarios lint %[1]s` says the same):\n%w", f.own, err)
		}
		if err := cat.Add(own); err != nil {
			return nil, err
		}
		f.sel.Beside = own.Names()
	}
	for _, over := range m.Expired(time.Now()) {
		warn(over)
	}
	shop, err := parts.Open(parts.Options{Matrix: m, Agent: agent, Offline: f.offline, Warn: warn})
	return &env{f, cat, shop}, err
}

// plan makes the plan and tells the workshop what its containers are made of.
func (e *env) plan(ctx context.Context) (*harness.Plan, error) {
	p, err := harness.MakePlan(ctx, e.shop.Matrix, e.flags.sel, e.catalog, e.shop)
	if err != nil {
		return nil, err
	}
	e.shop.Image = p.Image
	return p, nil
}

// agentBinary finds the guest's side of mews, which is built beside it.
func agentBinary() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	agent := filepath.Join(filepath.Dir(self), "mews-agent")
	if _, err := os.Stat(agent); err != nil {
		return "", fmt.Errorf("the agent is not beside mews: %w (run `make build`)", err)
	}
	if dynamic(agent) {
		return "", fmt.Errorf("%s is linked dynamically, and a guest has no libraries when it starts: run `make build`", agent)
	}
	return agent, nil
}
