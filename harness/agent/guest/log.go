// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"log/slog"
	"strings"
	"sync"

	"github.com/mews-farm/mews/harness/agent/wire"
)

// Log is the agent's own log: its last lines, numbered from 0.
type Log struct {
	*slog.Logger
	mu    sync.Mutex
	first uint64 // number of lines[0]
	lines []string
}

// Bounds of the log.
const (
	maxLogLines = 2000
	maxLogLine  = 8 << 10
)

// NewLog makes an empty log.
func NewLog() *Log {
	l := &Log{}
	l.Logger = slog.New(slog.NewTextHandler(l, nil))
	return l
}

// Write takes one line of the handler's.
func (l *Log) Write(b []byte) (int, error) {
	line := strings.TrimSuffix(string(b[:min(len(b), maxLogLine)]), "\n")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, wire.Text(line))
	if over := len(l.lines) - maxLogLines; over > 0 {
		l.lines = append(l.lines[:0], l.lines[over:]...)
		l.first += uint64(over)
	}
	return len(b), nil
}

// Since returns the lines from number since on, at most limit bytes of them, and the number to go on from.
func (l *Log) Since(since uint64, limit int) (lines []string, next uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next = max(since, l.first)
	for size := 0; next < l.first+uint64(len(l.lines)) && size < limit; next++ {
		line := l.lines[next-l.first]
		lines, size = append(lines, line), size+len(line)
	}
	return lines, next
}
