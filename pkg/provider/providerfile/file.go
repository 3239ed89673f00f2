package providerfile

import (
	"bytes"
	"cmp"
	"errors"
	"maps"
	"regexp"
	"slices"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// MaxSize is the largest file, in bytes.
const MaxSize = 1 << 20

// File is what one file defines, in its order.
type File struct {
	Providers []Provider
}

// Provider is one definition whose client secrets are still references.
type Provider struct {
	Definition provider.Definition // without ClientSecrets, and without defaults
	Secrets    []Reference         // of client_secret, or of client_key
	Key        Reference           // of assertion_key; empty: there is none
}

// Parse reads a file. The name stands in errors only. The error joins one *Fault for each thing that is wrong, in the
// order of the lines (errors.Join).
func Parse(name string, data []byte) (File, error) {
	r := &reader{source: newSource(name, data)}
	if root := r.root(data); root != nil {
		r.file(root)
	}
	if len(r.faults) > 0 {
		slices.SortStableFunc(r.faults, func(a, b *Fault) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
		errs := make([]error, len(r.faults))
		for i, f := range r.faults {
			errs[i] = f
		}
		return File{}, errors.Join(errs...)
	}
	return File{Providers: r.providers}, nil
}

// want is what a file without providers is told.
const want = "want the key providers with at least one provider under it:\n" + `
providers:
  acme:
    auth_url: https://login.example.com/authorize
    token_url: https://login.example.com/token
    client_id: abc
    client_secret: env://ACME_SECRET
    auth_style: basic`

// root returns the one document, or nil after it has said why there is none.
func (r *reader) root(data []byte) ast.Node {
	if len(data) > MaxSize {
		r.fault(at{}, "%d bytes: at most %d are read", len(data), MaxSize)
		return nil
	}
	file, err := parser.ParseBytes(bytes.TrimPrefix(data, []byte("\ufeff")), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.broken(err)
		return nil
	}
	var root ast.Node
	for _, doc := range file.Docs {
		if _, directive := doc.Body.(*ast.DirectiveNode); directive || doc.Body == nil {
			continue
		}
		if root != nil {
			r.fault(position(doc.Body), "a second YAML document: put all providers into one")
			return nil
		}
		root = doc.Body
	}
	if root == nil {
		r.fault(at{}, "nothing in it: %s", want)
	}
	return root
}

// quoted are pieces of the file that the YAML library repeats in its messages.
var quoted = regexp.MustCompile(`"(\\.|[^"\\])*"`)

// broken reports what is not YAML, with the library's words but without what they quote.
func (r *reader) broken(err error) {
	var e yaml.Error
	if !errors.As(err, &e) {
		r.fault(at{}, "not YAML")
		return
	}
	var where at
	if token := e.GetToken(); token != nil && token.Position != nil {
		where = at{token.Position.Line, token.Position.Column}
	}
	r.fault(where, "not YAML: %s", quoted.ReplaceAllString(e.GetMessage(), "…"))
}

// file reads the whole document.
func (r *reader) file(root ast.Node) {
	found := false
	r.fields("", root, map[string]field{"providers": func(path string, n ast.Node) {
		r.each(path, n, func(name string, where at, n ast.Node) {
			found = true
			r.provider(name, where, n)
		})
	}})
	if !found && len(r.faults) == 0 {
		r.fault(at{}, "no providers: %s", want)
	}
}

// provider reads one definition and holds it against what a definition must be.
func (r *reader) provider(name string, where at, n ast.Node) {
	base, presetErr := r.preset(n)
	p := Provider{Definition: base}
	d := &p.Definition
	d.Name = name
	r.at = map[string]at{"": where, "name": where}
	r.bad = make(map[string]bool)
	r.inside = "provider " + name
	var params map[string]string // preset has read them
	known := map[string]field{
		"preset": r.text(&d.Preset), "params": r.textPairs(&params), "issuer": r.text(&d.Issuer), "auth_url": r.text(&d.AuthURL), "token_url": r.text(&d.TokenURL),
		"device_url": r.text(&d.DeviceURL), "revoke_url": r.text(&d.RevokeURL), "introspect_url": r.text(&d.IntrospectURL),
		"userinfo_url": r.text(&d.UserinfoURL), "callback_path": r.text(&d.CallbackPath),
		"authorization_response_iss_parameter_supported": r.yesNo(&d.IssInAnswer), "private_network": r.yesNo(&d.PrivateNetwork),
		"client_id": r.text(&d.ClientID), "client_secret": r.secrets(&p.Secrets), "client_key": r.secrets(&p.Secrets),
		"client_assertion": r.clientAssertion(&d.ClientAssertion), "assertion": r.assertion(&d.Assertion), "assertion_key": r.secret(&p.Key),
		"resource": r.textOrTexts(&d.Resources), "audience": r.text(&d.Audience), "token_params": r.textPairs(&d.TokenParams),
		"auth_style": r.text((*string)(&d.AuthStyle)), "grant": r.text((*string)(&d.Grant)), "scopes": r.texts(&d.Scopes),
		"rotation": r.text((*string)(&d.Rotation)), "rotation_grace": r.duration(&d.RotationGrace, mayBeZero),
		"refresh": r.refresh(&d.Refresh), "limits": r.limits(&d.Limits), "words": r.words(&d.Words),
	}
	maps.Copy(known, r.dialect(d))
	r.fields("", n, known)
	r.presetFaults(presetErr)
	r.presetUserinfo(d)
	if mapping(n) {
		r.clientKey(d.AuthStyle)
		r.validate(p)
	}
	r.inside = ""
	r.providers = append(r.providers, p)
}

func (r *reader) refresh(f *provider.Refresh) field {
	return r.group(map[string]field{
		"min_lead": r.duration(&f.MinLead, notZero), "max_lead": r.duration(&f.MaxLead, notZero),
		"default_lifetime": r.duration(&f.DefaultLifetime, notZero), "max_lifetime": r.duration(&f.MaxLifetime, notZero),
		"cron": r.text(&f.Cron), "keep_alive": r.duration(&f.KeepAlive, mayBeZero),
		"early_refused": r.duration(&f.EarlyRefused, mayBeZero),
	})
}

func (r *reader) limits(f *provider.Limits) field {
	return r.group(map[string]field{
		"concurrency": r.count(&f.Concurrency), "rate": r.rate(&f.Rate), "timeout": r.duration(&f.Timeout, notZero),
	})
}

func (r *reader) words(f *provider.Words) field {
	return r.group(map[string]field{
		"not_consumed": r.texts(&f.NotConsumed), "throttled": r.texts(&f.Throttled),
		"rejected": r.texts(&f.Rejected), "misconfigured": r.texts(&f.Misconfigured),
	})
}

// validate asks the definition itself. References stand in for secrets: what matters here is how many there are.
func (r *reader) validate(p Provider) {
	d := p.Definition
	for range p.Secrets {
		d.ClientSecrets = append(d.ClientSecrets, seal.NewSecret("-"))
	}
	if _, given := r.at["assertion_key"]; given {
		d.AssertionKey = seal.NewSecret("-")
	}
	if err, ok := d.Validate().(interface{ Unwrap() []error }); ok {
		for _, err := range err.Unwrap() {
			var f *provider.Fault
			if errors.As(err, &f) && !r.bad[f.Field] {
				r.fault(r.place(f.Field), "%s: %s", f.Field, f.Problem)
			}
		}
	}
}
