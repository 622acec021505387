// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// maxFile bounds a scenario's file, in bytes; the shipped ones have 1 to 2 KB.
const maxFile = 1 << 20

// Dir is a catalogue of the scenarios of the user's own that a directory holds: every *.yaml of it. They are about the
// shipped rules. All that is wrong with them is said at once.
func Dir(dir string) (*Catalog, error) {
	set, err := Rules()
	if err != nil {
		return nil, fmt.Errorf("the shipped rules: %w", err)
	}
	c := &Catalog{map[string]Scenario{}, set}
	names, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	switch {
	case err != nil:
		return nil, fmt.Errorf("scenarios of %s: %w", dir, err)
	case len(names) == 0:
		return nil, fmt.Errorf("%s holds no scenario: none of its files ends in .yaml (`mews scenarios new NAME` begins one)", dir)
	}
	var errs []error
	for _, name := range names {
		s, err := parseFile(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c.scenarios[s.Name] = s
	}
	return c, errors.Join(errs...)
}

func parseFile(name string) (Scenario, error) {
	f, err := os.Open(name)
	if err != nil {
		return Scenario{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Scenario{}, err
	}
	if len(data) > maxFile {
		return Scenario{}, fmt.Errorf("%s: it is larger than %d bytes", name, maxFile)
	}
	return Parse(name, data)
}

// Add adds the scenarios of other; a name that both have is an error, since only one of them would be run.
func (c *Catalog) Add(other *Catalog) error {
	for _, name := range other.names() {
		if _, ok := c.scenarios[name]; ok {
			return fmt.Errorf("two scenarios are named %q: give yours another name", name)
		}
	}
	maps.Copy(c.scenarios, other.scenarios)
	return nil
}

// Names are the names of all, sorted.
func (c *Catalog) Names() []string { return slices.Clone(c.names()) }
