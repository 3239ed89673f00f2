package enroll_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// deviceTest is a device login in virtual time.
type deviceTest struct {
	server *authserver.Server
	asked  []time.Time // when the token endpoint was asked
	cfg    enroll.DeviceConfig
	// before is asked before the token endpoint answers the n-th question, from 1; true: it has answered in its place.
	before func(n int, w http.ResponseWriter) bool
}

// ServeHTTP is the provider.
func (d *deviceTest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		d.asked = append(d.asked, time.Now())
		if d.before != nil && d.before(len(d.asked), w) {
			return
		}
	}
	d.server.ServeHTTP(w, r)
}

// inBubble runs a test with a provider of its own in virtual time.
func inBubble(t *testing.T, cfg authserver.Config, test func(t *testing.T, d *deviceTest)) {
	synctest.Test(t, func(t *testing.T) {
		d := &deviceTest{server: authserver.New(cfg)}
		pipe := authserver.NewPipe()
		srv := &http.Server{Handler: d}
		served := make(chan struct{})
		go func() { defer close(served); _ = srv.Serve(pipe) }()
		exchange := refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{Dial: pipe.Dial})
		defer func() { exchange.CloseIdle(); _ = srv.Close(); <-served }()
		def := provider.Definition{
			Name: "acme", DeviceURL: "http://127.0.0.1/device_authorization", TokenURL: "http://127.0.0.1/token", ClientID: "dev",
			ClientSecrets: []seal.Secret{seal.NewSecret("old-secret"), seal.NewSecret("dev-secret")}, AuthStyle: provider.AuthBasic,
		}.WithDefaults()
		d.cfg = enroll.DeviceConfig{Definition: &def, Credential: alice, Exchange: exchange, Show: func(enroll.DeviceCode) error { return nil }}
		test(t, d)
	})
}

// gaps are the waits between the questions, in seconds.
func (d *deviceTest) gaps() (gaps []int) {
	for i := 1; i < len(d.asked); i++ {
		gaps = append(gaps, int(d.asked[i].Sub(d.asked[i-1]).Round(time.Second)/time.Second))
	}
	return gaps
}

func TestDeviceLogin(t *testing.T) {
	t.Parallel()
	inBubble(t, authserver.Config{Claims: func(string) map[string]any { return nil }}, func(t *testing.T, d *deviceTest) {
		d.cfg.Credential = events.Credential{Provider: "acme"}
		var shown enroll.DeviceCode
		d.cfg.Show = func(c enroll.DeviceCode) error { shown = c; return nil }
		var saved enroll.NewGrant
		d.cfg.Save = func(_ context.Context, g enroll.NewGrant) error { saved = g; return nil }
		d.before = func(n int, _ http.ResponseWriter) bool {
			if n == 3 && !d.server.ApproveDevice(shown.UserCode, "alice") {
				t.Error("the code that was shown is not known")
			}
			return false
		}
		if _, err := enroll.DeviceLogin(t.Context(), d.cfg); err != nil {
			t.Fatal(err)
		}
		if shown.URL != "http://127.0.0.1/device" || shown.CompleteURL != shown.URL+"?user_code="+shown.UserCode || shown.Lifetime != 10*time.Minute {
			t.Errorf("shown %+v", shown)
		}
		if saved.RefreshToken.IsZero() || saved.Account != "alice" {
			t.Errorf("saved for %q", saved.Account)
		}
		for _, gap := range d.gaps() {
			if gap != 5 {
				t.Errorf("it asked after %d s", gap)
			}
		}
	})
}

func TestDeviceAnswersWithTextsForNumbers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		members string
		want    time.Duration
	}{
		"numbers": {`"expires_in":60,"interval":1`, time.Minute},
		"texts":   {`"expires_in":"60","interval":"1"`, time.Minute},
		"neither": {`"expires_in":{},"interval":"soon"`, 30 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := providerAt(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = w.Write([]byte(`{"device_code":"d","user_code":"U","verification_uri":"https://acme.test/device",` + tt.members + `}`))
			}))
			d.DeviceURL = d.Issuer + "/device"
			enough := errors.New("enough")
			var shown enroll.DeviceCode
			_, err := enroll.DeviceLogin(t.Context(), enroll.DeviceConfig{Definition: d, Credential: alice, Show: func(c enroll.DeviceCode) error {
				shown = c
				return enough
			}})
			wantErr(t, err, enough)
			if shown.Lifetime != tt.want {
				t.Errorf("good for %s, want %s", shown.Lifetime, tt.want)
			}
		})
	}
}

