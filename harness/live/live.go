// SPDX-License-Identifier: Apache-2.0

// Package live knows how to show a run while it goes on: as a table redrawn in place on a terminal, as one
// line for each event elsewhere.
package live

import (
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

// Row announces a cell.
type Row struct {
	ID     string
	Kernel string
	Driver string
	Stages []string // declared, in order
	// Lengths are the seconds that earlier runs took for the stages that there are; nil: nothing is known.
	Lengths map[string]float64
}

// View is what a run tells while it goes on. Its methods may be called by many goroutines.
type View interface {
	// Cell announces a cell of the plan. Cells are shown in the order of their announcement.
	Cell(Row)
	// Estimate says how long the run will take, before it begins; never: that is not known.
	Estimate(whole time.Duration)
	// Start says that a stage of a cell begins.
	Start(cell, stage string)
	// End says how a stage ended; detail, which may be empty, is one line about it.
	End(cell, stage string, state cause.State, detail string)
	// Done says that nothing more happens in the cell, and its verdict.
	Done(cell string, state cause.State)
	// Note tells something about the run as a whole.
	Note(text string)
	// Warn tells something about the run that somebody should look at.
	Warn(text string)
	// Close shows the finished run and gives the terminal back. Nothing may be called after it.
	Close(run results.Run) error
	// Abort gives the terminal back without showing a run.
	Abort()
}

// New returns the view for out: the table if it is a terminal that can be redrawn, lines otherwise. Colour is
// used on a terminal, unless NO_COLOR is set (https://no-color.org).
func New(out io.Writer) View {
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" {
		return newLines(out, time.Now)
	}
	size := func() (width, height int) {
		w, h, err := term.GetSize(int(f.Fd()))
		if err != nil || w < 1 || h < 1 {
			return 80, 24
		}
		return w, h
	}
	t := newTable(out, time.Now, size, os.Getenv("NO_COLOR") == "")
	go t.tick(200 * time.Millisecond)
	return t
}

// printer keeps the first error of a writer, so that drawing needs no error handling and Close can tell.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) Write(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	n, err := p.w.Write(b)
	p.err = err
	return n, err
}
