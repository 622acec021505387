// SPDX-License-Identifier: Apache-2.0

package live

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

// The control sequences of the table. It never clears the screen: what was above it stays.
const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	clearLine  = "\x1b[K"   // to the end of the line
	clearBelow = "\x1b[J"   // to the end of the screen
	lineUp     = "\x1b[%dA" // and to its first column, after a carriage return
)

// table shows a line for each cell and a total, redrawn in place.
type table struct {
	mu     sync.Mutex
	out    printer
	now    func() time.Time
	size   func() (width, height int)
	colour bool
	began  time.Time
	rows   []*tableRow
	drawn  int // lines of the table on the screen
	stop   chan struct{}
	closed bool
	progress
}

type tableRow struct {
	Row
	states  map[string]cause.State // of the stages that ended
	current string                 // the stage in flight, or empty
	since   time.Time              // when current began
	began   time.Time              // when the first stage began
	ended   time.Time
	state   cause.State // the cell's verdict, once done
}

func newTable(w io.Writer, now func() time.Time, size func() (int, int), colour bool) *table {
	return &table{out: printer{w: w}, now: now, size: size, colour: colour, began: now(), stop: make(chan struct{})}
}

// tick redraws until the table is closed: the clocks in it go on without events.
func (t *table) tick(every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-t.stop:
			return
		case <-ticker.C:
			t.change(func() {})
		}
	}
}

// change does f and redraws.
func (t *table) change(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	f()
	t.draw("")
}

func (t *table) Cell(r Row) {
	t.change(func() {
		t.rows = append(t.rows, &tableRow{Row: r, states: make(map[string]cause.State)})
		t.expect(r.ID, r.Lengths)
	})
}

func (t *table) Estimate(whole time.Duration) { t.change(func() { t.whole = whole }) }

func (t *table) Start(cell, stage string) {
	t.update(cell, func(r *tableRow) {
		r.current, r.since = stage, t.now()
		t.start(cell, stage, t.now())
		if r.began.IsZero() {
			r.began = r.since
		}
	})
}

func (t *table) End(cell, stage string, state cause.State, detail string) {
	t.update(cell, func(r *tableRow) {
		r.states[stage] = state
		t.end(cell, stage)
		if r.current == stage {
			r.current = ""
		}
	})
	// What went wrong is said at once: the table itself has no room for it.
	if state != cause.Pass {
		if detail != "" {
			detail = ": " + detail
		}
		t.above(results.Paint(state, string(state), t.colour), results.Line(fmt.Sprintf("%s, stage %s%s", cell, stage, detail)))
	}
}

func (t *table) Done(cell string, state cause.State) {
	t.update(cell, func(r *tableRow) {
		r.state, r.current, r.ended = state, "", t.now()
		t.over(cell)
	})
}

func (t *table) update(cell string, f func(*tableRow)) {
	t.change(func() {
		if i := slices.IndexFunc(t.rows, func(r *tableRow) bool { return r.ID == cell }); i >= 0 {
			f(t.rows[i])
		}
	})
}

func (t *table) Note(text string) { t.above("", results.Line(text)) }

func (t *table) Warn(text string) { t.above("warning", results.Line(text)) }

// above prints a line for good, over the table.
func (t *table) above(head, text string) {
	if head != "" {
		text = head + "  " + text
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.draw(text + "\r\n")
	}
}

func (t *table) Close(run results.Run) error {
	t.Abort()
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := results.RenderTable(&t.out, run, t.colour); err != nil {
		return err
	}
	return t.out.err
}

func (t *table) Abort() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.closed = true
	close(t.stop)
	io.WriteString(&t.out, t.home()+clearBelow+showCursor)
}

// home moves to the first line of the table.
func (t *table) home() string {
	if t.drawn == 0 {
		return hideCursor
	}
	return hideCursor + "\r" + fmt.Sprintf(lineUp, t.drawn)
}

// draw replaces the table on the screen by above and the table as it is now. One write: no flicker.
func (t *table) draw(above string) {
	width, height := t.size()
	lines := t.lines(width, height)
	var b strings.Builder
	b.WriteString(t.home())
	if above != "" {
		b.WriteString(clearBelow + above)
	}
	for _, l := range lines {
		b.WriteString(l + clearLine + "\r\n")
	}
	b.WriteString(clearBelow)
	t.drawn = len(lines)
	io.WriteString(&t.out, b.String())
}

