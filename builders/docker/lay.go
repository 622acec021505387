// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/docker/docker/api/types/mount"
)

// lay finds the mounts that show the trees over the build root as an overlay file system would: what the root has wins,
// then the first tree. A container's root is no overlay of ours, so each part that is not in the root is mounted by itself.
func lay(root string, trees []string) ([]mount.Mount, error) {
	if len(trees) == 0 {
		return nil, nil
	}
	l := layer{root: root}
	if err := l.merge("/", trees); err != nil {
		return nil, err
	}
	return l.mounts, nil
}

type layer struct {
	root   string
	mounts []mount.Mount
}

// merge places what the trees, all of which have dir, hold in it. The root has dir too, or several trees do.
func (l *layer) merge(dir string, trees []string) error {
	names := map[string][]string{} // in which trees, in their order
	var order []string
	for _, t := range trees {
		es, err := os.ReadDir(filepath.Join(t, dir))
		if err != nil {
			return err
		}
		for _, e := range es {
			if names[e.Name()] == nil {
				order = append(order, e.Name())
			}
			names[e.Name()] = append(names[e.Name()], t)
		}
	}
	slices.Sort(order)
	for _, name := range order {
		if err := l.place(path.Join(dir, name), names[name]); err != nil {
			return err
		}
	}
	return nil
}

func (l *layer) place(at string, trees []string) error {
	kinds := make([]fs.FileMode, len(trees))
	for i, t := range trees {
		fi, err := os.Lstat(filepath.Join(t, at))
		if err != nil {
			return err
		}
		kinds[i] = fi.Mode().Type()
	}
	own, err := os.Lstat(filepath.Join(l.root, at))
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err == nil && (!own.IsDir() || !kinds[0].IsDir()):
		return nil // the root's own
	case err == nil:
		empty, err := isEmpty(filepath.Join(l.root, at))
		if err != nil {
			return err
		}
		if empty && len(trees) == 1 {
			l.mount(trees[0], at)
			return nil
		}
	case !kinds[0].IsDir() || len(trees) == 1:
		if kinds[0]&fs.ModeSymlink != 0 {
			return fmt.Errorf("the link %s of %s cannot be shown in a container: its directory is the build root's", at, trees[0])
		}
		l.mount(trees[0], at)
		return nil
	}
	var dirs []string
	for i, t := range trees {
		if !kinds[i].IsDir() {
			break // hides what the trees behind it have there
		}
		dirs = append(dirs, t)
	}
	return l.merge(at, dirs)
}

func (l *layer) mount(tree, at string) {
	l.mounts = append(l.mounts, mount.Mount{
		Type: mount.TypeBind, Source: filepath.Join(tree, at), Target: at, ReadOnly: true,
		BindOptions: &mount.BindOptions{Propagation: mount.PropagationRPrivate},
	})
}

func isEmpty(dir string) (bool, error) {
	es, err := os.ReadDir(dir)
	return len(es) == 0, err
}
