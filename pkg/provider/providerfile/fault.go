package providerfile

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Fault is one thing that is wrong with a file.
type Fault struct {
	File         string
	Line, Column int    // counted from 1; zero: the file as a whole
	Problem      string // what is wrong and what to do
	Excerpt      string // the line and a mark under the column, without what may be secret; empty without a line
}

// Error implements error: FILE:LINE:COLUMN: PROBLEM, and the excerpt under it.
func (f *Fault) Error() string {
	if f.Line == 0 {
		return f.File + ": " + f.Problem
	}
	return fmt.Sprintf("%s:%d:%d: %s\n%s", f.File, f.Line, f.Column, f.Problem, f.Excerpt)
}

// source is the text faults point into.
type source struct {
	name  string
	lines []string
}

func newSource(name string, data []byte) source {
	text := string(bytes.TrimPrefix(data, []byte("\ufeff")))
	return source{name: name, lines: strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")}
}

func (s source) fault(where at, inside, format string, args ...any) *Fault {
	f := &Fault{File: s.name, Line: where.line, Column: where.column, Problem: fmt.Sprintf(format, args...)}
	if inside != "" {
		f.Problem = inside + ": " + f.Problem
	}
	if where.line > 0 && where.line <= len(s.lines) {
		line := s.presentable(where.line - 1)
		// The column may lie in what is hidden.
		column := min(max(where.column-1, 0), utf8.RuneCountInString(line))
		f.Excerpt = fmt.Sprintf("%4d | %s\n     | %s^", where.line, line, strings.Repeat(" ", column))
	} else {
		f.Line, f.Column = 0, 0
	}
	return f
}

// hidden stands for what is not shown.
const hidden = "…"

var (
	comment = regexp.MustCompile(`(^|\s)#.*`)
	// danger is a word that a secret may follow, with or without a colon.
	danger = regexp.MustCompile(`(?i)(secrets?|passw(or)?ds?)["']?[ \t]*:?[ \t]*`)
	// aKey is anything that may be meant as a key, be the blank behind its colon forgotten.
	aKey = regexp.MustCompile(`([\pL\pN_.-]+)["']?[ \t]*:[ \t]*`)
	// login is a user name and password in a URL.
	login = regexp.MustCompile(`//[^/\s]*@`)
)

// showable reports whether a key's value may be quoted. It is a list of what may be, so that a misspelt
// client_secret shows nothing. (A test holds it against what the reader knows.)
func showable(key string) bool {
	switch key {
	case "providers", "preset", "issuer", "auth_url", "token_url", "device_url", "revoke_url", "introspect_url", "userinfo_url", "callback_path", "client_id",
		"auth_style", "grant", "scopes", "rotation", "rotation_grace", "refresh", "limits", "words",
		"min_lead", "max_lead", "default_lifetime", "max_lifetime", "cron", "keep_alive", "early_refused",
		"params", "scope_separator", "scope_param", "client_id_param", "auth_params", "code_params", "code_challenge", "token_format",
		"reply", "tokens", "codes", "refresh_life", "idle", "absolute", "refresh_ends_access",
		"client_assertion", "assertion", "kid", "audience", "lifetime", "scope_claim", "resource",
		"authorization_response_iss_parameter_supported", "private_network",
		"concurrency", "rate", "timeout", "not_consumed", "throttled", "rejected", "misconfigured":
		return true
	}
	return false
}

// presentable returns a line without what may be secret: comments, logins in URLs, whatever stands behind the word
// secret, and the values of keys that are not showable. It hides too much rather than too little, since
// it looks at files that are broken in every way.
func (s source) presentable(n int) string {
	const longest = 120 // runes
	line := strings.TrimRight(comment.ReplaceAllString(s.lines[n], ""), " \t")
	if m := danger.FindStringIndex(line); m != nil {
		line = cut(line, m[1])
	}
	keys := keysOf(line)
	if len(keys) == 0 {
		line = s.continued(n, line)
	}
	for _, k := range keys {
		if !showable(k.name) && !strings.HasPrefix(line[k.value:], "{") { // the keys in the braces follow
			line = cut(line, k.value)
			break
		}
	}
	line = login.ReplaceAllString(line, "//"+hidden+"@")
	if runes := []rune(line); len(runes) > longest {
		line = string(runes[:longest]) + hidden
	}
	return line
}

// cut hides what follows the first n bytes of a line.
func cut(line string, n int) string {
	if n >= len(line) {
		return line
	}
	return strings.TrimRight(line[:n], " \t") + " " + hidden
}

// continued returns a line that has no key of its own: an item of a list that may be shown as it is, everything else
// without its text.
func (s source) continued(n int, line string) string {
	text := strings.TrimLeft(line, " \t-")
	for above := n - 1; above >= 0 && strings.HasPrefix(strings.TrimSpace(line), "- "); above-- {
		if keys := keysOf(comment.ReplaceAllString(s.lines[above], "")); len(keys) > 0 {
			if showable(keys[len(keys)-1].name) {
				return line
			}
			break
		}
	}
	if text == "" {
		return line
	}
	return line[:len(line)-len(text)] + hidden
}

// keyIn is a key in a line, and where its value begins.
type keyIn struct {
	name  string
	value int
}

// keysOf finds what may be meant as keys in a line. Schemes of URLs and hosts before a port are not.
func keysOf(line string) []keyIn {
	var keys []keyIn
	for _, m := range aKey.FindAllStringSubmatchIndex(line, -1) {
		if !strings.HasPrefix(line[m[1]:], "//") && !strings.HasSuffix(line[:m[0]], "//") {
			keys = append(keys, keyIn{name: line[m[2]:m[3]], value: m[1]})
		}
	}
	return keys
}
