package credhelper

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/tokens"
)

// defaultUsername goes with a token where nobody names another: most hosts look at the password only.
const defaultUsername = "oauth2"

// Git says which credential a git server gets.
type Git struct {
	// Hosts has the credential, PROVIDER/ACCOUNT, of each host, or host:port where git names a port.
	Hosts map[string]string
	// Username goes with the token; empty: the one that git asks about, else "oauth2".
	Username string
}

// ParseGit reads HOST=PROVIDER/ACCOUNT, any number, and reports all that are wrong.
func ParseGit(hosts []string, username string) (Git, error) {
	g := Git{Hosts: make(map[string]string), Username: username}
	var faults []error
	for _, text := range hosts {
		host, id, _ := strings.Cut(text, "=")
		_, err := events.ParseCredential(id)
		switch {
		case host == "" || strings.Contains(host, "/"):
			faults = append(faults, fmt.Errorf("host %q: want HOST=PROVIDER/ACCOUNT, such as github.com=github/alice", text))
		case err != nil:
			faults = append(faults, fmt.Errorf("host %s: %w", host, err))
		}
		g.Hosts[strings.ToLower(host)] = id
	}
	if len(hosts) == 0 {
		faults = append(faults, errors.New("no host: say which credential a server gets, such as github.com=github/alice"))
	}
	if strings.ContainsAny(username, "\n\x00") {
		faults = append(faults, errors.New("the user name has a line feed"))
	}
	return g, errors.Join(faults...)
}

// GitRequest is a question of git: its attributes by name.
type GitRequest map[string]string

// maxRequest bounds a question, in bytes.
const maxRequest = 1 << 20

// ReadGit reads a question: NAME=VALUE lines up to an empty one, or the end.
func ReadGit(r io.Reader) (GitRequest, error) {
	req := make(GitRequest)
	lines := bufio.NewScanner(io.LimitReader(r, maxRequest))
	lines.Buffer(nil, maxRequest)
	for lines.Scan() && lines.Text() != "" {
		name, value, ok := strings.Cut(strings.TrimSuffix(lines.Text(), "\r"), "=")
		if !ok {
			return nil, errors.New("read git's question: want NAME=VALUE on each line") // the line may be a password
		}
		req[name] = value
	}
	return req, lines.Err()
}

// Credential returns the credential that a question is about; false: none, and git is to ask somebody else. The error says
// why a host that is known gets nothing.
func (g Git) Credential(r GitRequest) (id string, ok bool, err error) {
	id, ok = g.Hosts[strings.ToLower(r["host"])]
	if ok && r["protocol"] != "https" && (r["protocol"] != "http" || !thisMachine(r["host"])) {
		return "", false, fmt.Errorf("no token for %s over %s: want https", r["host"], r["protocol"])
	}
	return id, ok, nil
}

func thisMachine(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback() || host == "localhost"
}

// Answer returns what git reads: user name, the token as the password, and its end where it has one, which git before 2.41
// passes over.
func (g Git) Answer(r GitRequest, t tokens.Token) ([]byte, error) {
	access := t.AccessToken.Reveal()
	if strings.ContainsAny(access, "\n\x00") {
		return nil, errors.New("the token has a line feed, which git cannot read")
	}
	out := fmt.Appendf(nil, "username=%s\npassword=%s\n", cmp.Or(g.Username, r["username"], defaultUsername), access)
	if !t.ExpiresAt.IsZero() {
		out = append(out, "password_expiry_utc="+strconv.FormatInt(t.ExpiresAt.Unix(), 10)+"\n"...)
	}
	return out, nil
}
