package tokens

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// directGet is the part of a read's subject between the API's prefix and the stream.
	directGet = "DIRECT.GET."
	// window bounds the reads in flight of one Get.
	window = 256
	// answerWithin is how long one request waits before it counts as lost.
	answerWithin = 2 * time.Second
	// inboxBuffer is how many answers may wait for the goroutine that hands them on, which never blocks.
	inboxBuffer = 16 << 10
)

// direct asks the server what a reader may be permitted to ask, message by message: above all the last message of a
// subject of the bucket's stream, $JS.API.DIRECT.GET.<stream>.<subject> with nothing in it. nats.go's handles for streams
// and buckets begin with STREAM.INFO, which shows every key, so they are of no use here. All answers come to one inbox.
//
// Concurrency: ask may be called by any number of goroutines, dispatch by one. mu owns all fields below it.
type direct struct {
	nc     *nats.Conn
	prefix string // of the JetStream API
	inbox  string // a request's number follows
	msgs   chan *nats.Msg

	mu      sync.Mutex
	last    uint64
	waiting map[string]waiter // by number
}

// question is one request.
type question struct {
	subject string
	api     bool // the subject stands behind the prefix of the JetStream API
	// json: the answer is JSON. An account that imports this subject from another one's API gets two: its own account says that it
	// has no JetStream. That one does not count.
	json   bool
	header nats.Header
	data   []byte
}

type waiter struct {
	question
	answer chan answer // takes one
}

type answer struct {
	msg *nats.Msg
	err error
}

func newDirect(nc *nats.Conn, prefix string) *direct {
	return &direct{
		nc: nc, prefix: prefix, inbox: nc.NewInbox() + ".",
		msgs: make(chan *nats.Msg, inboxBuffer), waiting: make(map[string]waiter),
	}
}

// ask asks once. Errors: ErrUnavailable, ErrPermission, or the cause that ended ctx.
func (d *direct) ask(ctx context.Context, q question) (*nats.Msg, error) {
	if !d.nc.IsConnected() {
		return nil, fmt.Errorf("%w: there is no connection", ErrUnavailable)
	}
	number, w := d.enter(q)
	defer d.leave(number)
	if err := d.publish(q, d.inbox+number); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	lost := time.NewTimer(answerWithin)
	defer lost.Stop()
	select {
	case a := <-w.answer:
		return a.msg, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-lost.C:
		return nil, fmt.Errorf("%w: no answer within %s", ErrUnavailable, answerWithin)
	}
}

func (d *direct) publish(q question, reply string) error {
	subject := q.subject
	if q.api {
		subject = d.prefix + subject
	}
	if q.header == nil {
		return d.nc.PublishRequest(subject, reply, q.data)
	}
	return d.nc.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Header: q.header, Data: q.data})
}

func (d *direct) enter(q question) (number string, w waiter) {
	w = waiter{question: q, answer: make(chan answer, 1)}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last++
	number = strconv.FormatUint(d.last, 36)
	d.waiting[number] = w
	return number, w
}

func (d *direct) leave(number string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.waiting, number)
}

// dispatch hands answers on until ctx ends.
func (d *direct) dispatch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case msg := <-d.msgs:
			d.settle(strings.TrimPrefix(msg.Subject, d.inbox), answer{msg: msg})
		}
	}
}

// settle answers one request; a second answer finds nobody.
func (d *direct) settle(number string, a answer) {
	d.mu.Lock()
	w, ok := d.waiting[number]
	if ok = ok && !(w.json && bytes.Contains(a.msg.Data, []byte(notEnabled))); ok {
		delete(d.waiting, number)
	}
	d.mu.Unlock()
	if ok {
		w.answer <- a
	}
}

// notEnabled is the server's code for an account without JetStream.
const notEnabled = `"err_code":10039,`

// deny ends the requests to a subject that the server has refused. A server that belongs to the domain names the
// subject that the domain's prefix stands for, so only what is behind the prefix is compared.
func (d *direct) deny(subject string, err error) {
	d.settleAll(func(w waiter) bool {
		return w.subject == subject || w.api && strings.HasSuffix(subject, "."+w.subject)
	}, err)
}

// lose ends every request: their answers will not come.
func (d *direct) lose(err error) { d.settleAll(func(waiter) bool { return true }, err) }

func (d *direct) settleAll(match func(waiter) bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for number, w := range d.waiting {
		if match(w) {
			delete(d.waiting, number)
			w.answer <- answer{err: err}
		}
	}
}
