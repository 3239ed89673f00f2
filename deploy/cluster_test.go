package deploy_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/freshetdev/freshet/internal/broker"
)

const (
	clusterFile  = "nats/cluster.conf"
	nodeVariable = "FRESHET_NATS_NODE"
	routeFiles   = "/etc/nats/route"
)

// authority signs certificates for routes.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	a := authority{}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "routes"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

// issue writes what a node has below /etc/nats/route.
func (a authority) issue(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"ca.crt": {Type: "CERTIFICATE", Bytes: a.cert.Raw}, "tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// clusterOptions reads the file as nats-server -c does, with the certificates that are here and no routes yet. The name of a node
// comes from the environment, which all tests here share, so it is written into the file's copy instead.
func clusterOptions(t *testing.T, node, certificates string) *server.Options {
	t.Helper()
	dir := t.TempDir()
	for _, file := range []string{confFile, clusterFile} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer("$"+nodeVariable, node, routeFiles, certificates).Replace(string(data))
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	nothing := func() {}
	opts, err := server.ConfigureOptions(flag.NewFlagSet("nats-server", flag.ContinueOnError),
		[]string{"-c", filepath.Join(dir, filepath.Base(clusterFile)), "-a", "127.0.0.1", "-p", "-1", "-sd", t.TempDir()}, nothing, nothing, nothing)
	if err != nil {
		t.Fatal(err)
	}
	opts.NoSigs, opts.NoLog = true, true
	opts.Cluster.Host, opts.Cluster.Port = "127.0.0.1", server.RANDOM_PORT
	opts.Routes = nil
	return opts
}

// startNode starts a node that calls those that run.
func startNode(t *testing.T, opts *server.Options, others ...*server.Server) *server.Server {
	t.Helper()
	var routes []string
	for _, o := range others {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", o.ClusterAddr().Port))
	}
	opts.Routes = server.RoutesFromStr(strings.Join(routes, ","))
	return start(t, opts)
}

// until asks again and again until it is so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick, end := time.NewTicker(50*time.Millisecond), time.After(patience)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestClusterConfigurationIsThatOfOneNodeAndRoutes(t *testing.T) {
	t.Parallel()
	opts := clusterOptions(t, "nats-1", newAuthority(t).issue(t))
	if opts.ServerName != "nats-1" || !opts.JetStream || !opts.SyncAlways || opts.Cluster.Name != "freshet" {
		t.Errorf("name %q, JetStream %v, sync always %v, cluster %q", opts.ServerName, opts.JetStream, opts.SyncAlways, opts.Cluster.Name)
	}
	if tls := opts.Cluster.TLSConfig; tls == nil || tls.ClientCAs == nil {
		t.Error("routes show no certificates")
	}
	var users []string
	for _, u := range opts.Users {
		users = append(users, u.Username)
	}
	slices.Sort(users)
	if want := roles(); !slices.Equal(users, slices.Sorted(slices.Values(want))) {
		t.Errorf("users %v, want %v", users, want)
	}
}

// Three nodes find each other, setup puts everything on all of them, and one may go.
func TestThreeNodesAreSetUpAndOneMayGo(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	var nodes []*server.Server
	for i := range 3 {
		nodes = append(nodes, startNode(t, clusterOptions(t, fmt.Sprintf("nats-%d", i), ca.issue(t)), nodes...))
	}
	until(t, "a leader", func() bool {
		return slices.ContainsFunc(nodes, func(s *server.Server) bool { return s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == 3 })
	})
	w := &world{t: t, server: nodes[0]}
	b := w.broker("operator")
	until(t, "set-up on three nodes", func() bool {
		changes, err := b.Setup(t.Context(), broker.SetupConfig{Replicas: 3})
		return err == nil && len(changes) > 0
	})
	nodes[2].Shutdown()
	until(t, "a write on two of three", func() bool {
		changes, err := b.Setup(t.Context(), broker.SetupConfig{Replicas: 3})
		return err == nil && !slices.ContainsFunc(changes, func(c broker.Change) bool { return c.Action != broker.ActionOK })
	})
}

// A route is taken from who shows a certificate of the authority, and from nobody else.
func TestARouteFromAStrangerIsRefused(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	node := startNode(t, clusterOptions(t, "nats-0", ca.issue(t)))
	if line, err := knock(t, node, ca.issue(t)); err != nil || !strings.HasPrefix(line, "INFO ") {
		t.Errorf("one of us hears %q, %v", line, err)
	}
	line, err := knock(t, node, newAuthority(t).issue(t))
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a stranger hears %q, %v: want its certificate refused", line, err)
	}
}

// knock begins a route with a certificate and returns what the node says to it.
func knock(t *testing.T, node *server.Server, certificates string) (string, error) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", node.ClusterAddr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cert, err := tls.LoadX509KeyPair(filepath.Join(certificates, "tls.crt"), filepath.Join(certificates, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	secure := tls.Client(conn, &tls.Config{Certificates: []tls.Certificate{cert}, InsecureSkipVerify: true}) // the node's word does not matter here
	if err := secure.HandshakeContext(t.Context()); err != nil {
		return "", err
	}
	return bufio.NewReader(secure).ReadString('\n')
}
