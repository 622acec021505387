// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

// lackOf says what of a scenario's needs a kernel lacks, as far as config, which may be nil, shows it; nil: nothing.
func lackOf(s scenarios.Scenario, k kernels.Kernel, config *kernels.Config) *cause.Err {
	var options scenarios.Options
	if config != nil { // or the interface would hold nil and not be it
		options = config
	}
	e := s.Needs.Missing(k.Release, options)
	if e != nil {
		e.What = fmt.Sprintf("scenario %s cannot be done on %s:%s: %s", s.Name, k.Distro, k.Release, e.What)
	}
	return e
}

// unableOn is the scenarios of list that a kernel lacks something for, beside those that are unable already.
func unableOn(list []scenarios.Scenario, k kernels.Kernel, config *kernels.Config, unable map[string]*cause.Err) map[string]*cause.Err {
	out := maps.Clone(unable)
	for _, s := range list {
		if e := lackOf(s, k, config); e != nil && out[s.Name] == nil {
			if out == nil {
				out = map[string]*cause.Err{}
			}
			out[s.Name] = e
		}
	}
	return out
}

// unableTraced adds the scenarios of list that would trace a process, to be done where the driver is the tracer of all of them:
// ptrace(2) answers EPERM to a second.
func unableTraced(list []scenarios.Scenario, unable map[string]*cause.Err) {
	for _, s := range list {
		if s.Traces() && unable[s.Name] == nil {
			unable[s.Name] = &cause.Err{
				Finding: cause.Finding{State: cause.Unsupported, Cause: cause.AlreadyTraced, Fault: cause.FaultDriver},
				What:    fmt.Sprintf("scenario %s traces a process, and a process has one tracer: the driver is that of all that it sees", s.Name),
			}
		}
	}
}

// configs asks for the configurations of kernels, each once, and only where a scenario needs one.
type configs struct {
	ctx    context.Context
	from   Resolver
	wanted bool
	known  map[*kernels.Resolved]*kernels.Config
}

func newConfigs(ctx context.Context, r Resolver, list []scenarios.Scenario) *configs {
	wanted := slices.ContainsFunc(list, func(s scenarios.Scenario) bool { return len(s.Needs.Config) > 0 })
	return &configs{ctx, r, wanted, map[*kernels.Resolved]*kernels.Config{}}
}

func (c *configs) of(k *kernels.Resolved) *kernels.Config {
	if !c.wanted {
		return nil
	}
	config, ok := c.known[k]
	if !ok {
		config = c.from.Config(c.ctx, k)
		c.known[k] = config
	}
	return config
}

// hopeless is the usage error of scenarios that no kernel can run of all that the profile names, with the proof for each. A
// kernel of which that is not known yet is one that could.
func hopeless(list []scenarios.Scenario, entries []found, c *configs) error {
	var errs []error
	for _, s := range list {
		var proofs []string
		could := false
		for _, f := range entries {
			could = could || f.err != nil
			for _, k := range f.kernels {
				if could {
					break
				}
				e := (*cause.Err)(nil)
				if k.Err == nil {
					e = lackOf(s, k.Kernel, c.of(k.Resolved))
				}
				if could = e == nil; !could {
					proofs = append(proofs, "  "+e.Error())
				}
			}
		}
		if !could && len(proofs) > 0 {
			errs = append(errs, fmt.Errorf("no kernel of the profile can run scenario %s:\n%s", s.Name, strings.Join(proofs, "\n")))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return usagef("%v", err)
	}
	return nil
}

// learn is what the kernel's own files, now that they are there, say of the scenarios' needs.
func (c *cellRun) learn() {
	c.Unable = unableOn(c.Scenarios, c.Resolved.Kernel, c.files.Config, c.Unable)
}

// refused is the finding of a step to which the kernel did not give what the scenario says that it needs, or nil.
func refused(st scenarios.StepResult, needs scenarios.Needs) error {
	f := cause.Finding{State: cause.Unsupported, Cause: st.Refused, Fault: cause.FaultKernel}
	switch st.Refused {
	case cause.SyscallMissing:
		if len(needs.Syscalls) == 0 {
			return nil // nobody said that it is needed: the scenario is wrong
		}
	case cause.SyscallDenied:
		f.State = cause.Fail
	case cause.KernelLacks, cause.PolicyDenied:
	default:
		return nil
	}
	f.Evidence = cause.Text(st.Proof)
	if f.State == cause.Fail {
		return &cause.Err{Finding: f, What: fmt.Sprintf("this kernel has what the scenario needs, and does not give it: %s", st.Error)}
	}
	return &cause.Err{Finding: f, What: fmt.Sprintf("this kernel does not give what the scenario needs (%s): %s", needs, st.Error)}
}
