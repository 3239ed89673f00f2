package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/fleet"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
	"github.com/freshetdev/freshet/pkg/tokens"
)

// The variables that make the test binary a program that uses one credential from many goroutines.
const (
	userKeyset   = "FLEET_TEST_ACCESS_KEYSET"
	userGate     = "FLEET_TEST_GATE"     // answers when all may begin
	userResource = "FLEET_TEST_RESOURCE" // wants the token
)

const (
	userCredential = fleet.Provider + "/user-0"
	userRoutines   = 100
	// userWait is long: a demand within five seconds of a token's issue is put off.
	userWait = time.Minute
)

// A token that the provider has withdrawn is refused to many processes at once, in each to many goroutines. One of them gets
// it renewed for all, and every request is answered well.
func TestAWithdrawnTokenIsRenewedOnceForAll(t *testing.T) {
	t.Parallel()
	ctx := within(t, 2*time.Minute)
	f := start(ctx, t, fleet.Config{
		Auth:   authserver.Config{Rotation: authserver.RotationStrict, AccessLifetime: time.Hour},
		Limits: provider.Limits{Timeout: provider.Duration(10 * time.Second)},
	})
	must(t, f.Enrol(ctx, 1))
	w := worker(ctx, t, f, "worker-1")
	arrived, gate, open := newGate(t)
	for i := range userProcesses {
		_, err := f.Launch(f.NATS.As(fleet.RoleReader, fleet.Command{Name: fmt.Sprint("user-", i), Path: os.Args[0], Env: []string{
			userKeyset + "=" + f.Keysets.Access, userGate + "=" + gate, userResource + "=" + f.AuthURL + "/resource",
		}}))
		must(t, err)
	}
	for range userProcesses {
		select {
		case <-arrived:
		case <-ctx.Done():
			t.Fatal("not every process has its token")
		}
	}
	withdraw(ctx, t, f)
	open()
	for _, p := range f.Processes() {
		if p == w {
			continue
		}
		if code, err := p.Wait(ctx); err != nil || code != 0 {
			t.Errorf("%s: exit code %d, %v:\n%s", p.Name, code, err, p.Log.Tail(3))
		}
	}
	stop(ctx, t, w, workerStopped)
	v := judge(ctx, t, f)
	wantEqual(t, "refreshes", v.Ledger.Refreshes, 1)
	wantEqual(t, "token requests", v.Ledger.Requests["token"], 1)
	wantEqual(t, "versions", v.Versions, 2)
	// Each request is refused once and repeated once, but for those that began when the newer token was there.
	requests := v.Ledger.Requests["resource"]
	if least := int64(userProcesses * userRoutines); requests <= least || requests > 2*least {
		t.Errorf("%d requests at the resource, want more than %d and at most twice as many", requests, least)
	}
}

// newGate is a place to wait. Who comes is told on arrived.
func newGate(t *testing.T) (arrived <-chan struct{}, gate string, open func()) {
	ch, opened := make(chan struct{}, userProcesses), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ch <- struct{}{}
		select {
		case <-opened:
		case <-r.Context().Done():
		}
	}))
	open = sync.OnceFunc(func() { close(opened) })
	t.Cleanup(func() {
		open()
		srv.Close()
	})
	return ch, srv.URL, open
}

// withdraw ends the credential's access token at the authorization server (RFC 7009). The grant lives on.
func withdraw(ctx context.Context, t *testing.T, f *fleet.Fleet) {
	t.Helper()
	nc, err := f.NATS.Connect(fleet.RoleReader)
	must(t, err)
	defer nc.Close()
	_, access, err := f.Keysets.Load()
	must(t, err)
	c, err := tokens.Open(ctx, nc, tokens.Config{AccessKeyset: access})
	must(t, err)
	defer c.Close()
	token, err := c.Token(ctx, userCredential)
	must(t, err)
	form := url.Values{"token": {token.AccessToken.Reveal()}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.AuthURL+"/revoke", strings.NewReader(form))
	must(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("dev", "dev-secret")
	h := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := h.Do(req)
	must(t, err)
	resp.Body.Close()
	wantEqual(t, "status of the revocation", resp.StatusCode, http.StatusOK)
}

// useToken is the program: it takes the token, waits at the gate, and uses the token from all goroutines at once.
func useToken() int {
	if err := useTokens(context.Background()); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func useTokens(ctx context.Context) error {
	data, err := os.ReadFile(os.Getenv(userKeyset))
	if err != nil {
		return err
	}
	keyset, err := seal.LoadKeyset(data)
	if err != nil {
		return err
	}
	nc, err := nats.Connect(os.Getenv("NATS_URL"), nats.UserInfo(os.Getenv("NATS_USER"), os.Getenv("NATS_PASSWORD")),
		nats.CustomInboxPrefix(os.Args[len(os.Args)-1]), nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	c, err := tokens.Open(ctx, nc, tokens.Config{
		AccessKeyset: keyset, Wait: userWait, OnError: func(err error) { fmt.Println(err) },
	})
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Token(ctx, userCredential); err != nil {
		return err
	}
	base := &http.Transport{MaxConnsPerHost: 4} // a hundred processes share one machine
	if resp, err := (&http.Client{Transport: base}).Get(os.Getenv(userGate)); err != nil {
		return err
	} else {
		resp.Body.Close()
	}
	return useAtOnce(&http.Client{Transport: c.Transport(userCredential, base)})
}

// useAtOnce sends a request from each goroutine and wants each answered well.
func useAtOnce(h *http.Client) error {
	var wg sync.WaitGroup
	var bad atomic.Int64
	for range userRoutines {
		wg.Go(func() {
			resp, err := h.Get(os.Getenv(userResource))
			if err != nil {
				fmt.Println(err)
				bad.Add(1)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				bad.Add(1)
			}
		})
	}
	wg.Wait()
	if n := bad.Load(); n > 0 {
		return errors.New(fmt.Sprint(n, " requests were not answered well"))
	}
	return nil
}
