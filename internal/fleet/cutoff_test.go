package fleet_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/fleet"
)

// NATS goes away just when a starting process looks whether everything is set up: the process waits, as it does without NATS.
func TestAStartOutlivesTheLossOfNATS(t *testing.T) {
	t.Parallel()
	ctx := within(t, 60*time.Second)
	f := start(ctx, t, strict(10*time.Second, 4*time.Second))
	const cuts = 2
	server := []string{"--server", cutting(t, f.NATS, "STREAM.INFO", cuts)}
	w, err := f.Worker("worker-1", server...)
	must(t, err)
	must(t, w.Await(ctx, "worker started", 1))
	server = []string{"--server", cutting(t, f.NATS, "STREAM.INFO", cuts)}
	s, err := f.Scheduler("scheduler-1", server...)
	must(t, err)
	must(t, s.Await(ctx, "index is complete", 1))
	stop(ctx, t, s, schedulerStopped)
	stop(ctx, t, w, workerStopped)
}

// cutting returns an address at which the server can be reached, but the connection ends at the first n requests whose
// first line contains the text.
func cutting(t *testing.T, n *fleet.NATS, text string, cuts int32) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var left atomic.Int32
	left.Store(cuts)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed by the cleanup
			}
			wg.Go(func() {
				carry(conn, strings.TrimPrefix(n.URL(), "nats://"), func(line string) bool {
					return strings.Contains(line, text) && left.Add(-1) >= 0
				})
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
		if left.Load() > 0 {
			t.Errorf("%d connections were to be cut and were not", left.Load())
		}
	})
	return "nats://" + l.Addr().String()
}

// carry passes bytes to the client, and lines from it, until either side ends or cut says so.
func carry(client net.Conn, addr string, cut func(line string) bool) {
	defer client.Close()
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return // the client sees the end of its connection
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer server.Close()
	wg.Go(func() {
		_, _ = io.Copy(client, server)
		client.Close()
	})
	for lines := bufio.NewReader(client); ; {
		line, err := lines.ReadString('\n')
		if err != nil || cut(line) {
			return
		}
		if _, err := io.WriteString(server, line); err != nil {
			return
		}
	}
}
