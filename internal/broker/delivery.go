package broker

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// Delivery is one job in this process's hands. Exactly one of Ack, Nak and Term ends it; without any, the queue
// gives the job to somebody else after the lane's AckWait.
//
// None of them is fenced: they end the job even when somebody else holds it by now. They are plain publishes: nil
// means that they were sent, not that the server has them. Losing one costs a redelivery.
type Delivery struct {
	Key        string // the credential's key, as far as the subject could be read
	Credential events.Credential
	Job        refresh.Job
	Delivered  uint64    // how often, this time included
	Published  time.Time // when the job was queued, NATS time
	// Err is set when subject or job cannot be read: the job is poison, and Term is all there is to do. Credential and
	// Job are then not to be used.
	Err error

	msg *nats.Msg
}

func (b *Broker) delivery(msg *nats.Msg) *Delivery {
	d := &Delivery{msg: msg}
	d.Err = d.read(b.names)
	return d
}

func (d *Delivery) read(names events.Names) error {
	key, ok := names.JobKey(d.msg.Subject)
	if !ok {
		return fmt.Errorf("%w: subject %s is no job's", events.ErrName, d.msg.Subject)
	}
	d.Key = key
	meta, err := d.msg.Metadata()
	if err != nil {
		return fmt.Errorf("read metadata of job %s: %w", key, err)
	}
	d.Delivered, d.Published = meta.NumDelivered, meta.Timestamp
	if d.Credential, err = events.ParseKey(key); err != nil {
		return fmt.Errorf("read subject of job: %w", err)
	}
	if d.Job, err = refresh.DecodeJob(d.msg.Data); err != nil {
		return fmt.Errorf("read job %s: %w", key, err)
	}
	d.Job.Trace = events.ReadTrace(d.msg.Header)
	return nil
}

// Ack takes the job off the queue.
func (d *Delivery) Ack() error { return d.answer("+ACK") }

// Nak hands the job back, for redelivery after delay; 0: at once. A job that waits keeps its slot in the lane, so delays
// are for seconds: who must wait longer acks and leaves it to the scheduler.
func (d *Delivery) Nak(delay time.Duration) error {
	if delay <= 0 {
		return d.answer("-NAK")
	}
	return d.answer(`-NAK {"delay": ` + strconv.FormatInt(delay.Nanoseconds(), 10) + `}`)
}

// Term takes a job off the queue that nobody can carry out; the reason appears in the server's advisory.
func (d *Delivery) Term(reason string) error { return d.answer("+TERM " + reason) }

func (d *Delivery) answer(word string) error {
	if err := d.msg.Respond([]byte(word)); err != nil {
		return fmt.Errorf("answer job %s: %w", d.Key, err)
	}
	return nil
}

// HandleFunc carries out one job and ends the delivery. Its context is not cancelled by the lane.
type HandleFunc func(ctx context.Context, d *Delivery)