func TestDeviceLoginAsksAsOftenAsItMay(t *testing.T) {
	t.Parallel()
	inBubble(t, authserver.Config{DeviceInterval: 2 * time.Second}, func(t *testing.T, d *deviceTest) {
		var code string
		d.cfg.Show = func(c enroll.DeviceCode) error { code = c.UserCode; return nil }
		d.before = func(n int, w http.ResponseWriter) bool {
			switch n {
			case 2:
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write([]byte(`{"error":"slow_down"}`))
			case 4, 5:
				panic(http.ErrAbortHandler) // the connection ends
			case 6:
				w.WriteHeader(http.StatusBadGateway)
			case 8:
				d.server.ApproveDevice(code, "alice")
				return false
			default:
				return false
			}
			return true
		}
		if _, err := enroll.DeviceLogin(t.Context(), d.cfg); err != nil {
			t.Fatal(err)
		}
		// slow_down adds five seconds for good; each fault doubles the wait, and an answer ends that.
		want := []int{2, 7, 7, 14, 28, 56, 7}
		got := d.gaps()
		if len(got) != len(want) {
			t.Fatalf("waited %v, want %v", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("waited %v, want %v", got, want)
			}
		}
	})
}

func TestDeviceLoginEnds(t *testing.T) {
	t.Parallel()
	t.Run("when the person declines", func(t *testing.T) {
		t.Parallel()
		inBubble(t, authserver.Config{}, func(t *testing.T, d *deviceTest) {
			d.cfg.Show = func(c enroll.DeviceCode) error { d.server.DenyDevice(c.UserCode); return nil }
			_, err := enroll.DeviceLogin(t.Context(), d.cfg)
			wantErr(t, err, enroll.ErrDeclined)
		})
	})
	t.Run("when the code has expired", func(t *testing.T) {
		t.Parallel()
		inBubble(t, authserver.Config{DeviceLifetime: time.Minute}, func(t *testing.T, d *deviceTest) {
			begun := time.Now()
			_, err := enroll.DeviceLogin(t.Context(), d.cfg)
			wantErr(t, err, enroll.ErrCodeExpired)
			if took := time.Since(begun).Round(time.Second); took != time.Minute {
				t.Errorf("it waited for %s", took)
			}
		})
	})
	t.Run("when the provider says that it has expired", func(t *testing.T) {
		t.Parallel()
		inBubble(t, authserver.Config{}, func(t *testing.T, d *deviceTest) {
			d.before = func(_ int, w http.ResponseWriter) bool {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write([]byte(`{"error":"expired_token"}`))
				return true
			}
			_, err := enroll.DeviceLogin(t.Context(), d.cfg)
			wantErr(t, err, enroll.ErrCodeExpired)
		})
	})
	t.Run("with its context", func(t *testing.T) {
		t.Parallel()
		inBubble(t, authserver.Config{}, func(t *testing.T, d *deviceTest) {
			ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
			defer cancel()
			_, err := enroll.DeviceLogin(ctx, d.cfg)
			wantErr(t, err, context.DeadlineExceeded)
		})
	})
	t.Run("at a refusal", func(t *testing.T) {
		t.Parallel()
		inBubble(t, authserver.Config{}, func(t *testing.T, d *deviceTest) {
			d.cfg.Definition.ClientSecrets = nil
			_, err := enroll.DeviceLogin(t.Context(), d.cfg)
			if refused := exchangeError(t, err); refused.Code != "invalid_client" {
				t.Errorf("error = %v", err)
			}
		})
	})
	t.Run("without a device endpoint", func(t *testing.T) {
		t.Parallel()
		_, err := enroll.DeviceLogin(t.Context(), enroll.DeviceConfig{Definition: acme(), Credential: alice})
		if err == nil {
			t.Error("no error")
		}
	})
}

func exchangeError(t *testing.T, err error) *enroll.ExchangeError {
	t.Helper()
	var refused *enroll.ExchangeError
	if !errors.As(err, &refused) {
		t.Fatalf("error = %v", err)
	}
	return refused
}

func TestACodeIsEnteredOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, authserver.Config{}, func(t *testing.T, d *deviceTest) {
		d.cfg.Show = func(c enroll.DeviceCode) error {
			if d.server.ApproveDevice("BBBB-BBBB", "alice") {
				t.Error("a code that nobody drew was taken")
			}
			d.server.ApproveDevice(c.UserCode, "alice")
			if d.server.DenyDevice(c.UserCode) {
				t.Error("one who has agreed could decline")
			}
			return nil
		}
		if _, err := enroll.DeviceLogin(t.Context(), d.cfg); err != nil {
			t.Fatal(err)
		}
		if _, err := enroll.DeviceLogin(t.Context(), d.cfg); err != nil {
			t.Fatal(err)
		}
	})
}
