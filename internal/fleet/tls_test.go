package fleet_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/certtest"
	"github.com/freshetdev/freshet/internal/fleet"
	"github.com/freshetdev/freshet/pkg/tokens"
)

// mutual writes the configuration that people are given for TLS, with certificates that are here, and returns what clients need.
func mutual(t *testing.T) (configFile string, a *certtest.Authority, client fleet.TLSFiles) {
	t.Helper()
	dir := t.TempDir()
	a, err1 := certtest.New(t.TempDir())
	must(t, err1)
	serverCert, serverKey, err1 := a.Sign("server")
	clientCert, clientKey, err2 := a.Sign("client")
	must(t, errors.Join(err1, err2))
	text, err1 := os.ReadFile(filepath.Join(filepath.Dir(natsConfig), "tls.conf"))
	plain, err2 := os.ReadFile(natsConfig)
	must(t, errors.Join(err1, err2))
	const at = "/etc/nats/client/"
	text = []byte(strings.NewReplacer(at+"tls.crt", serverCert, at+"tls.key", serverKey, at+"ca.crt", a.File).Replace(string(text)))
	configFile = filepath.Join(dir, "tls.conf")
	must(t, errors.Join(os.WriteFile(configFile, text, 0o600), os.WriteFile(filepath.Join(dir, filepath.Base(natsConfig)), plain, 0o600)))
	return configFile, a, fleet.TLSFiles{CA: a.File, Cert: clientCert, Key: clientKey}
}

// Every process works over TLS where the server asks for client certificates, and says what to do where it has none.
func TestEverythingWorksOverMutualTLS(t *testing.T) {
	t.Parallel()
	ctx := within(t, 60*time.Second)
	cfg := strict(12*time.Second, 10*time.Second)
	var a *certtest.Authority
	cfg.NATSConfig, a, cfg.NATSTLS = mutual(t)
	f := start(ctx, t, cfg)
	must(t, f.Enrol(ctx, 3))
	w, s := worker(ctx, t, f, "worker-1"), scheduler(ctx, t, f, "scheduler-1")
	must(t, f.AwaitRenewals(ctx, 1))

	keys := []string{"FRESHET_GRANT_KEYSET_FILE=" + f.Keysets.Grant, "FRESHET_ACCESS_KEYSET_FILE=" + f.Keysets.Access}
	as := func(role string, args ...string) fleet.Command {
		c := f.NATS.As(role, fleet.Command{Name: "freshet " + args[0], Path: programs.Freshet, Args: args})
		c.Env = append(c.Env, keys...)
		return c
	}
	web, err := f.Launch(as(fleet.RoleEnroller, "web", "--listen", "127.0.0.1:0", "--public-url", "http://127.0.0.1", "--admin-listen", "127.0.0.1:0"))
	must(t, err)
	must(t, web.Await(ctx, "web started", 1))
	file := filepath.Join(t.TempDir(), "token")
	agent, err := f.Launch(as(fleet.RoleReader, "agent", "--file", file+"="+fleet.Provider+"/user-0"))
	must(t, err)
	must(t, agent.Await(ctx, "the file has a new token", 1))
	for _, args := range [][]string{{"ls"}, {"providers", "ls"}, {"show", fleet.Provider + "/user-0"}, {"doctor", "--offline"}} {
		out, err := as(fleet.RoleOperator, args...).Run(ctx)
		must(t, err)
		if out.Code != 0 || args[0] == "doctor" && !strings.Contains(out.Stdout, "is encrypted") {
			t.Errorf("freshet %v: %d %s%s", args, out.Code, out.Stdout, out.Stderr)
		}
	}
	nc, err := f.NATS.Connect(fleet.RoleReader)
	must(t, err)
	defer nc.Close()
	_, access, err := f.Keysets.Load()
	must(t, err)
	reader, err := tokens.Open(ctx, nc, tokens.Config{AccessKeyset: access})
	must(t, err)
	defer reader.Close()
	if _, err := reader.Token(ctx, fleet.Provider+"/user-0"); err != nil {
		t.Errorf("pkg/tokens: %v", err)
	}
	certs := wrong(t, a)
	for name, tt := range map[string]struct {
		client fleet.TLSFiles
		advice string
	}{
		"another authority":       {fleet.TLSFiles{CA: certs.CA, Cert: cfg.NATSTLS.Cert, Key: cfg.NATSTLS.Key}, "--tlsca"},
		"an old certificate":      {fleet.TLSFiles{CA: a.File, Cert: certs.Cert, Key: certs.Key}, "--tlscert"},
		"no certificate":          {fleet.TLSFiles{CA: a.File}, "--tlscert"},
		"nothing of the kind set": {fleet.TLSFiles{}, "--tlsca"},
	} {
		env := []string{"NATS_CA=" + tt.client.CA, "NATS_CERT=" + tt.client.Cert, "NATS_KEY=" + tt.client.Key}
		command := as(fleet.RoleOperator, "ls")
		command.Env = append(command.Env, env...)
		out, err := command.Run(ctx)
		must(t, err)
		if out.Code == 0 || !strings.Contains(out.Stderr, tt.advice) {
			t.Errorf("%s: freshet ls: %d %s", name, out.Code, out.Stderr)
		}
		stays := f.WorkerCommand("worker-" + strings.ReplaceAll(name, " ", "-"))
		stays.Env = append(stays.Env, env...)
		p, err := f.Launch(stays)
		must(t, err)
		must(t, p.Await(ctx, tt.advice, 1))
		must(t, p.Kill())
	}
	for p, last := range map[*fleet.Process]string{w: workerStopped, s: schedulerStopped} {
		stop(ctx, t, p, last)
	}
}

// wrong is what a client should not have: another authority, and a certificate that has ended.
func wrong(t *testing.T, a *certtest.Authority) fleet.TLSFiles {
	t.Helper()
	stranger, err1 := certtest.New(t.TempDir())
	must(t, err1)
	cert, key, err2 := a.SignUntil("old", time.Now().Add(-time.Hour))
	must(t, err2)
	return fleet.TLSFiles{CA: stranger.File, Cert: cert, Key: key}
}
