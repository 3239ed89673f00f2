package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/pkg/refresh"
)

// EnrollmentsMaxAge bounds how long anything stays in the bucket of enrolments, and so how long a link can be good. What is
// written there names its own, shorter life.
const EnrollmentsMaxAge = 7 * 24 * time.Hour

// Bounds of the bucket. What one link can have in it is bounded by who writes it; these keep a mistake from filling the disk.
const (
	maxEnrollments = 64 << 20 // bytes; the server sets them aside
	maxEnrollment  = 16 << 10 // bytes of an entry
)

// enrollments is the bucket of what people who are on their way to a provider and back need. Its entries have lives of their own,
// and it is the only asset that workers and schedulers do without.
func enrollments(stream, name string, replicas int) jetstream.StreamConfig {
	c := bucket(stream, name, "Enrolments under way", replicas)
	c.MaxAge, c.AllowMsgTTL = EnrollmentsMaxAge, true
	c.MaxBytes, c.MaxMsgSize = maxEnrollments, maxEnrollment
	return c
}

// CreateEnrollment writes an entry that must not exist, and that the server forgets after ttl: at least a second, cut to
// whole ones. key is one of the KV client's, random where it must not be guessed. Errors: refresh.ErrConflict where there is one, or was one
// that was taken a moment ago; else it is not known whether it is stored.
func (b *Broker) CreateEnrollment(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	msg := &nats.Msg{Subject: b.names.EnrollmentSubject(key), Data: value, Header: ttlHeader(ttl)}
	if _, err := b.replace(ctx, msg, 0); err != nil {
		return fmt.Errorf("write enrolment: %w", err)
	}
	return nil
}

// HasEnrollment asks the leader whether there is an entry.
func (b *Broker) HasEnrollment(ctx context.Context, key string) (bool, error) {
	m, ok, err := b.last(ctx, b.names.EnrollmentsStream(), b.names.EnrollmentSubject(key))
	if err != nil {
		return false, fmt.Errorf("look for enrolment: %w", err)
	}
	return ok && !m.deleted(), nil
}

// takenFor is how long the marker of a taken entry stays: longer than any entry that can be taken lives.
const takenFor = time.Hour

// TakeEnrollment reads an entry and deletes it, on condition that nobody else did: of many who take it at once one has it. check sees
// it before; where it fails the entry stays, and its error is returned as it is. Errors: refresh.ErrNotFound; refresh.ErrConflict for one that somebody else was faster to take; after any other nobody may
// use it.
func (b *Broker) TakeEnrollment(ctx context.Context, key string, check func([]byte) error) ([]byte, error) {
	subject := b.names.EnrollmentSubject(key)
	m, ok, err := b.last(ctx, b.names.EnrollmentsStream(), subject)
	if err != nil {
		return nil, fmt.Errorf("read enrolment: %w", err)
	}
	if !ok || m.deleted() {
		return nil, fmt.Errorf("take enrolment: %w", refresh.ErrNotFound)
	}
	if err := check(m.data); err != nil {
		return nil, err
	}
	marker := &nats.Msg{Subject: subject, Header: ttlHeader(takenFor)}
	marker.Header["KV-Operation"] = []string{"DEL"}
	if _, err := b.replace(ctx, marker, m.revision); err != nil {
		return nil, fmt.Errorf("take enrolment: %w", err)
	}
	return m.data, nil
}

// MarkEnrollment is CreateEnrollment of an entry without a value, which may also take the place of one that was released.
func (b *Broker) MarkEnrollment(ctx context.Context, key string, ttl time.Duration) error {
	subject := b.names.EnrollmentSubject(key)
	m, ok, err := b.last(ctx, b.names.EnrollmentsStream(), subject)
	if err != nil {
		return fmt.Errorf("read enrolment: %w", err)
	}
	if ok && !m.deleted() {
		return fmt.Errorf("write enrolment: %w", refresh.ErrConflict)
	}
	if _, err := b.replace(ctx, &nats.Msg{Subject: subject, Header: ttlHeader(ttl)}, m.revision); err != nil {
		return fmt.Errorf("write enrolment: %w", err)
	}
	return nil
}

// ReleaseEnrollment deletes an entry that the caller marked. Errors: whether it was deleted is not known.
func (b *Broker) ReleaseEnrollment(ctx context.Context, key string) error {
	subject := b.names.EnrollmentSubject(key)
	m, ok, err := b.last(ctx, b.names.EnrollmentsStream(), subject)
	if err != nil {
		return fmt.Errorf("read enrolment: %w", err)
	}
	if !ok || m.deleted() {
		return nil
	}
	marker := &nats.Msg{Subject: subject, Header: ttlHeader(takenFor)}
	marker.Header["KV-Operation"] = []string{"DEL"}
	if _, err := b.replace(ctx, marker, m.revision); err != nil {
		return fmt.Errorf("release enrolment: %w", err)
	}
	return nil
}

func ttlHeader(ttl time.Duration) nats.Header {
	return nats.Header{jetstream.MsgTTLHeader: {strconv.Itoa(max(1, int(ttl/time.Second)))}}
}

// CheckEnrollments fails with ErrNotSetUp where the bucket is missing, as in an installation that an earlier version set up.
func (b *Broker) CheckEnrollments(ctx context.Context) error {
	_, _, err := b.last(ctx, b.names.EnrollmentsStream(), b.names.EnrollmentSubject("none"))
	if errors.Is(err, ErrNotSetUp) {
		return fmt.Errorf("bucket %s is missing: %w", b.names.EnrollmentsBucket(), err)
	}
	return err
}
