// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/kernels/internal/disk"
)

// maxYAML bounds one configuration; those with a kernel's configuration in it have 350 KB.
const maxYAML = 4 << 20

// driverkitKeys are the keys of a driverkit configuration. Only those of a kernel matter here; the others are known
// so that a misspelt one is told from them.
var driverkitKeys = []string{
	"target", "kernelrelease", "kernelversion", "architecture", "kernelurls", "kernelconfigdata",
	"driverversion", "output", "moduledrivername", "moduledevicename", "builderimage", "builderrepos", "gccversion",
	"repo", "registry", "loglevel", "timeout", "proxy", "dryrun",
}

// readDriverkit reads one configuration, or every .yaml below a directory as dbg-go lays them out:
// <driver version>/<arch>/<target>_<release>_<version>.yaml. The same kernel is there once for each driver version.
func readDriverkit(ctx context.Context, path string, o Options, c *collector) error {
	root, err := filepath.Abs(path)
	if err != nil {
		return unreadable(path, err)
	}
	return eachConfig(ctx, root, path, func(where, name string) error {
		err := c.addConfig(ctx, where, name, o)
		if err != nil && ours(err) {
			return err
		}
		if err != nil {
			c.skip(where, filepath.Base(name), err)
			return nil
		}
		c.read++
		return nil
	})
}

// eachConfig calls do for every configuration of a tree, with its name relative to the tree's parent and in full. path is
// what the user called the tree.
func eachConfig(ctx context.Context, root, path string, do func(where, name string) error) error {
	n := 0
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := disk.Ctx(ctx, "read "+path); err != nil {
			return err
		}
		if ext := filepath.Ext(name); !d.Type().IsRegular() || ext != ".yaml" && ext != ".yml" && name != root {
			return nil
		}
		if n++; n > maxItems {
			return tooLong(path)
		}
		where, rerr := filepath.Rel(filepath.Dir(root), name)
		if rerr != nil {
			where = name
		}
		return do(where, name)
	})
	if err != nil && !ours(err) {
		return unreadable(path, err)
	}
	return err
}

func (c *collector) addConfig(ctx context.Context, where, file string, o Options) error {
	_, err := c.readConfig(ctx, where, file, o)
	return err
}

// readConfig takes the kernel of a configuration, and returns all that it says.
func (c *collector) readConfig(ctx context.Context, where, file string, o Options) (record, error) {
	f, err := os.Open(file)
	if err != nil {
		return record{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxYAML+1))
	if err != nil {
		return record{}, err
	}
	if len(text) > maxYAML {
		return record{}, fmt.Errorf("has more than the %d bytes a configuration may have", maxYAML)
	}
	r, unknown, err := parseDriverkit(text)
	if err != nil {
		return record{}, err
	}
	for _, k := range unknown {
		c.note(fmt.Sprintf("%s:%d:%d", where, k.Line, k.Column), k.Value, "key not known"+nearest.Hint(k.Value, driverkitKeys))
	}
	return r, c.addRecord(ctx, where, r, file, o)
}

// parseDriverkit reads a configuration, strict about types: 5.10 unquoted is a number, and not the release that it
// looks like. Errors begin with line:column.
func parseDriverkit(text []byte) (r record, unknown []*yaml.Node, err error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return record{}, nil, fmt.Errorf("not YAML: %s", cut(strings.TrimPrefix(err.Error(), "yaml: ")))
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return record{}, nil, errors.New("not a mapping of driverkit's keys")
	}
	top := doc.Content[0].Content
	scalars := map[string]*string{
		"target": &r.target, "kernelrelease": &r.release, "kernelversion": &r.version,
		"architecture": &r.arch, "kernelconfigdata": &r.config, "driverversion": &r.wants.driverVersion,
	}
	var seen []string
	for i := 0; i+1 < len(top); i += 2 {
		key, value := top[i], top[i+1]
		if slices.Contains(seen, key.Value) {
			return record{}, nil, at(key, "%s is there twice", key.Value)
		}
		seen = append(seen, key.Value)
		switch {
		case scalars[key.Value] != nil:
			if err := scalar(key.Value, value, scalars[key.Value]); err != nil {
				return record{}, nil, err
			}
		case key.Value == "kernelurls":
			if r.headers, err = sequence(value); err != nil {
				return record{}, nil, err
			}
		case key.Value == "output":
			if err := output(value, &r.wants); err != nil {
				return record{}, nil, err
			}
		case !slices.Contains(driverkitKeys, key.Value):
			unknown = append(unknown, key)
		}
	}
	if r.arch != "" && machine(r.arch) == "" {
		return record{}, nil, fmt.Errorf("architecture %s: %w", cut(r.arch), ErrArch)
	}
	return r, unknown, nil
}

func scalar(key string, n *yaml.Node, out *string) error {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" && (key != "kernelversion" || n.Tag != "!!int") {
		return at(n, "%s must be a string", key)
	}
	*out = n.Value
	return nil
}

// output reads the mapping of what is to be built to where it is to be written. Newer keys in it are not looked at.
func output(n *yaml.Node, w *wants) error {
	if n.Kind != yaml.MappingNode {
		return at(n, "output must be a mapping")
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		out := map[string]*string{"module": &w.module, "probe": &w.probe}[n.Content[i].Value]
		if out == nil {
			continue
		}
		if err := scalar("output."+n.Content[i].Value, n.Content[i+1], out); err != nil {
			return err
		}
	}
	return nil
}

func sequence(n *yaml.Node) ([]string, error) {
	if n.Kind != yaml.SequenceNode {
		return nil, at(n, "kernelurls must be a list")
	}
	var out []string
	for _, e := range n.Content {
		var s string
		if err := scalar("kernelurls", e, &s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func at(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%d:%d: %s", n.Line, n.Column, fmt.Sprintf(format, args...))
}
