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
	// runs times runLength bounds the reads in flight of one Get.
	runs      = 8
	runLength = 32
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
	waiting map[uint64]waiter // by number
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
	place  int         // among those that were asked with it
	answer chan answer // takes one of each of those
}

type answer struct {
	place int
	msg   *nats.Msg
	err   error
}

func newDirect(nc *nats.Conn, prefix string) *direct {
	return &direct{
		nc: nc, prefix: prefix, inbox: nc.NewInbox() + ".",
		msgs: make(chan *nats.Msg, inboxBuffer), waiting: make(map[uint64]waiter),
	}
}

// ask asks once. Errors: ErrUnavailable, ErrPermission, or the cause that ended ctx.
func (d *direct) ask(ctx context.Context, q question) (*nats.Msg, error) {
	a := d.askAll(ctx, []question{q})[0]
	return a.msg, a.err
}

// askAll asks many questions once, all at the same time, and returns their answers in order. The errors are those of ask.
func (d *direct) askAll(ctx context.Context, qs []question) []answer {
	answers := make([]answer, len(qs))
	if !d.nc.IsConnected() {
		return failed(answers, fmt.Errorf("%w: there is no connection", ErrUnavailable))
	}
	first, come := d.enter(qs)
	defer d.leave(first, len(qs))
	for i, q := range qs {
		if err := d.publish(q, d.inbox+strconv.FormatUint(first+uint64(i), 36)); err != nil {
			return failed(answers, fmt.Errorf("%w: %w", ErrUnavailable, err))
		}
	}
	lost := time.NewTimer(answerWithin)
	defer lost.Stop()
	for range qs {
		select {
		case a := <-come:
			answers[a.place] = a
		case <-ctx.Done():
			return failed(answers, context.Cause(ctx))
		case <-lost.C:
			return failed(answers, fmt.Errorf("%w: no answer within %s", ErrUnavailable, answerWithin))
		}
	}
	return answers
}

// failed gives an error to those that have no answer.
func failed(answers []answer, err error) []answer {
	for i := range answers {
		if answers[i].msg == nil && answers[i].err == nil {
			answers[i].err = err
		}
	}
	return answers
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

// enter gives numbers to questions, from first on; their answers come to one channel.
func (d *direct) enter(qs []question) (first uint64, come <-chan answer) {
	answers := make(chan answer, len(qs))
	d.mu.Lock()
	defer d.mu.Unlock()
	first = d.last + 1
	d.last += uint64(len(qs))
	for i, q := range qs {
		d.waiting[first+uint64(i)] = waiter{question: q, place: i, answer: answers}
	}
	return first, answers
}

func (d *direct) leave(first uint64, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range n {
		delete(d.waiting, first+uint64(i))
	}
}

// dispatch hands answers on until ctx ends.
func (d *direct) dispatch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case msg := <-d.msgs:
			if number, err := strconv.ParseUint(strings.TrimPrefix(msg.Subject, d.inbox), 36, 64); err == nil {
				d.settle(number, msg)
			}
		}
	}
}

// settle answers one request; a second answer finds nobody.
func (d *direct) settle(number uint64, msg *nats.Msg) {
	d.mu.Lock()
	w, ok := d.waiting[number]
	if ok = ok && !(w.json && bytes.Contains(msg.Data, []byte(notEnabled))); ok {
		delete(d.waiting, number)
	}
	d.mu.Unlock()
	if ok {
		w.answer <- answer{place: w.place, msg: msg}
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
			w.answer <- answer{place: w.place, err: err}
		}
	}
}