// lines is the table within width x height. A line as wide as the terminal or a table as high would make it
// scroll or wrap, and the next redraw would start in the wrong place.
func (t *table) lines(width, height int) []string {
	shown, hidden := t.fit(max(1, height-3))
	kernel, driver := 0, 0
	for _, r := range t.rows {
		kernel, driver = max(kernel, utf8.RuneCountInString(r.Kernel)), max(driver, utf8.RuneCountInString(r.Driver))
	}
	out := make([]string, 0, len(shown)+2)
	for _, r := range shown {
		out = append(out, t.row(r, kernel, driver, width-1))
	}
	if hidden > 0 {
		out = append(out, clip(fmt.Sprintf("... and %d more", hidden), width-1))
	}
	return append(out, clip(t.total(), width-1))
}

// fit chooses the rows that n lines have room for: those at work first, then those to come, then the done.
func (t *table) fit(n int) (shown []*tableRow, hidden int) {
	if len(t.rows) <= n {
		return t.rows, 0
	}
	rank := func(r *tableRow) int {
		switch {
		case r.state != "":
			return 2
		case r.began.IsZero():
			return 1
		}
		return 0
	}
	order := slices.Clone(t.rows)
	slices.SortStableFunc(order, func(a, b *tableRow) int { return rank(a) - rank(b) })
	keep := order[:n]
	for _, r := range t.rows {
		if slices.Contains(keep, r) {
			shown = append(shown, r)
		}
	}
	return shown, len(t.rows) - n
}

// row is a line of at most width characters: kernel, driver, a letter for each stage, what goes on, elapsed.
func (t *table) row(r *tableRow, kernel, driver, width int) string {
	letters, plain := t.letters(r)
	doing := string(r.state)
	if r.current != "" {
		doing = r.current + " " + results.Duration(t.now().Sub(r.since))
	}
	elapsed := ""
	switch {
	case !r.ended.IsZero() && !r.began.IsZero():
		elapsed = results.Duration(r.ended.Sub(r.began))
	case !r.began.IsZero():
		elapsed = results.Duration(t.now().Sub(r.began))
	}
	// The widest stage is "scenarios 59m59s".
	status, clock := pad(doing, 16), fmt.Sprintf("  %7s", elapsed)
	// The names give way first: of a kernel the beginning tells most.
	room := width - utf8.RuneCountInString(plain) - utf8.RuneCountInString(status+clock) - 6
	if room < 8 {
		return clip(plain+"  "+status+clock, width)
	}
	if kernel+driver > room {
		driver = min(driver, room/3)
		kernel = min(kernel, room-driver)
	}
	if r.state != "" {
		status = results.Paint(r.state, status, t.colour)
	}
	return pad(r.Kernel, kernel) + "  " + pad(r.Driver, driver) + "  " + letters + "  " + status + clock
}

// letters shows each declared stage: the letter of its state, > in flight, . to come or not reached.
func (t *table) letters(r *tableRow) (painted, plain string) {
	var p, b strings.Builder
	for _, stage := range r.Stages {
		state, ended := r.states[stage]
		switch {
		case stage == r.current:
			p.WriteString(">")
			b.WriteString(">")
		case ended:
			p.WriteString(results.Paint(state, results.Letter(state), t.colour))
			b.WriteString(results.Letter(state))
		default:
			p.WriteString(".")
			b.WriteString(".")
		}
	}
	return p.String(), b.String()
}

func (t *table) total() string {
	var s results.Summary
	done, busy := 0, 0
	for _, r := range t.rows {
		switch {
		case r.state != "":
			done++
			s.Add(r.state)
		case !r.began.IsZero():
			busy++
		}
	}
	total := fmt.Sprintf("%d of %d cells done, %d at work, %s elapsed", done, len(t.rows), busy, results.Duration(t.now().Sub(t.began)))
	if done < len(t.rows) {
		total += t.toGo(t.now().Sub(t.began), t.now())
	}
	if done > 0 {
		total += "  (" + s.Counts() + ")"
	}
	return total
}

// pad makes s exactly n characters long.
func pad(s string, n int) string {
	s = clip(results.Line(s), n)
	return s + strings.Repeat(" ", n-utf8.RuneCountInString(s))
}

// clip cuts s to n characters, the last one telling so.
func clip(s string, n int) string {
	r := []rune(s)
	switch {
	case n <= 0:
		return ""
	case len(r) <= n:
		return s
	}
	return string(r[:n-1]) + "…"
}
