// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

// commandLog is the file in a cell's directory that keeps what a command said.
const commandLog = "command.log"

// commanded goes on from a loaded driver with a program that judges by its exit status alone: it is the stage events. It
// sees events and no rules, so that scenarios are unsupported, each by its name, and a cell that asks for some is no pass.
func (c *cellRun) commanded(ctx context.Context, call call, g *guest) error {
	if err := c.stage(ctx, results.StageEvents, func() (note string, err error) {
		err = call(probeLimit, func(ctx context.Context) error {
			var r agent.CommandReport
			r, err = g.c.RunCommand(ctx, matrix.Values(c.Consumer.Argv))
			note = fmt.Sprintf("%s exited with %d after %.1f s", filepath.Base(c.Consumer.Argv[0].V), r.ExitCode, r.Took.Seconds())
			if text := strings.Join(append(r.Output, r.Stderr), "\n"); len(text) > 0 {
				if werr := os.WriteFile(filepath.Join(g.dir, commandLog), []byte(text), 0o644); werr != nil {
					return broken{werr}
				}
			}
			return err
		})
		return note, err
	}); err != nil {
		return err
	}
	unjudged := c.stage(ctx, results.StageScenarios, func() (string, error) {
		for _, s := range c.Scenarios {
			f := cause.Of(unruled("scenario " + s.Name))
			if err := c.rec.Scenario(results.Scenario{Name: s.Name, Finding: f, Rule: s.Rule}); err != nil {
				return "", broken{err}
			}
		}
		if len(c.Scenarios) == 0 {
			return "none was asked for", nil
		}
		return "", unruled(fmt.Sprintf("%d scenarios", len(c.Scenarios)))
	})
	if b := (broken{}); errors.As(unjudged, &b) || ctx.Err() != nil {
		return unjudged
	}
	return errors.Join(unjudged, c.unloading(ctx, call, g))
}

// unruled says that a command cannot judge what.
func unruled(what string) error {
	e := cause.Errorf(cause.NoRules, cause.FaultHarness, "%s: a consumer of kind command evaluates no rules", what)
	e.State = cause.Unsupported
	return e
}

// falcoOptions are what the agent must know to start a Falco; nil for every other consumer.
func falcoOptions(by matrix.Consumer) map[string]string {
	if by.Kind.V != matrix.Falco {
		return nil
	}
	args, err := json.Marshal(matrix.Values(by.Argv[1:]))
	if err != nil {
		panic(err) // a list of strings
	}
	return map[string]string{agent.FalcoPath: by.Argv[0].V, agent.FalcoArgs: string(args)}
}
