package exchanger_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/exchanger"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// BenchmarkExchange compares a request made in this process with the same through an exchanger, acknowledgement included.
// The provider answers at once, so this is the overhead alone.
func BenchmarkExchange(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"access_token":"at-new","token_type":"Bearer","expires_in":3600,"refresh_token":"rt-new"}`)
	}))
	defer srv.Close()
	run := func(b *testing.B, e refresh.Exchanger, after func(id string)) {
		b.ReportAllocs()
		before := cpuTime(b)
		defer func() { b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op") }()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				id := refresh.NewAttemptID()
				r := newRequest(srv.URL, id, "rt-old")
				r.Deadline = time.Now().Add(time.Minute)
				if o := e.Exchange(b.Context(), r); o.Phase != refresh.PhaseAnswered {
					b.Errorf("phase %s: %s", o.Phase, o.Err)
				}
				after(id)
			}
		})
	}
	b.Run("in-process", func(b *testing.B) {
		e := refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{})
		defer e.CloseIdle()
		run(b, e, func(string) {})
	})
	b.Run("exchanger", func(b *testing.B) {
		w := newWorld(b)
		_, stop := w.serve(w.config())
		defer stop()
		c := exchanger.NewClient(exchanger.ClientConfig{Socket: w.socket, Keys: w.keys})
		defer c.Close()
		run(b, c, c.Acknowledge)
	})
}

// cpuTime is what this process has used so far; unlike the wall clock it does not depend on what else the machine does.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
