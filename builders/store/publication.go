// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// publication is the publishing of one kernel's entries.
type publication struct {
	*Store
	Report
	o     Options
	steps []step
	done  bool // something may have been written
}

// step is what is to be done about one entry.
type step struct {
	Entry
	sidecar *Sidecar // to be written; nil: it is there
	replace bool     // the artifact that is there goes first
	put     bool     // the artifact is to be written
	before  []byte   // the sidecar that was there
}

// run plans all of the kernel's entries before it writes any, and then writes in the order that the package promises.
func (p *publication) run(ctx context.Context, group []Entry) error {
	if err := p.plan(ctx, group); err != nil {
		return err
	}
	p.done = true
	for _, st := range p.steps {
		if st.replace {
			if err := p.b.remove(ctx, st.Key.Path()); err != nil {
				return err
			}
		}
	}
	for _, write := range []func(context.Context, *step) error{p.provenance, p.beside, p.artifact} {
		for i := range p.steps {
			if err := write(ctx, &p.steps[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// plan decides what each entry needs, and puts the logs there: to be told of a log that nobody asks for harms no one.
func (p *publication) plan(ctx context.Context, group []Entry) error {
	var conflict *cause.Err
	for _, e := range group {
		st, err := p.decide(ctx, e)
		if c := (*cause.Err)(nil); errors.As(err, &c) && c.Cause == cause.StoreConflict {
			p.Conflicts = append(p.Conflicts, e.Key)
			if conflict == nil {
				conflict = c
			} else {
				conflict.With(cause.Text(c.What)...)
			}
			continue
		}
		if err != nil {
			return err
		}
		p.steps = append(p.steps, st)
	}
	if conflict != nil {
		p.steps = nil
		return conflict
	}
	return nil
}

// decide looks at what the store has. The artifact's digest is taken from the artifact: a sidecar may be of another publisher.
func (p *publication) decide(ctx context.Context, e Entry) (step, error) {
	st := step{Entry: e}
	wanted, err := p.wanted(ctx, e)
	if err != nil {
		return st, err
	}
	before, _, err := p.read(ctx, e.Key.sidecar(), maxSidecar)
	if err != nil {
		return st, err
	}
	st.before = before
	had, err := ParseSidecar(before)
	if err != nil || had.Key() != e.Key {
		had = nil
	}
	there, err := p.b.digest(ctx, e.Key.Path())
	if errors.Is(err, fs.ErrNotExist) {
		there, err = "", nil
	}
	switch {
	case err != nil:
		return st, err
	case e.Artifact == nil && there == "":
		if had != nil {
			if equal, err := same(had, wanted); err != nil || equal {
				p.Same++
				return st, err
			}
		}
		st.sidecar = wanted
		p.Written++
	case e.Artifact == nil:
		if !p.o.Replace {
			return st, p.conflict(e.Key, there, "none, since "+without(wanted))
		}
		st.sidecar, st.replace = wanted, true
		p.Replaced++
	case there == e.Artifact.SHA256:
		whole, err := p.whole(ctx, had, there)
		if err != nil {
			return st, err
		}
		if whole {
			p.Same++
			return st, nil
		}
		st.sidecar = wanted
		p.Completed++
	case there != "" && !p.o.Replace:
		return st, p.conflict(e.Key, there, "sha256 "+string(e.Artifact.SHA256))
	default:
		st.sidecar, st.put, st.replace = wanted, true, there != ""
		if st.replace {
			p.Replaced++
		} else {
			p.Written++
		}
	}
	return st, nil
}

func without(s *Sidecar) string {
	if s.Supported == Unavailable {
		return "it is called unavailable: " + s.Reason
	}
	return "its build failed: " + string(s.Finding.Cause)
}

func (p *publication) conflict(k Key, there archive.Digest, with string) error {
	return cause.Errorf(cause.StoreConflict, cause.FaultInfra, "store %s has %s with sha256 %s; to be published is %s", p.b, k, there, with).
		Advise("compare with %s%s; publish with --replace if the new one is right", k, sidecarSuffix)
}

// wanted is the sidecar of an entry, whose log it keeps.
func (p *publication) wanted(ctx context.Context, e Entry) (*Sidecar, error) {
	path, want := e.LogPath, archive.Digest("")
	if e.Artifact != nil {
		path, want = e.Artifact.LogPath, e.Artifact.Log
	}
	log, err := p.putLog(ctx, path, want)
	if err != nil {
		return nil, err
	}
	return e.sidecar(log)
}

// whole reports whether the sidecar and the provenance of an artifact that is there are about it.
func (p *publication) whole(ctx context.Context, had *Sidecar, there archive.Digest) (bool, error) {
	if had == nil || had.Supported != Available || had.Artifact.SHA256 != there {
		return false, nil
	}
	text, _, err := p.read(ctx, had.Key().provenance(), maxSidecar)
	if err != nil || text == nil {
		return false, err
	}
	d, err := ParseStatement(text, had.File)
	return err == nil && d == there, nil
}

// provenance writes the statement about an artifact. Where there is none any more, that about the former goes.
func (p *publication) provenance(ctx context.Context, st *step) error {
	if st.sidecar == nil {
		return nil
	}
	if st.Artifact == nil {
		return p.b.remove(ctx, st.Key.provenance())
	}
	text, err := encode(statement(st.sidecar, st.Finished))
	if err != nil {
		return err
	}
	_, err = p.write(ctx, st.Key.provenance(), kindJSON, text, condition{})
	return err
}

func (p *publication) beside(ctx context.Context, st *step) error {
	if st.sidecar == nil {
		return nil
	}
	text, err := encode(st.sidecar)
	if err != nil {
		return err
	}
	_, err = p.write(ctx, st.Key.sidecar(), kindJSON, text, condition{})
	return err
}

// artifact puts the artifact where none is. If another publisher was faster with other content, the sidecar is made to tell of
// what is there: that publisher's own came from its hands and was read before it was overwritten.
func (p *publication) artifact(ctx context.Context, st *step) error {
	if !st.put {
		return nil
	}
	a := st.Artifact
	err := p.putFile(ctx, st.Key.Path(), file{a.Path, a.Size, a.SHA256, kindArtifact}, condition{absent: true})
	if !errors.Is(err, errChanged) {
		return err
	}
	there, err := p.b.digest(ctx, st.Key.Path())
	if err != nil || there == a.SHA256 {
		return err
	}
	p.Conflicts = append(p.Conflicts, st.Key)
	conflict := p.conflict(st.Key, there, "sha256 "+string(a.SHA256))
	if theirs, err := ParseSidecar(st.before); err == nil && theirs.Artifact != nil && theirs.Artifact.SHA256 == there {
		text, err := encode(statement(theirs, st.Finished))
		if err != nil {
			return err
		}
		if _, err := p.write(ctx, st.Key.provenance(), kindJSON, text, condition{}); err != nil {
			return err
		}
		if _, err := p.write(ctx, st.Key.sidecar(), kindJSON, st.before, condition{}); err != nil {
			return err
		}
	}
	return conflict
}

// measure returns the size and the digest of a file that is to be published.
func measure(path string) (int64, archive.Digest, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", cause.Errorf(cause.Internal, cause.FaultInfra, "store: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, maxArtifact+1))
	if err != nil {
		return 0, "", cause.Errorf(cause.Internal, cause.FaultInfra, "store: read %s: %w", path, err)
	}
	if n > maxArtifact {
		return 0, "", cause.Errorf(cause.Internal, cause.FaultInfra, "store: %s has more than the %d bytes that are published", path, maxArtifact)
	}
	return n, archive.Digest(hex.EncodeToString(h.Sum(nil))), nil
}
