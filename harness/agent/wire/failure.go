// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mews-farm/mews/internal/lazy"
	"github.com/mews-farm/mews/results/cause"
)

// Limits of a failure. What goes beyond is cut, at both ends.
const (
	maxText     = 4 << 10
	maxEvidence = 200
)

// Status makes an error that ttrpc carries to the other end, where [FailureOf] finds it.
func Status(err error) error {
	if err == nil {
		return nil
	}
	f := FailureFrom(err)
	s, detailErr := status.New(codes.Unknown, f.GetWhat()).WithDetails(f)
	if detailErr != nil {
		return status.Error(codes.Internal, detailErr.Error())
	}
	return s.Err()
}

// FailureFrom writes err down; an error that carries no finding is a bug in mews, as [cause.Of] has it.
func FailureFrom(err error) *Failure {
	var e *cause.Err
	if !errors.As(err, &e) {
		e = &cause.Err{Finding: cause.Of(err), What: err.Error()}
	}
	out := &Failure{
		State: string(e.State), Cause: string(e.Cause), Fault: string(e.Fault),
		What: cut((&cause.Err{What: e.What, Wrap: e.Wrap}).Error()), Hint: cut(e.Hint),
	}
	for _, ev := range e.Evidence[:min(len(e.Evidence), maxEvidence)] {
		out.Evidence = append(out.Evidence, &Evidence{File: cut(ev.File), Line: int32(ev.Line), Text: cut(ev.Text)})
	}
	return out
}

// FailureOf finds the failure that the other end put into err with [Status].
func FailureOf(err error) (*cause.Err, bool) {
	s, ok := status.FromError(err)
	if !ok {
		return nil, false
	}
	for _, d := range s.Details() {
		if f, ok := d.(*Failure); ok {
			return ErrOf(f), true
		}
	}
	return nil, false
}

var causeCode = lazy.Regexp(`^[A-Z][A-Z0-9_]{1,63}$`)

// ErrOf reads a failure. One that makes no sense is mews's own error, whatever the guest called it: a guest
// must not be able to make a pass, or a record that cannot be stored.
func ErrOf(f *Failure) *cause.Err {
	e := &cause.Err{
		Finding: cause.Finding{State: cause.State(f.GetState()), Cause: cause.Cause(f.GetCause()), Fault: cause.Fault(f.GetFault())},
		What:    cut(f.GetWhat()), Hint: cut(f.GetHint()),
	}
	for _, ev := range f.GetEvidence()[:min(len(f.GetEvidence()), maxEvidence)] {
		e.With(cause.Evidence{File: cut(ev.GetFile()), Line: int(ev.GetLine()), Text: cut(ev.GetText())})
	}
	err := e.Check()
	if err == nil && e.State != cause.Pass && e.State != cause.Missing && causeCode().MatchString(string(e.Cause)) {
		return e
	}
	e.Finding = cause.Finding{State: cause.Error, Cause: cause.Internal, Fault: cause.FaultHarness, Evidence: e.Evidence}
	e.What = "the agent sent a failure that makes no sense: " + e.What
	return e
}

func cut(s string) string { return Text(s[:min(len(s), maxText)]) }

// Text makes s fit for a message: protobuf refuses to send a string that is not UTF-8, and what a guest's
// processes and kernel print need not be.
func Text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
