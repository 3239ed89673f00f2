package broker_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// anything takes whatever is there.
func anything([]byte) error { return nil }

func TestAnEnrollmentIsTakenOnce(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	ctx := t.Context()
	if err := b.CreateEnrollment(ctx, "state_x", []byte("sealed"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := b.CreateEnrollment(ctx, "state_x", []byte("other"), time.Minute); !errors.Is(err, refresh.ErrConflict) {
		t.Errorf("created twice: %v", err)
	}
	if has, err := b.HasEnrollment(ctx, "state_x"); !has || err != nil {
		t.Errorf("it is not there: %v", err)
	}
	var had atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			value, err := b.TakeEnrollment(ctx, "state_x", anything)
			switch {
			case err == nil && string(value) == "sealed":
				had.Add(1)
			case !errors.Is(err, refresh.ErrConflict) && !errors.Is(err, refresh.ErrNotFound):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if had.Load() != 1 {
		t.Errorf("%d had it", had.Load())
	}
	if has, err := b.HasEnrollment(ctx, "state_x"); has || err != nil {
		t.Errorf("it is still there, %v", err)
	}
	if err := b.CreateEnrollment(ctx, "state_x", []byte("again"), time.Minute); !errors.Is(err, refresh.ErrConflict) {
		t.Errorf("one that was taken was made anew: %v", err)
	}
	if _, err := b.TakeEnrollment(ctx, "state_y", anything); !errors.Is(err, refresh.ErrNotFound) {
		t.Errorf("one that never was: %v", err)
	}
}

// TestEnrollmentsAreForgotten in real time: the server ages messages by a clock that no bubble holds.
func TestEnrollmentsAreForgotten(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	for key, ttl := range map[string]time.Duration{"short": time.Millisecond, "long": time.Hour} {
		if err := b.CreateEnrollment(t.Context(), key, []byte("sealed"), ttl); err != nil {
			t.Fatal(err)
		}
	}
	has := true
	for over := time.Now().Add(30 * time.Second); has && time.Now().Before(over); {
		var err error
		if has, err = b.HasEnrollment(t.Context(), "short"); err != nil {
			t.Fatal(err)
		}
	}
	if has {
		t.Error("an entry outlives its lifetime")
	}
	if has, err := b.HasEnrollment(t.Context(), "long"); !has || err != nil {
		t.Errorf("the other one is there: %t, %v", has, err)
	}
}

func TestCheckOfEnrollments(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	if err := b.CheckEnrollments(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.JetStream().DeleteStream(t.Context(), "KV_enrollments"); err != nil {
		t.Fatal(err)
	}
	if err := b.CheckEnrollments(t.Context()); !errors.Is(err, broker.ErrNotSetUp) {
		t.Errorf("without the bucket: %v", err)
	}
	if err := b.Check(t.Context()); err != nil {
		t.Errorf("a worker misses it: %v", err)
	}
}
