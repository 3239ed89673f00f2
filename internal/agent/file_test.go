package agent_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/agent"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
	"github.com/freshetdev/freshet/pkg/tokens"
)

func token(access string) tokens.Token {
	return tokens.Token{
		Credential: events.Credential{Provider: "acme", Account: "team/alice"}, AccessToken: seal.NewSecret(access), TokenType: "Bearer",
		ExpiresAt: time.Date(2026, time.March, 4, 12, 0, 0, 0, time.UTC), Scopes: []string{"read", "write"},
		Generation: 1, Version: 7, Meta: []byte(`{"instance_url":"https://eu.example.com"}`),
	}
}

func TestWhatCommandsDoNotInherit(t *testing.T) {
	t.Parallel()
	got := agent.Inherited([]string{
		"PATH=/bin", "FRESHET_GRANT_KEYSET={}", "FRESHET_ACCESS_KEYSET={}", "NATS_PASSWORD=p", "NATS_URL=nats://u:p@localhost",
		"FRESHET_ACCESS_KEYSET_FILE=/keys/access", "EMPTY=",
	})
	got = append(got, agent.Inherited([]string{"NATS_URL=nats://localhost"})...)
	want := []string{"PATH=/bin", "FRESHET_ACCESS_KEYSET_FILE=/keys/access", "EMPTY=", "NATS_URL=nats://localhost"}
	if !slices.Equal(got, want) {
		t.Errorf("commands inherit %q, want %q", got, want)
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file agent.File
		want string
	}{
		"raw by default": {agent.File{}, "abc.def"},
		"netrc":          {agent.File{Format: agent.FormatNetrc, Machine: "api.example.com"}, "machine api.example.com login oauth2 password abc.def\n"},
		"netrc, login":   {agent.File{Format: agent.FormatNetrc, Machine: "m", Login: "x-access-token"}, "machine m login x-access-token password abc.def\n"},
		"dotenv":         {agent.File{Format: agent.FormatDotenv}, "ACCESS_TOKEN='abc.def'\n"},
		"dotenv, name":   {agent.File{Format: agent.FormatDotenv, Name: "ACME"}, "ACME='abc.def'\n"},
		"template": {
			agent.File{Format: agent.FormatTemplate, Template: "{{.Provider}} {{.Account}} {{.AccessToken}} {{.Scope}} {{.Meta.instance_url}} {{.ExpiresAt.Unix}}"},
			"acme team/alice abc.def read write https://eu.example.com 1772625600",
		},
		"json": {agent.File{Format: agent.FormatJSON}, `{
  "credential": "acme/team/alice",
  "access_token": "abc.def",
  "token_type": "Bearer",
  "expires_at": "2026-03-04T12:00:00Z",
  "scope": "read write",
  "generation": 1,
  "version": 7,
  "meta": {
    "instance_url": "https://eu.example.com"
  }
}
`},
	} {
		got, err := c.file.Render(token("abc.def"))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
		}
	}
}

func TestATokenThatAFormatCannotCarryIsRefusedAndNotShown(t *testing.T) {
	t.Parallel()
	for _, f := range []agent.File{
		{Format: agent.FormatNetrc, Machine: "m"}, {Format: agent.FormatDotenv},
		{Format: agent.FormatTemplate, Template: "{{.Meta.nosuch}}"},
		{Format: agent.FormatTemplate, Template: "{{index .AccessToken 1000}}"},
	} {
		_, err := f.Render(token("it's canary\n"))
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", f.Format, err)
		}
	}
}

func TestAFileFollowsItsCredential(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	path := filepath.Join(t.TempDir(), "token")
	has := func(want string) func() bool {
		return func() bool { got, err := os.ReadFile(path); return err == nil && string(got) == want }
	}
	s.run(agent.Config{Files: []agent.File{{Credential: "acme/alice", Path: path}}})
	await(t, "the first token", has(s.put("alice", 1, refresh.StateActive)))
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v, want 0600", info.Mode(), err)
	}
	second := s.put("alice", 2, refresh.StateActive)
	await(t, "the second token", has(second))
	if names, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(names) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

