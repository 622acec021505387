// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// Config is a driverkit configuration as it is meant: a kernel, and what is to be built for it.
type Config struct {
	Where         string // file, relative to the parent of what was read
	Entry         kernels.Entry
	DriverVersion string // 9.1.0+driver; "" where neither the file nor the directory it lies in says
	Module, Probe bool   // which of the two is asked for
}

// Configs is a tree of configurations as a grid.
type Configs struct {
	List    []Config
	Skipped []Remark // those that could not be read, or ask for nothing
	Notes   []Remark
}

var (
	errNoOutput = errors.New("asks for neither output.module nor output.probe")
	errDriver   = errors.New("has a driverversion that is no name")
)

// ReadConfigs reads one driverkit configuration, or every .yaml below a directory as dbg-go lays them out. An error is
// about the whole: that it cannot be read, or holds no configuration.
func ReadConfigs(ctx context.Context, path string, o Options) (*Configs, error) {
	root, err := filepath.Abs(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	out := &Configs{}
	err = eachConfig(ctx, root, path, func(where, name string) error {
		c := newCollector(filepath.Base(path))
		conf, err := c.one(ctx, where, name, o)
		out.Notes = append(out.Notes, c.notes...)
		switch {
		case err != nil && ours(err):
			return err
		case err != nil:
			out.Skipped = append(out.Skipped, Remark{Where: where, What: cut(filepath.Base(name)), Why: err.Error()})
		default:
			out.List = append(out.List, conf)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(out.List) == 0 {
		err := cause.Errorf(cause.PackageMissing, cause.FaultInfra, "%s: holds no driverkit configuration that could be read; %d files were skipped", path, len(out.Skipped))
		for _, s := range out.Skipped[:min(len(out.Skipped), 3)] {
			err.With(cause.Text(s.String())...)
		}
		return nil, err.Advise("name a configuration, or a directory of them: <driver version>/<arch>/<target>_<release>_<version>.yaml")
	}
	return out, nil
}

func (c *collector) one(ctx context.Context, where, name string, o Options) (Config, error) {
	r, err := c.readConfig(ctx, where, name, o)
	if err != nil {
		return Config{}, err
	}
	conf := Config{Where: where, DriverVersion: cmp.Or(r.wants.driverVersion, versionDir(name)), Module: r.wants.module != "", Probe: r.wants.probe != ""}
	switch {
	case !conf.Module && !conf.Probe:
		return Config{}, errNoOutput
	case conf.DriverVersion != "" && !word.MatchString(conf.DriverVersion):
		return Config{}, errDriver
	}
	conf.Entry = c.result().Entries[0]
	return conf, nil
}

// versionDir is the driver version by the directory that a configuration of dbg-go lies in.
func versionDir(file string) string {
	arch := filepath.Dir(file)
	if machine(filepath.Base(arch)) == "" {
		return ""
	}
	return filepath.Base(filepath.Dir(arch))
}
