package agent_test

import (
	"bytes"
	"sync"

	"github.com/rs/zerolog"
)

// lockedBuffer may be read while others write.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func nopLog() zerolog.Logger { return zerolog.Nop() }
