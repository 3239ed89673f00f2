package authserver_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"

	"github.com/freshetdev/freshet/internal/authserver"
)

// A client loses an answer and tries again: the strict server takes that for
// theft.
func Example() {
	s := authserver.New(authserver.Config{Rotation: authserver.RotationStrict})
	srv := httptest.NewServer(s)
	defer srv.Close()
	tokens, err := s.Issue("alice", "dev")
	if err != nil {
		panic(err)
	}
	fault, err := authserver.ParseFault("after status status=502 count=1")
	if err != nil {
		panic(err)
	}
	if err := s.SetFaults([]authserver.Fault{fault}); err != nil {
		panic(err)
	}
	for range 2 {
		resp, err := http.PostForm(srv.URL+"/token", url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {tokens.RefreshToken},
			"client_id": {"dev"}, "client_secret": {"dev-secret"},
		})
		if err != nil {
			panic(err)
		}
		resp.Body.Close()
		fmt.Println(resp.Status)
	}
	l := s.Ledger()
	fmt.Println("rotations", l.Rotations, "damaged", l.Damaged, "replayed", l.Replayed, "revoked", l.Revoked)
	fmt.Println(s.Lost(map[string]string{"alice": tokens.RefreshToken}))
	// Output:
	// 502 Bad Gateway
	// 400 Bad Request
	// rotations 1 damaged 1 replayed 1 revoked 1
	// [{alice reuse}]
}
