package interop_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// person is somebody with a browser that runs no scripts, who fills in every form that a page shows.
type person struct {
	client  *http.Client
	answers map[string]string // by the names of the fields
}

func newPerson(t *testing.T, answers map[string]string) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &person{client: &http.Client{Jar: jar}, answers: answers}
}

// visit opens an address, sends the form of each page it is led to, and returns the first page without any.
func (p *person) visit(t *testing.T, address string) (page string) {
	t.Helper()
	resp, err := p.client.Get(address)
	const most = 10 // forms: nobody asks for more
	for range most {
		if err != nil {
			t.Fatal(err)
		}
		body, readErr := io.ReadAll(resp.Body)
		resp.Body.Close()
		if readErr != nil {
			t.Fatal(readErr)
		}
		form := findForm(t, resp.Request.URL, string(body))
		if form == nil || resp.StatusCode >= http.StatusBadRequest {
			return string(body)
		}
		resp, err = p.client.PostForm(form.action, p.fill(form.fields))
	}
	t.Fatalf("there is no end of forms at %s", address)
	return ""
}

// fill answers what the person has an answer to, and leaves the rest as it is.
func (p *person) fill(fields url.Values) url.Values {
	for name := range fields {
		if answer, ok := p.answers[name]; ok {
			fields.Set(name, answer)
		}
	}
	return fields
}

// form is an HTML form that is sent by POST.
type form struct {
	action string
	fields url.Values
}

// findForm returns the first form of a page, nil where there is none.
func findForm(t *testing.T, at *url.URL, page string) *form {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode || n.Data != "form" {
			continue
		}
		to, err := at.Parse(attribute(n, "action"))
		if err != nil {
			t.Fatal(err)
		}
		f := &form{action: to.String(), fields: make(url.Values)}
		for input := range n.Descendants() {
			if name := attribute(input, "name"); input.Data == "input" && name != "" {
				f.fields.Set(name, attribute(input, "value"))
			}
		}
		return f
	}
	return nil
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
