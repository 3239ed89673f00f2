package refresh_test

import (
	"io"
	"log"
	"net/http"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/refresh"
)

func quietLog() *log.Logger { return log.New(io.Discard, "", 0) }

func BenchmarkExchange(b *testing.B) {
	srv := exchangeServer(b, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, goodReply)
	})
	e := newTestExchange(b, refresh.HTTPExchangeConfig{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		req := exchangeRequest(srv.URL)
		for pb.Next() {
			req.Deadline = time.Now().Add(time.Minute)
			if o := e.Exchange(b.Context(), req); o.Phase != refresh.PhaseAnswered {
				b.Errorf("phase %s: %s", o.Phase, o.Err)
			}
		}
	})
}

func BenchmarkParseReply(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := refresh.ParseReply("application/json", []byte(goodReply)); err != nil {
			b.Fatal(err)
		}
	}
}
