package main_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// aCommit is what the git server has in its one branch.
const aCommit = "0123456789abcdef0123456789abcdef01234567"

// cmdGitServer: gitserver starts a git server that wants a token as the password, and sets GIT_URL and GIT_HOST. The first token that
// it is shown it refuses, now and later; it has been revoked, it says.
func cmdGitServer(ts *testscript.TestScript, neg bool, args []string) {
	var mu sync.Mutex
	revoked := ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		mu.Lock()
		if revoked == "" {
			revoked = password
		}
		refused := password == revoked
		mu.Unlock()
		switch {
		case refused:
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "no", http.StatusUnauthorized)
		case strings.HasSuffix(r.URL.Path, "/info/refs"):
			fmt.Fprintf(w, "%s\trefs/heads/main\n", aCommit)
		case strings.HasSuffix(r.URL.Path, "/HEAD"):
			fmt.Fprint(w, "ref: refs/heads/main\n")
		default:
			http.NotFound(w, r)
		}
	}))
	ts.Defer(srv.Close)
	set(ts, "GIT_URL", srv.URL+"/repo.git")
	set(ts, "GIT_HOST", strings.TrimPrefix(srv.URL, "http://"))
}

var fence = regexp.MustCompile("(?s)\n```.*?\n```")

// cmdDocument: document FILE REGEXP... types every indented line of a document into a shell, in order, with /run/app/ for the script's
// own directory. A yaml block is the file that its first line names. A line that ends with & runs on; it is awaited
// until it has said all that the expressions look for.
func cmdDocument(ts *testscript.TestScript, neg bool, args []string) {
	here := strings.NewReplacer("/run/app/", ts.Getenv("WORK")+"/", "uid: 1000", fmt.Sprint("uid: ", os.Getuid()))
	for _, name := range []string{"FRESHET_ACCESS_KEYSET_FILE", "XDG_RUNTIME_DIR"} {
		set(ts, name, ts.Getenv(name))
	}
	text := here.Replace(ts.ReadFile(args[0]))
	for _, m := range regexp.MustCompile("(?s)\n```yaml\n# (\\S+)\n(.*?)\n```").FindAllStringSubmatch(text, -1) {
		ts.Check(os.WriteFile(ts.MkAbs(m[1]), []byte(m[2]), 0o600))
	}
	n := 0
	for line := range strings.Lines(fence.ReplaceAllString(text, "")) {
		command, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "    ")
		if !ok {
			continue
		}
		n++
		if background, ok := strings.CutSuffix(command, " &"); ok {
			p, err := startProcess(ts, environment(ts), []string{"sh", "-c", "exec " + background})
			ts.Check(err)
			ts.Defer(p.end)
			for _, re := range args[1:] {
				if _, ok := p.await(regexp.MustCompile(re)); !ok {
					_, said, _ := p.lines()
					ts.Fatalf("%s never said %s: %s", command, re, strings.Join(said, "\n"))
				}
			}
		} else if err := ts.Exec("sh", "-c", command); err != nil {
			ts.Fatalf("%s: %v", command, err)
		}
	}
	if n < 5 {
		ts.Fatalf("%s has %d commands only", args[0], n)
	}
}

// curl is as much of curl as the scripts use: it fails on what is no success, and needs nothing installed.
func curl() {
	fs := flag.NewFlagSet("curl", flag.ExitOnError)
	socket := fs.String("unix-socket", "", "")
	form := fs.String("data-urlencode", "", "")
	header := fs.String("H", "", "")
	_ = fs.Bool("s", false, "")
	_ = fs.Bool("f", false, "")
	_ = fs.Parse(os.Args[1:])
	method, body := http.MethodGet, ""
	if name, value, ok := strings.Cut(*form, "="); ok {
		method, body = http.MethodPost, name+"="+strings.ReplaceAll(value, "+", "%2B")
	}
	req, err := http.NewRequestWithContext(context.Background(), method, fs.Arg(0), strings.NewReader(body))
	if err != nil {
		fail(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if name, value, ok := strings.Cut(*header, ":"); ok {
		req.Header.Set(name, strings.TrimSpace(value))
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", *socket)
	}}}
	resp, err := client.Do(req)
	if err != nil {
		fail(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(os.Stdout, resp.Body); err != nil {
		fail(err)
	}
	if resp.StatusCode != http.StatusOK {
		fail(fmt.Errorf("status %d", resp.StatusCode))
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "curl:", err)
	os.Exit(22)
}
