package app_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// canaries are secrets that must show up nowhere, in no spelling. mu guards both.
type canaries struct {
	mu    sync.Mutex
	names map[string]string // what each secret is, by value
}

// add learns a secret. Short ones cannot be told from other text.
func (c *canaries) add(what, secret string) {
	if len(secret) < 12 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names == nil {
		c.names = make(map[string]string)
	}
	c.names[secret] = what
}

// kinds counts the secrets by what they are.
func (c *canaries) kinds() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := make(map[string]int)
	for _, what := range c.names {
		n[what]++
	}
	return n
}

// needles are the texts that give the secrets away, and what each of them is.
func (c *canaries) needles() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[string]string)
	for secret, what := range c.names {
		for _, piece := range pieces(secret) {
			for spelling, text := range spellings(piece) {
				all[text] = what + ", " + spelling
			}
		}
	}
	return all
}

// pieces are the parts of a secret that are looked for, since texts are cut to a length.
func pieces(secret string) []string {
	const size = 24
	if len(secret) <= size {
		return []string{secret}
	}
	return []string{secret[:size], secret[len(secret)-size:]}
}

// spellings are the ways in which a text may have been written.
func spellings(s string) map[string]string {
	quoted, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string
	}
	all := map[string]string{
		"as it is": s, "as a query": url.QueryEscape(s), "as a path": url.PathEscape(s), "in JSON": strings.Trim(string(quoted), `"`),
		"in hex": hex.EncodeToString([]byte(s)), "in HEX": strings.ToUpper(hex.EncodeToString([]byte(s))),
	}
	for _, enc := range []struct {
		name string
		*base64.Encoding
	}{{"base64", base64.RawStdEncoding}, {"base64url", base64.RawURLEncoding}} {
		for before := range 3 { // where it begins in what is encoded
			text := enc.EncodeToString([]byte(strings.Repeat("\x00", before) + s))
			head, tail := (before*8+5)/6, 0
			if (before+len(s))%3 != 0 {
				tail = 1 // depends on what follows
			}
			all[fmt.Sprintf("in %s after %d", enc.name, before)] = text[head : len(text)-tail]
		}
	}
	return all
}

// in returns what of the secrets is in data, by spelling.
func (c *canaries) in(data []byte) []string {
	var found []string
	for text, what := range c.needles() {
		if bytes.Contains(data, []byte(text)) {
			found = append(found, what)
		}
	}
	slices.Sort(found)
	return found
}

// inDir returns what of the secrets is in the files below a directory, whatever they are.
func (c *canaries) inDir(t *testing.T, dir string) (found []string) {
	t.Helper()
	needles := c.needles()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for text, what := range needles {
			if bytes.Contains(data, []byte(text)) {
				found = append(found, path+": "+what)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

// The detector must find what it is there for, else the test below could not fail.
func TestTheCanaryDetectorFindsLeaks(t *testing.T) {
	t.Parallel()
	const secret = "rt-7Hq2zVxK9sWb4LnT0cYe/Jm5uRd8PfG3aXo6QiBk1+E7vN2yCt"
	var c canaries
	c.add("refresh token", secret)
	for name, leak := range map[string]string{
		"as it is":      `{"error":"bad token ` + secret + `"}`,
		"cut short":     `detail ` + secret[:30],
		"its end":       `…` + secret[20:],
		"escaped":       "GET /?refresh_token=" + url.QueryEscape(secret),
		"as a path":     "GET /" + url.PathEscape(secret),
		"hex":           hex.EncodeToString([]byte("x" + secret)),
		"HEX":           fmt.Sprintf("%X", secret),
		"base64":        base64.StdEncoding.EncodeToString([]byte(secret)),
		"base64, moved": base64.StdEncoding.EncodeToString([]byte("client:" + secret + " and more")),
		"base64url":     base64.RawURLEncoding.EncodeToString([]byte("ab" + secret + "c")),
		"bytes in JSON": mustJSON(t, map[string][]byte{"body": []byte(`{"refresh_token":"` + secret + `"}`)}),
	} {
		if len(c.in([]byte("before "+leak+" after"))) == 0 {
			t.Errorf("%s: not found in %s", name, leak)
		}
		file := filepath.Join(t.TempDir(), "deep", "1.blk")
		err := os.MkdirAll(filepath.Dir(file), 0o700)
		if err == nil {
			err = os.WriteFile(file, append([]byte{0, 255}, leak...), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if found := c.inDir(t, filepath.Dir(filepath.Dir(file))); len(found) == 0 || !strings.Contains(found[0], "1.blk") {
			t.Errorf("%s: in a file: %v", name, found)
		}
	}
	if found := c.in([]byte("rt-7Hq2 is not all of it, and neither is E7vN2yCt")); len(found) != 0 {
		t.Errorf("found %v in a text without it", found)
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
