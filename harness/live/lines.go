// SPDX-License-Identifier: Apache-2.0

package live

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

// lines writes one line for each event, for logs and pipes.
type lines struct {
	mu      sync.Mutex
	out     printer
	now     func() time.Time
	began   time.Time
	cells   int
	ended   int                     // cells
	started map[[2]string]time.Time // by cell and stage
	progress
}

func newLines(w io.Writer, now func() time.Time) *lines {
	return &lines{out: printer{w: w}, now: now, began: now(), started: make(map[[2]string]time.Time)}
}

func (l *lines) printf(format string, args ...any) {
	fmt.Fprintf(&l.out, "%7s  %s\n", results.Duration(l.now().Sub(l.began)), results.Line(fmt.Sprintf(format, args...)))
}

func (l *lines) Cell(r Row) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cells++
	l.expect(r.ID, r.Lengths)
}

func (l *lines) Estimate(whole time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.whole = whole
}

func (l *lines) Start(cell, stage string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.started[[2]string{cell, stage}] = l.now()
	l.start(cell, stage, l.now())
	l.printf("%s  %s ...", cell, stage)
}

func (l *lines) End(cell, stage string, state cause.State, detail string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end(cell, stage)
	took := ""
	if at, ok := l.started[[2]string{cell, stage}]; ok {
		took = " in " + results.Duration(l.now().Sub(at))
	}
	if detail != "" {
		detail = ": " + detail
	}
	l.printf("%s  %s %s%s%s", cell, stage, state, took, detail)
}

func (l *lines) Done(cell string, state cause.State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended++
	l.over(cell)
	l.printf("%s  cell %d of %d done: %s%s", cell, l.ended, l.cells, state, l.toGo(l.now().Sub(l.began), l.now()))
}

func (l *lines) Note(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.printf("%s", text)
}

func (l *lines) Warn(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.printf("warning: %s", text)
}

func (l *lines) Close(run results.Run) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(&l.out)
	if err := results.RenderTable(&l.out, run, false); err != nil {
		return err
	}
	return l.out.err
}

func (l *lines) Abort() {}
