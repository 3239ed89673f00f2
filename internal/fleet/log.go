package fleet

import (
	"bytes"
	"slices"
	"strings"
	"sync"
)

// Log keeps what a process writes, line by line. The zero Log is empty and ready.
type Log struct {
	mu      sync.Mutex
	lines   []string
	part    []byte
	changed chan struct{} // closed with the next write; nil while nobody waits
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, p...)
	for {
		line, rest, found := bytes.Cut(l.part, []byte("\n"))
		if !found {
			break
		}
		l.lines = append(l.lines, string(line))
		l.part = rest
	}
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	return len(p), nil
}

// Lines returns all lines so far, without their ends; a last one that is not finished too.
func (l *Log) Lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := slices.Clone(l.lines)
	if len(l.part) > 0 {
		lines = append(lines, string(l.part))
	}
	return lines
}

// Count returns how many lines contain the text.
func (l *Log) Count(text string) int {
	n := 0
	for _, line := range l.Lines() {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// Tail returns the last n lines as one text.
func (l *Log) Tail(n int) string {
	lines := l.Lines()
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// next is closed when more is written.
func (l *Log) next() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.changed
}
