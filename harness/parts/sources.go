// SPDX-License-Identifier: Apache-2.0

package parts

import (
	"slices"
	"strings"
	"sync"

	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/amazon"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/cos"
	"github.com/mews-farm/mews/kernels/debian"
	"github.com/mews-farm/mews/kernels/el"
	"github.com/mews-farm/mews/kernels/imports"
	"github.com/mews-farm/mews/kernels/ubuntu"
	"github.com/mews-farm/mews/results/cause"
)

// Sources opens the sources of kernels, each when it is asked for: what is wrong with one, keys that are missing or
// a mirror that is down, is no concern of the others. It is safe for concurrent use.
type Sources struct {
	Matrix   matrix.Sources
	Archive  *archive.Archive
	Offline  bool
	Warn     func(string)        // must show its text to the user; called from several goroutines
	Progress func(kernels.Event) // may be nil; called from several goroutines

	mu   sync.Mutex
	open map[string]kernels.Source
}

// Names lists the sources that can be asked what they have. Imported kernels come from nobody who could be asked.
func (s *Sources) Names() []string {
	return append([]string{"debian", "ubuntu", "amazon", cos.Name}, el.Families()...)
}

// Check says what is wrong with the name of a source.
func (s *Sources) Check(name string) error {
	names := s.Names()
	if slices.Contains(names, name) || name == imports.SourceName {
		return nil
	}
	slices.Sort(names)
	return cause.Errorf(cause.PackageMissing, cause.FaultHarness, "no source of kernels %q%s", name, nearest.Hint(name, names)).
		Advise("there are %s", strings.Join(names, ", "))
}

// Open returns the source of that name.
func (s *Sources) Open(name string) (kernels.Source, error) {
	if err := s.Check(name); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if src := s.open[name]; src != nil {
		return src, nil
	}
	src, err := s.make(name)
	if err != nil {
		return nil, err
	}
	if s.open == nil {
		s.open = map[string]kernels.Source{}
	}
	s.open[name] = src
	return src, nil
}

func (s *Sources) make(name string) (kernels.Source, error) {
	switch m := s.Matrix; name {
	case "debian":
		o := debianOptions(m.Debian)
		o.Archive, o.Offline, o.Warn, o.Progress = s.Archive, s.Offline, s.Warn, s.Progress
		return debian.NewDistro(debian.DistroOptions{Options: o})
	case "ubuntu":
		u := m.Ubuntu
		return ubuntu.New(ubuntu.Options{
			Archive: s.Archive, Warn: s.Warn, Offline: s.Offline, Progress: s.Progress, Releases: u.Releases, Keyrings: u.Keyrings,
			Mirrors: ubuntu.Mirrors{Archive: u.Mirror, Security: u.SecurityMirror, Ports: u.PortsMirror},
		})
	case cos.Name:
		return cos.New(cos.Options{Archive: s.Archive, Base: m.COS.Bucket, Offline: s.Offline, Progress: s.Progress})
	case imports.SourceName:
		return imports.NewSource(imports.SourceOptions{Archive: s.Archive, Offline: s.Offline, Progress: s.Progress})
	case "amazon":
		return amazon.New(s.rpm(m.Amazon))
	default:
		conf := map[string]matrix.RPM{"rocky": m.Rocky, "almalinux": m.AlmaLinux, "centos": m.CentOS, "ol": m.Oracle}
		return el.New(name, s.rpm(conf[name])) // redhat has nothing to configure: its packages take a subscription
	}
}

func (s *Sources) rpm(m matrix.RPM) amazon.Options {
	o := amazon.Options{Archive: s.Archive, Warn: s.Warn, Offline: s.Offline, Progress: s.Progress, Keyrings: m.Keyrings, Signatures: amazon.Strict}
	if m.Signatures.V == "warn" {
		o.Signatures = amazon.Warn
	}
	for _, e := range m.Mirrors {
		if o.Mirrors == nil {
			o.Mirrors = map[string]string{}
		}
		o.Mirrors[e.Key.V] = e.Value.V
	}
	return o
}

// debianOptions are what the matrix says of Debian.
func debianOptions(d matrix.Debian) debian.Options {
	return debian.Options{
		Mirrors:  debian.Mirrors{Main: d.Mirror, Security: d.SecurityMirror},
		Keyrings: d.Keyrings,
		ValidUntil: func(suite string) debian.Policy {
			if s, ok := d.Suites.Get(suite); ok && s.ValidUntil.V != "" {
				return debian.Policy(s.ValidUntil.V)
			}
			return debian.Strict
		},
	}
}
