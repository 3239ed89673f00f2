package refresh

import (
	"bufio"
	"bytes"
	"net/http"
)

// ration counts an answer as it is read and ends it where its Content-Length does. net/http would take what follows for
// the start of the next answer, or print it on the process's log, and with a Content-Length that is too small it is
// the end of a token answer. Answers of another framing are not limited.
//
// Concurrency: used by one connection's reading side only.
type ration struct {
	request *transit // whose answer it is
	head    []byte   // so far; nil once it is whole
	whole   bool
	limited bool
	left    int64 // of the body, if limited
}

// take returns how many of the bytes just read belong to the answer.
func (r *ration) take(p []byte) int {
	if r.whole {
		return r.takeBody(len(p))
	}
	r.head = append(r.head, p...)
	for !r.whole {
		size := headSize(r.head)
		if size == 0 && len(r.head) <= maxReplyHeader {
			return len(p)
		}
		r.endHead(size)
	}
	body := len(r.head)
	r.head = nil
	return len(p) - body + r.takeBody(body)
}

// endHead reads the first size bytes as an answer's head and removes them. An informational answer (RFC 9110
// section 15.2) is followed by another head.
func (r *ration) endHead(size int) {
	resp, err := http.ReadResponse(bufio.NewReaderSize(bytes.NewReader(r.head[:size]), size), nil)
	if err != nil {
		r.whole, r.limited = true, false // net/http will say so too
		return
	}
	_ = resp.Body.Close()
	r.head = r.head[size:]
	informational := resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols
	r.whole = !informational
	r.limited, r.left = resp.ContentLength >= 0, resp.ContentLength
}

func (r *ration) takeBody(n int) int {
	if !r.limited {
		return n
	}
	n = int(min(int64(n), r.left))
	r.left -= int64(n)
	return n
}

// headSize returns the length of a head with its empty line; 0 when that is not there yet.
func headSize(b []byte) int {
	for i := 0; ; {
		end := bytes.IndexByte(b[i:], '\n')
		if end < 0 {
			return 0
		}
		if len(bytes.TrimRight(b[i:i+end], "\r")) == 0 && i > 0 {
			return i + end + 1
		}
		i += end + 1
	}
}
