package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestEnrolmentIsAsDocumented: every line that docs/enrolment.md types is in the script that runs them.
func TestEnrolmentIsAsDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/enrolment.md")
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("testdata/script/enrolment.txtar")
	if err != nil {
		t.Fatal(err)
	}
	ran := make(map[string]bool)
	for line := range strings.Lines(string(script)) {
		line = regexp.MustCompile(`^(exec|ask|start \w+) `).ReplaceAllString(strings.TrimSpace(line), "")
		ran[line] = true
	}
	n := 0
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(doc), -1) {
		for line := range strings.Lines(block[1]) {
			n++
			if line = strings.TrimSpace(line); !ran[line] {
				t.Errorf("nobody runs %q", line)
			}
		}
	}
	if n < 5 {
		t.Errorf("only %d lines were found", n)
	}
}

// cmdExport: export NAME=VALUE sets a variable that processes started by the script see as well.
func cmdExport(ts *testscript.TestScript, neg bool, args []string) {
	name, value, _ := strings.Cut(args[0], "=")
	set(ts, name, value)
}

// cmdEnter: enter NAME approve|deny is the person who enters the code that the process shows, on another device.
func cmdEnter(ts *testscript.TestScript, neg bool, args []string) {
	p := running(ts).get(ts, args[0])
	code, ok := p.await(regexp.MustCompile(`^  [A-Z]{4}-[A-Z]{4}$`))
	page, ok2 := p.await(regexp.MustCompile(`^  http://.*/device$`))
	if !ok || !ok2 {
		ts.Fatalf("%s shows no code, or no address", args[0])
	}
	resp, err := http.PostForm(strings.TrimSpace(page), url.Values{"user_code": {strings.TrimSpace(code)}, "decision": {args[1]}})
	ts.Check(err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		ts.Fatalf("the page says %s", resp.Status)
	}
}

// cmdAsk: ask curl -d BODY -H HEADER URL is what the document types, sent to where this script's admin listener is; the answer is
// left in link.json.
func cmdAsk(ts *testscript.TestScript, neg bool, args []string) {
	if args = args[1:]; len(args) != 5 || args[0] != "-d" || args[2] != "-H" {
		ts.Fatalf("usage: ask curl -d BODY -H HEADER URL")
	}
	at := strings.Replace(args[4], "localhost:8481", ts.Getenv("FRESHET_ADMIN_LISTEN"), 1)
	_, kind, _ := strings.Cut(args[3], ": ")
	resp, err := http.Post(at, kind, strings.NewReader(args[1]))
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if resp.StatusCode != http.StatusCreated {
		ts.Fatalf("%s: %s", resp.Status, body)
	}
	ts.Check(os.WriteFile(ts.MkAbs("link.json"), body, 0o600))
}

// cmdConnect: connect FILE NAME STATUS is the person with that name who opens a link and agrees, and what they see in the end.
func cmdConnect(ts *testscript.TestScript, neg bool, args []string) {
	var made struct{ URL string }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &made))
	status, body := follow(ts, made.URL)
	if strconv.Itoa(status) != args[2] || strings.Contains(body, fmt.Sprintf("acme/%s is connected", args[1])) != (args[2] == "200") {
		ts.Fatalf("%d: %s", status, body)
	}
}

// cmdFollow: follow NAME TEXT opens the connect link that the process prints, and expects a page with the text.
func cmdFollow(ts *testscript.TestScript, neg bool, args []string) {
	line, ok := running(ts).get(ts, args[0]).await(regexp.MustCompile(`^\s*http://.*/connect/`))
	if !ok {
		ts.Fatalf("%s prints no link", args[0])
	}
	status, body := follow(ts, strings.TrimSpace(line))
	if status != http.StatusOK || !strings.Contains(body, args[1]) {
		ts.Fatalf("%d: %s", status, body)
	}
}

// follow is a browser that goes where it is sent, to the end.
func follow(ts *testscript.TestScript, address string) (status int, body string) {
	jar, err := cookiejar.New(nil)
	ts.Check(err)
	resp, err := (&http.Client{Jar: jar}).Get(address)
	ts.Check(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	ts.Check(err)
	return resp.StatusCode, string(text)
}
