// SPDX-License-Identifier: Apache-2.0

package parts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/debian"
	"github.com/mews-farm/mews/results/cause"
)

// index answers what a plan asks of Debian's suites. To read the indexes of eight suites takes five seconds of a processor and
// 100 MB; what was asked before is remembered for as long as the suites have the same indexes, by what their InRelease says.
type index struct {
	debian  *debian.Source
	archive *archive.Archive
}

// answers is part of every name under which an answer is kept: a change of what is asked makes all anew.
const answers = "2"

// maxAnswer bounds an answer, in bytes. That for all 300 kernels of a suite has 400 KB.
const maxAnswer = 16 << 20

// Resolve is that of debian.Source.
func (x *index) Resolve(ctx context.Context, suites []string, pattern string, latest int) ([]*kernels.Resolved, error) {
	return remembered(ctx, x, "resolve", suites, []any{pattern, latest}, func() ([]*kernels.Resolved, error) {
		return x.debian.Resolve(ctx, suites, pattern, latest)
	})
}

// Closure is that of debian.Source.
func (x *index) Closure(ctx context.Context, suites []string, names ...string) ([]kernels.Package, error) {
	return remembered(ctx, x, "closure", suites, []any{names}, func() ([]kernels.Package, error) {
		return x.debian.Closure(ctx, suites, names...)
	})
}

// Find is that of debian.Source.
func (x *index) Find(ctx context.Context, suites []string, name string) (kernels.Package, error) {
	return remembered(ctx, x, "find", suites, []any{name}, func() (kernels.Package, error) {
		return x.debian.Find(ctx, suites, name)
	})
}

// remembered returns what ask said when it was last asked of the same indexes. An error is not remembered.
func remembered[T any](ctx context.Context, x *index, what string, suites []string, args []any, ask func() (T, error)) (T, error) {
	var none T
	stamp, err := x.debian.Stamp(ctx, suites)
	if err != nil {
		return none, err
	}
	name, err := json.Marshal([]any{answers, what, stamp, args})
	if err != nil {
		return none, cause.Errorf(cause.Internal, cause.FaultHarness, "ask for %s: %w", what, err)
	}
	sum := sha256.Sum256(name)
	ref := "answers/" + what + "/" + hex.EncodeToString(sum[:])
	if v, ok := answer[T](x.archive, ref); ok {
		return v, nil
	}
	v, err := ask()
	if err != nil {
		return none, err
	}
	return v, keep(ctx, x.archive, ref, v)
}

// answer reads what is kept under ref; what is lost or cannot be read is asked again.
func answer[T any](a *archive.Archive, ref string) (v T, ok bool) {
	d, err := a.Ref(ref)
	if err != nil {
		return v, false
	}
	f, err := a.Open(d)
	if err != nil {
		return v, false
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxAnswer))
	if err != nil {
		return v, false
	}
	return v, json.Unmarshal(text, &v) == nil
}

func keep(ctx context.Context, a *archive.Archive, ref string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return cause.Errorf(cause.Internal, cause.FaultHarness, "keep an answer: %w", err)
	}
	d, err := a.Add(ctx, bytes.NewReader(text), maxAnswer)
	if err != nil {
		return err
	}
	return a.SetRef(ref, d)
}
