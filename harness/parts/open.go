// SPDX-License-Identifier: Apache-2.0

package parts

import (
	"path/filepath"

	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/debian"
)

// Options of a Workshop.
type Options struct {
	Matrix  *matrix.Matrix
	Agent   string       // the agent's binary; needed for an initramfs only
	Arch    string       // of the kernels that are looked for; "": x86_64
	Offline bool         // use the archive alone
	Warn    func(string) // must show its text to the user; called from several goroutines
}

// Open makes the workshop that works in the caches below $XDG_CACHE_HOME/mews. Nothing is fetched yet.
func Open(o Options) (*Workshop, error) {
	archived, err := archive.DefaultDir()
	if err != nil {
		return nil, err
	}
	w := &Workshop{Matrix: o.Matrix, Dir: filepath.Dir(archived), Agent: o.Agent, Arch: o.Arch}
	if w.Archive, err = archive.New(archived); err != nil {
		return nil, err
	}
	d := debianOptions(o.Matrix.Sources.Debian)
	d.Archive, d.Offline, d.Warn = w.Archive, o.Offline, o.Warn
	w.Debian, err = debian.New(d)
	if err != nil {
		return nil, err
	}
	w.Sources = &Sources{Matrix: o.Matrix.Sources, Archive: w.Archive, Offline: o.Offline, Warn: o.Warn}
	w.fetchers.debian, w.index = w.Debian, &index{w.Debian, w.Archive}
	w.Trees = &kernels.Trees{Fetcher: &w.fetchers}
	if w.Trees.Dir, err = kernels.DefaultTreesDir(); err != nil {
		return nil, err
	}
	w.Roots = &root.Cache{Fetcher: w.Debian}
	w.Roots.Dir, err = root.DefaultDir()
	return w, err
}
