// SPDX-License-Identifier: Apache-2.0

package rundir

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/mews-farm/mews/results"
)

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return unwritable(err)
	}
	return writeAtomic(path, append(b, '\n'))
}

func writeRendered(path string, run results.Run, render func(io.Writer, results.Run) error) error {
	var b bytes.Buffer
	if err := render(&b, run); err != nil {
		return unwritable(err)
	}
	return writeAtomic(path, b.Bytes())
}

// writeAtomic replaces path by b: after a crash it holds the old bytes or the new ones, never a part.
func writeAtomic(path string, b []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return unwritable(err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return unwritable(errors.Join(err, os.Remove(f.Name())))
	}
	return unwritable(syncDir(dir))
}

// syncDir makes a rename in dir last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
