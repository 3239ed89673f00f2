package refresh_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

func TestAddressesThatProvidersCanHave(t *testing.T) {
	t.Parallel()
	const host = "login.example.com"
	for _, tt := range []struct {
		address         string
		public, private bool // allowed without and with private_network
	}{
		{"8.8.8.8", true, true}, {"1.1.1.1", true, true}, {"172.15.255.255", true, true}, {"172.32.0.1", true, true},
		{"192.167.255.255", true, true}, {"192.169.0.1", true, true}, {"100.63.255.255", true, true}, {"100.128.0.0", true, true},
		{"169.253.1.1", true, true}, {"169.255.1.1", true, true}, {"223.255.255.255", true, true},
		{"2606:4700::1111", true, true}, {"2a00:1450:4001::1", true, true}, {"64:ff9b::808:808", true, true}, {"2002:808:808::1", true, true},

		{"10.0.0.1", false, true}, {"10.255.255.255", false, true}, {"172.16.0.1", false, true}, {"172.31.255.255", false, true},
		{"192.168.0.1", false, true}, {"192.168.255.255", false, true}, {"100.64.0.1", false, true}, {"100.127.255.255", false, true},
		{"198.18.0.1", false, true}, {"198.19.255.255", false, true}, {"fc00::1", false, true}, {"fd12:3456::1", false, true},
		{"::ffff:10.0.0.1", false, true}, {"64:ff9b::a00:1", false, true}, {"2002:a00:1::1", false, true}, {"2001::1", false, true},

		{"127.0.0.1", false, false}, {"127.255.255.254", false, false}, {"::1", false, false}, {"::ffff:127.0.0.1", false, false},
		{"169.254.169.254", false, false}, {"169.254.0.1", false, false}, {"fe80::1", false, false}, {"fe80::1%eth0", false, false},
		{"::ffff:169.254.169.254", false, false}, {"64:ff9b::a9fe:a9fe", false, false}, {"2002:a9fe:a9fe::1", false, false},
		{"64:ff9b::7f00:1", false, false}, {"fd00:ec2::254", false, false}, {"0.0.0.0", false, false}, {"0.1.2.3", false, false}, {"::", false, false},
		{"::7f00:1", false, false}, {"224.0.0.1", false, false}, {"239.255.255.255", false, false}, {"ff02::1", false, false},
		{"240.0.0.1", false, false}, {"255.255.255.255", false, false}, {"192.0.2.1", false, false}, {"198.51.100.7", false, false},
		{"203.0.113.9", false, false}, {"192.0.0.192", false, false}, {"2001:db8::1", false, false}, {"fec0::1", false, false},

		{"168.63.129.16", false, false}, {"168.63.129.15", true, true}, {"100.100.100.200", false, false}, {"100.100.100.201", false, true},
		{"::ffff:168.63.129.16", false, false}, {"64:ff9b::a83f:8110", false, false}, {"2002:6464:64c8::1", false, false},
		{"fd20:ce::254", false, false}, {"fd20:ce::255", false, true}, {"fd00:c1::a9fe:a9fe", false, false}, {"fd00:42::42", false, false},
	} {
		at := net.JoinHostPort(tt.address, "443")
		if got := refresh.JudgeAddress(host, at, false); (got == "") != tt.public {
			t.Errorf("%s, public only: %q", tt.address, got)
		}
		got := refresh.JudgeAddress(host, at, true)
		if (got == "") != tt.private {
			t.Errorf("%s, private too: %q", tt.address, got)
		}
		if got != "" && !strings.Contains(got, host) {
			t.Errorf("%s: %q does not name the host", tt.address, got)
		}
	}
}

func TestLoopbackIsForNamesOfThisMachine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		host, address string
		allowed       bool
	}{
		{"localhost", "127.0.0.1", true}, {"localhost", "::1", true}, {"127.0.0.1", "127.0.0.1", true}, {"LOCALHOST", "127.0.0.53", true},
		{"localhost", "10.0.0.1", false}, {"localhost", "8.8.8.8", false}, {"localhost.example.com", "127.0.0.1", false}, {"2130706433", "127.0.0.1", false},
	} {
		if got := refresh.JudgeAddress(tt.host, net.JoinHostPort(tt.address, "443"), true); (got == "") != tt.allowed {
			t.Errorf("%s at %s: %q", tt.host, tt.address, got)
		}
	}
}

