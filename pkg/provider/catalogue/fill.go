package catalogue

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/freshetdev/freshet/pkg/provider"
)

// Fill returns the preset's definition, without a name and a client, with its parameters in place. The error joins one
// *provider.Fault for each parameter that is missing, unknown or impossible; the definition then has examples in their
// places.
func (p Preset) Fill(params map[string]string) (provider.Definition, error) {
	var errs []error
	fault := func(name, format string, args ...any) {
		errs = append(errs, &provider.Fault{Field: "params." + name, Problem: fmt.Sprintf(format, args...)})
	}
	var pairs []string
	for _, param := range p.Params {
		value, given := params[param.Name]
		problem := param.problem(value)
		switch {
		case !given && param.Default != "":
			value = param.Default
		case !given:
			fault(param.Name, "missing: preset %s needs %s, such as %s", p.Name, param.Meaning, param.Example)
			value = param.Example
		case problem != "":
			fault(param.Name, "%s; want %s, such as %s", problem, param.Meaning, param.Example)
			value = param.Example
		}
		pairs = append(pairs, "{"+param.Name+"}", value)
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if slices.ContainsFunc(p.Params, func(param Param) bool { return param.Name == name }) {
			continue
		}
		if strings.Trim(name, labelBytes) != "" {
			name = "…" // more than a word may be a value that lost its place
		}
		fault(name, "preset %s has no such parameter%s", p.Name, p.known())
	}
	d := p.Definition
	d.Preset = p.Name
	if !p.Userinfo.NoParam || len(params) == 0 {
		d.UserinfoURL = p.Userinfo.URL
	}
	replacer := strings.NewReplacer(pairs...)
	for _, url := range []*string{&d.Issuer, &d.AuthURL, &d.TokenURL, &d.DeviceURL, &d.RevokeURL, &d.IntrospectURL, &d.UserinfoURL} {
		*url = replacer.Replace(*url)
	}
	return d, errors.Join(errs...)
}

// known lists the parameters for a message.
func (p Preset) known() string {
	if len(p.Params) == 0 {
		return ": remove it, it takes none"
	}
	var names []string
	for _, param := range p.Params {
		names = append(names, param.Name)
	}
	return "; known are " + strings.Join(names, ", ")
}

// labelBytes may stand in a label of a host name.
const labelBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// problem says what is wrong with a value, or "". A value must not be able to lead a URL elsewhere.
func (p Param) problem(value string) string {
	const longest = 253 // bytes of a host name (RFC 1035 section 2.3.4)
	for _, label := range strings.Split(value, ".") {
		if label == "" || strings.Trim(label, labelBytes) != "" {
			return "this cannot stand in a host name"
		}
	}
	switch {
	case len(value) > longest:
		return "it is too long"
	case !p.Host && strings.Contains(value, "."):
		return "there is a dot in it"
	}
	return ""
}
