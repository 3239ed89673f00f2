package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/tokens"
)

// Format is what a File has around its token.
type Format string

// The formats.
const (
	FormatRaw      Format = "raw"      // the token alone, without a line feed
	FormatJSON     Format = "json"     // a View
	FormatTemplate Format = "template" // what the template makes of a View
	FormatNetrc    Format = "netrc"    // machine, login and password, as curl and others read them
	FormatDotenv   Format = "dotenv"   // NAME='token'
)

func formats() []Format {
	return []Format{FormatRaw, FormatJSON, FormatTemplate, FormatNetrc, FormatDotenv}
}

// View is a token as templates and JSON files see it.
type View struct {
	Credential  string         `json:"credential"`
	Provider    string         `json:"-"`
	Account     string         `json:"-"`
	AccessToken string         `json:"access_token"`
	TokenType   string         `json:"token_type"`
	ExpiresAt   time.Time      `json:"expires_at,omitzero"` // zero: it has no end
	Scope       string         `json:"scope,omitempty"`     // separated by blanks
	Generation  uint64         `json:"generation"`
	Version     uint64         `json:"version"`
	Meta        map[string]any `json:"meta,omitempty"` // what else the provider said, such as instance_url
}

func viewOf(t tokens.Token) View {
	v := View{
		Credential: t.Credential.String(), Provider: t.Credential.Provider, Account: t.Credential.Account,
		AccessToken: t.AccessToken.Reveal(), TokenType: t.TokenType, ExpiresAt: t.ExpiresAt.UTC(),
		Scope: strings.Join(t.Scopes, " "), Generation: t.Generation, Version: t.Version,
	}
	_ = json.Unmarshal(t.Meta, &v.Meta) // no object: no meta
	return v
}

var (
	variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	// plainWord is what netrc and dotenv can carry without quoting that readers disagree on. Access tokens are visible ASCII (RFC
	// 6749 appendix A.12), mostly much less.
	plainWord = regexp.MustCompile(`^[!-&(-\[\]-~]+$`)
)

func (f File) faults() (faults []error) {
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	_, err := events.ParseCredential(f.Credential)
	fault(err != nil, "credential: %w", err)
	fault(!filepath.IsAbs(f.Path), "path: want an absolute one")
	fault(f.Format != "" && !slices.Contains(formats(), f.Format), "format %q: want one of %v", f.Format, formats())
	fault((f.Template != "") != (f.Format == FormatTemplate), "format: template and the key template go together")
	if _, err := f.parse(); err != nil {
		faults = append(faults, err)
	}
	fault((f.Machine != "") != (f.Format == FormatNetrc), "format: netrc and the key machine go together")
	fault(f.Login != "" && f.Format != FormatNetrc, "login is for format: netrc")
	fault(f.Name != "" && f.Format != FormatDotenv, "name is for format: dotenv")
	fault(f.Name != "" && !variable.MatchString(f.Name), "name %q: want a variable's name", f.Name)
	fault((f.Signal != "") != (f.PIDFile != ""), "signal and pid_file go together")
	_, known := signals()[f.Signal]
	fault(f.Signal != "" && !known, "signal %q: want HUP, INT, QUIT, TERM, USR1 or USR2", f.Signal)
	ways := 0
	for _, given := range []bool{len(f.Command) > 0, f.Shell != "", f.Signal != ""} {
		if given {
			ways++
		}
	}
	fault(ways > 1, "want one of command, shell and signal")
	fault(f.Timeout < 0, "timeout %s: want more than 0", f.Timeout)
	return faults
}

func (f File) parse() (*template.Template, error) {
	return template.New("template").Option("missingkey=error").Parse(f.Template)
}

// signals are those that tell a process to look at its configuration, or to end.
func signals() map[string]syscall.Signal {
	return map[string]syscall.Signal{
		"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "TERM": syscall.SIGTERM,
		"USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
	}
}

// Signal returns the signal of a name such as HUP; false: it is none that is known.
func Signal(name string) (syscall.Signal, bool) {
	s, ok := signals()[strings.TrimPrefix(name, "SIG")]
	return s, ok
}

// render returns the content of the file for a token. No error shows the token.
func (f File) render(t tokens.Token) ([]byte, error) {
	v := viewOf(t)
	switch f.Format {
	case FormatJSON:
		out, err := json.MarshalIndent(v, "", "  ")
		return append(out, '\n'), err
	case FormatTemplate:
		return f.fill(v)
	case FormatNetrc:
		login := f.Login
		if login == "" {
			login = "oauth2"
		}
		return line(v, "machine "+f.Machine+" login "+login+" password %s\n")
	case FormatDotenv:
		name := f.Name
		if name == "" {
			name = "ACCESS_TOKEN"
		}
		return line(v, name+"='%s'\n")
	default:
		return []byte(v.AccessToken), nil
	}
}

// line puts the token into a line where it can stand.
func line(v View, format string) ([]byte, error) {
	if !plainWord.MatchString(v.AccessToken) {
		return nil, errors.New("the token has characters that this format cannot carry: use raw or json")
	}
	return fmt.Appendf(nil, format, v.AccessToken), nil
}

func (f File) fill(v View) ([]byte, error) {
	t, err := f.parse()
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	if err := t.Execute(&out, v); err != nil {
		return nil, errors.New("the template cannot be filled in: see that it uses only what a token has") // err may quote it
	}
	return []byte(out.String()), nil
}