// nameServer answers every question for an IPv4 address with this one, and every other with nothing.
func nameServer(t *testing.T, address string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			question := buf[12:n]
			end := strings.IndexByte(string(question), 0) + 5 // the name, its type and class
			reply := append([]byte{buf[0], buf[1], 0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0}, question[:end]...)
			if question[end-3] == 1 { // A
				ip := netip.MustParseAddr(address).As4()
				reply[7] = 1
				reply = append(append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4), ip[:]...)
			}
			_, _ = conn.WriteTo(reply, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// TestANameThatLeadsInsideIsRefused: what a name resolves to is looked at when the connection is made, whatever it resolved to
// when the provider was applied.
func TestANameThatLeadsInsideIsRefused(t *testing.T) {
	t.Parallel()
	var stolen atomic.Int32
	srv := exchangeServer(t, func(http.ResponseWriter, *http.Request) { stolen.Add(1) })
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	for name, tt := range map[string]struct {
		address string
		private bool
		want    string
	}{
		"to this machine":              {"127.0.0.1", false, "where no provider can be"},
		"to this machine, though open": {"127.0.0.1", true, "where no provider can be"},
		"to a metadata service":        {"169.254.169.254", true, "where no provider can be"},
		"to a private network":         {"10.1.2.3", false, "set private_network: true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newTestExchange(t, refresh.HTTPExchangeConfig{})
			e.ResolveWith(nameServer(t, tt.address))
			req := exchangeRequest("https://rebind.example.:" + port + "/token")
			req.Provider.PrivateNetwork = tt.private
			o := e.Exchange(t.Context(), req)
			wantOutcome(t, o, refresh.PhaseNotSent, tt.want)
			if o.Local {
				t.Error("it is the name that is wrong, not this machine")
			}
			asker := refresh.NewAsker(nil)
			defer asker.CloseIdle()
			asker.ResolveWith(nameServer(t, tt.address))
			d := *req.Provider
			d.RevokeURL, d.IntrospectURL = req.Provider.TokenURL, req.Provider.TokenURL
			secret := seal.NewSecret("rt-old")
			if err := asker.Revoke(t.Context(), &d, req.ClientSecret, secret); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("revocation: %v", err)
			}
			if _, err := asker.Active(t.Context(), &d, req.ClientSecret, secret); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("introspection: %v", err)
			}
			if _, _, err := asker.Fetch(t.Context(), &d, d.TokenURL); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("metadata: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		if n := stolen.Load(); n != 0 {
			t.Errorf("%d requests arrived", n)
		}
	})
}

func TestFetchIsBoundedAndFollowsNothing(t *testing.T) {
	t.Parallel()
	var followed atomic.Int32
	other := exchangeServer(t, func(http.ResponseWriter, *http.Request) { followed.Add(1) })
	srv := exchangeServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			_, _ = w.Write(make([]byte, refresh.MaxReply+1))
		case "/slow":
			<-r.Context().Done()
		case "/redirect":
			http.Redirect(w, r, other.URL, http.StatusFound)
		default:
			_, _ = w.Write([]byte("{}"))
		}
	})
	asker := refresh.NewAsker(nil)
	t.Cleanup(asker.CloseIdle)
	d := provider.Definition{Limits: provider.Limits{Timeout: provider.Duration(time.Second)}}
	for path, want := range map[string]string{
		"/large": "answer larger than", "/slow": "timed out", "/redirect": "", "/": "",
	} {
		status, _, err := asker.Fetch(t.Context(), &d, srv.URL+path)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: status %d, %v", path, status, err)
		}
		if path == "/redirect" && status != http.StatusFound {
			t.Errorf("redirect: status %d", status)
		}
	}
	if _, _, err := asker.Fetch(t.Context(), &d, "http://login.example.com/"); err == nil || !strings.Contains(err.Error(), "must be https") {
		t.Errorf("plain http: %v", err)
	}
	if n := followed.Load(); n != 0 {
		t.Errorf("%d redirects followed", n)
	}
}