func TestAFileIsWrittenOnlyWhenItChanges(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	access := s.put("alice", 1, refresh.StateActive)
	dir := t.TempDir()
	path, log := filepath.Join(dir, "token"), filepath.Join(dir, "log")
	if err := os.WriteFile(path, []byte(access), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	cfg := agent.Config{Files: []agent.File{
		{Credential: "acme/alice", Path: path, Shell: "echo again >>" + log},
		{Credential: "acme/alice", Path: filepath.Join(dir, "other"), Shell: "echo other >>" + log},
	}}
	_, stop := s.run(cfg)
	await(t, "the other file", func() bool { got, _ := os.ReadFile(log); return string(got) == "other\n" })
	s.put("alice", 2, refresh.StateActive)
	await(t, "the change", func() bool { got, _ := os.ReadFile(log); return strings.Count(string(got), "\n") == 3 })
	stop()
	if got, _ := os.ReadFile(log); strings.Count(string(got), "again") != 1 {
		t.Errorf("followed by %q, want one for the change", got)
	}
	after, err := os.Stat(path)
	if err != nil || os.SameFile(before, after) {
		t.Errorf("the file was not replaced: %v", err)
	}
}

func TestAnAgentCatchesUpWithWhatShouldHaveFollowed(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.put("alice", 1, refresh.StateActive)
	dir := t.TempDir()
	log, done := filepath.Join(dir, "log"), filepath.Join(dir, "go")
	followed := func(n int) func() bool {
		return func() bool { got, _ := os.ReadFile(log); return strings.Count(string(got), "\n") >= n }
	}
	settled := func() bool {
		names, err := filepath.Glob(filepath.Join(dir, ".*"))
		return len(names) == 0 && err == nil
	}
	cfg := agent.Config{Files: []agent.File{{
		Credential: "acme/alice", Path: filepath.Join(dir, "token"), Shell: "echo >>" + log + "; [ -e " + done + " ] || exec sleep 600",
	}}}
	_, stop := s.run(cfg)
	await(t, "the command", followed(1))
	stop() // in the middle of it
	if err := os.WriteFile(done, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, stop = s.run(cfg)
	await(t, "the command again", followed(2))
	await(t, "its end", settled)
	stop()
	_, stop = s.run(cfg) // nothing is left to do
	s.put("alice", 2, refresh.StateActive)
	await(t, "the next change", followed(3))
	await(t, "its end", settled)
	stop()
	if got, _ := os.ReadFile(log); len(got) != 3 {
		t.Errorf("the command ran %d times, want 3", len(got))
	}
}

// TestAnAgentFollowsNoLinkBesideItsFile: whoever else may write into the directory lays a link to a file of ours.
func TestAnAgentFollowsNoLinkBesideItsFile(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.put("alice", 1, refresh.StateActive)
	dir := t.TempDir()
	ours, path := filepath.Join(dir, "ours"), filepath.Join(dir, "token")
	for _, target := range []string{ours, filepath.Join(dir, "new")} {
		link := filepath.Join(dir, ".freshet-token.due")
		if err := errors.Join(os.WriteFile(ours, []byte("kept"), 0o600), os.Symlink(target, link)); err != nil {
			t.Fatal(err)
		}
		done := filepath.Join(dir, "done")
		_, stop := s.run(agent.Config{Files: []agent.File{{Credential: "acme/alice", Path: path, Shell: "echo >" + done}}})
		await(t, "the command", func() bool { _, err := os.Stat(done); return err == nil })
		await(t, "its end", func() bool { _, err := os.Lstat(link); return errors.Is(err, fs.ErrNotExist) })
		stop()
		if got, err := os.ReadFile(ours); err != nil || string(got) != "kept" {
			t.Errorf("the link was followed: %q, %v", got, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
			t.Error("a file was made where the link leads")
		}
		if err := errors.Join(os.Remove(done), os.Remove(path)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnAgentRemovesWhatAKilledOneLeft(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := t.TempDir()
	old, young := filepath.Join(dir, ".freshet-token.1.tmp"), filepath.Join(dir, ".freshet-token.2.tmp")
	for _, path := range []string{old, young} {
		if err := os.WriteFile(path, []byte("a token"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	s.run(agent.Config{Files: []agent.File{{Credential: "acme/alice", Path: filepath.Join(dir, "token")}}})
	if _, err := os.Stat(old); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("one that another agent may be writing is gone: %v", err)
	}
}

func TestAFileThatCannotBeWrittenIsTriedAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	access := s.put("alice", 1, refresh.StateActive)
	dir := filepath.Join(t.TempDir(), "later")
	path := filepath.Join(dir, "token")
	var log lockedBuffer
	a, err := agent.Open(t.Context(), agent.Config{Files: []agent.File{{Credential: "acme/alice", Path: path}}}, s.client, zerolog.New(&log), nil)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { over <- a.Run(ctx) }()
	await(t, "the complaint", func() bool { return strings.Contains(log.String(), "the file is not written") })
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	await(t, "the token", func() bool { got, _ := os.ReadFile(path); return string(got) == access })
	cancel()
	if err := <-over; err != nil {
		t.Error(err)
	}
}

func TestWhatFollowsAChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := agent.File{Credential: "acme/alice", Path: filepath.Join(dir, "token")}
	secret := seal.NewSecret("canary-token")
	run := func(change func(*agent.File)) (string, error) {
		f := file
		change(&f)
		var log bytes.Buffer
		err := f.Follow(t.Context(), secret, zerolog.New(&log))
		if strings.Contains(log.String(), "canary") {
			t.Errorf("the log shows the token: %s", log.String())
		}
		return log.String(), err
	}

	log, err := run(func(f *agent.File) {
		f.Command = []string{"sh", "-c", `echo "$FRESHET_CREDENTIAL $FRESHET_FILE canary-token"`}
	})
	if err != nil || !strings.Contains(log, "acme/alice "+file.Path+" [redacted]") {
		t.Errorf("a command: %v, log %s", err, log)
	}
	if log, err = run(func(f *agent.File) { f.Command = []string{"echo", "$HOME; ls"} }); err != nil || !strings.Contains(log, `"output":"$HOME; ls"`) {
		t.Errorf("no shell unless asked: %v, log %s", err, log)
	}
	if log, err = run(func(f *agent.File) { f.Shell = "for i in $(seq 1000); do echo $i canary-token; done" }); err != nil || !strings.Contains(log, `1000 [redacted]`) || len(log) > 6000 {
		t.Errorf("much output: %v, log of %d bytes", err, len(log))
	}
	if _, err = run(func(f *agent.File) { f.Shell = "exit 3" }); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("a failure: %v", err)
	}
	if _, err = run(func(f *agent.File) { f.Shell, f.Timeout = "sleep 600 & sleep 600", 50*time.Millisecond }); err == nil || !strings.Contains(err.Error(), "not done after 50ms") {
		t.Errorf("too long: %v", err)
	}
	if _, err = run(func(f *agent.File) { f.Command = []string{filepath.Join(dir, "nosuch")} }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such command: %v", err)
	}
	pidFile := filepath.Join(dir, "pid")
	for _, pid := range []string{"0", "1", "-1", "x", ""} {
		if err := os.WriteFile(pidFile, []byte(pid), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err = run(func(f *agent.File) { f.Signal, f.PIDFile = "USR1", pidFile }); err == nil {
			t.Errorf("a signal to process %q", pid)
		}
	}
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGUSR1)
	defer signal.Stop(heard)
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = run(func(f *agent.File) { f.Signal, f.PIDFile = "USR1", pidFile }); err != nil {
		t.Errorf("a signal: %v", err)
	}
	select {
	case <-heard:
	case <-time.After(patience):
		t.Error("the signal was not heard")
	}
}
