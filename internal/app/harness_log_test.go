package app_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
)

// logBook keeps what processes log, one JSON object a line.
type logBook struct {
	mu  sync.Mutex
	all bytes.Buffer
}

// Write implements io.Writer.
func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

// text returns all of it.
func (b *logBook) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

// logLine is one line of a log.
type logLine struct {
	Level    string `json:"level"`
	Process  string `json:"process"`
	Message  string `json:"message"`
	Error    string `json:"error"`
	Provider string `json:"provider"`
	Key      string `json:"key"`
	raw      string
}

// lines returns what one process (all, if it is empty) logged at info or above, oldest first.
func (b *logBook) lines(process string) []logLine {
	var all []logLine
	for raw := range strings.Lines(b.text()) {
		var l logLine
		if err := json.Unmarshal([]byte(raw), &l); err != nil {
			panic("log line is not JSON: " + raw)
		}
		l.raw = strings.TrimSpace(raw)
		if l.Level != "debug" && l.Level != "trace" && (process == "" || l.Process == process) {
			all = append(all, l)
		}
	}
	return all
}

// count says how often a process (any, if it is empty) logged, at info or above, a line that holds text.
func (b *logBook) count(process, text string) int {
	n := 0
	for _, l := range b.lines(process) {
		if strings.Contains(l.raw, text) {
			n++
		}
	}
	return n
}
