package evidence

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ackProxy stands between workers and nats-server and is unfair to acks. It reads NATS's client protocol as far as it must.
// mu guards what is below it.
type ackProxy struct {
	listener net.Listener
	server   string // host:port
	done     sync.WaitGroup

	mu                                     sync.Mutex
	chance                                 *rand.Rand
	calmed                                 bool
	conns                                  []net.Conn
	jobs, acks, lost, late, turned, robbed int
}

func newAckProxy(url string, seed uint64) (*ackProxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the workers: %w", err)
	}
	p := &ackProxy{listener: l, server: strings.TrimPrefix(url, "nats://"), chance: rand.New(rand.NewPCG(seed, 6))}
	p.done.Go(p.serve)
	return p, nil
}

func (p *ackProxy) url() string { return "nats://" + p.listener.Addr().String() }

// calm makes the proxy fair.
func (p *ackProxy) calm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calmed = true
}

func (p *ackProxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.done.Wait()
}

func (p *ackProxy) counts() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("%d deliveries, %d handed back while somebody was at them; %d acks, %d lost, %d late, %d turned into naks",
		p.jobs, p.robbed, p.acks, p.lost, p.late, p.turned)
}

func (p *ackProxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		up := &upstream{Conn: server}
		p.done.Go(func() { p.forward(client, up); _ = server.Close() })
		p.done.Go(func() { p.back(server, client, up); _ = client.Close() })
	}
}

// upstream writes whole protocol messages.
type upstream struct {
	net.Conn
	mu sync.Mutex
}

func (u *upstream) send(message []byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, err := u.Write(message)
	return err
}

// forward carries what the client says, message by message.
func (p *ackProxy) forward(client io.Reader, up *upstream) {
	in := bufio.NewReaderSize(client, 1<<16)
	for {
		message, subject, payload, err := readMessage(in)
		if err != nil {
			return
		}
		if isAck(subject) && bytes.Equal(payload, []byte("+ACK")) {
			message = p.unfair(up, message, subject)
		}
		if err := up.send(message); err != nil {
			return
		}
	}
}

// readMessage reads one message of the client protocol; subject is empty unless it is a publish.
func readMessage(in *bufio.Reader) (message []byte, subject string, payload []byte, err error) {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return nil, "", nil, err
	}
	fields := strings.Fields(string(line))
	if len(fields) < 3 || fields[0] != "PUB" && fields[0] != "HPUB" {
		return line, "", nil, nil
	}
	size, err := strconv.Atoi(fields[len(fields)-1])
	if err != nil {
		return nil, "", nil, err
	}
	rest := make([]byte, size+2)
	if _, err := io.ReadFull(in, rest); err != nil {
		return nil, "", nil, err
	}
	return append(line, rest...), fields[1], rest[:size], nil
}

const ackPrefix = "$JS.ACK.REFRESH_JOBS."

func isAck(subject string) bool { return strings.HasPrefix(subject, ackPrefix) }

// unfair returns what becomes of an ack: itself, nothing, or a nak; a late one goes out by itself.
func (p *ackProxy) unfair(up *upstream, message []byte, subject string) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acks++
	if p.calmed {
		return message
	}
	switch n := p.chance.IntN(100); {
	case n < 5:
		p.lost++
		return nil
	case n < 15:
		p.late++
		wait := time.Duration(p.chance.Int64N(int64(5 * time.Second)))
		p.done.Go(func() { time.Sleep(wait); _ = up.send(message) })
		return nil
	case n < 25:
		p.turned++
		return nak(subject)
	}
	return message
}

func nak(subject string) []byte { return fmt.Appendf(nil, "PUB %s 4\r\n-NAK\r\n", subject) }

// back carries what the server says, and hands back some of the jobs it delivers while the worker is at them.
func (p *ackProxy) back(server io.Reader, client io.Writer, up *upstream) {
	buf := make([]byte, 1<<16)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		for rest := buf[:n]; ; {
			_, after, found := bytes.Cut(rest, []byte(ackPrefix))
			if !found {
				break
			}
			if name, _, whole := bytes.Cut(after, []byte(" ")); whole { // else it is cut off here: left alone
				p.handBack(up, ackPrefix+string(name))
			}
			rest = after
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// handBack hands back a job, perhaps, in the time that an attempt takes.
func (p *ackProxy) handBack(up *upstream, subject string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jobs++
	if p.calmed || p.chance.IntN(100) >= 20 {
		return
	}
	p.robbed++
	wait := time.Duration(p.chance.Int64N(int64(150 * time.Millisecond)))
	p.done.Go(func() { time.Sleep(wait); _ = up.send(nak(subject)) })
}
