package providerfile

import (
	"errors"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/provider/catalogue"
)

// preset returns what a provider's fields are laid over: the preset that it names, or nothing. Faults are reported by
// presetFaults, once it is known where the fields stand.
func (r *reader) preset(n ast.Node) (provider.Definition, error) {
	name, _ := scalar(lookup(n, "preset"))
	if name == "" {
		if lookup(n, "params") != nil {
			return provider.Definition{}, &provider.Fault{Field: "params", Problem: "have a meaning with a preset only: remove them, or name the preset"}
		}
		return provider.Definition{}, nil
	}
	p, ok := catalogue.Find(name)
	if !ok {
		return provider.Definition{}, &provider.Fault{Field: "preset", Problem: unknownPreset(name)}
	}
	d, err := p.Fill(plainPairs(lookup(n, "params")))
	if lookup(n, "rotation") != nil {
		d.RotationGrace = 0 // it belongs to the preset's own class
	}
	if grant, _ := scalar(lookup(n, "grant")); provider.GrantType(grant).Remints() {
		d.Rotation, d.RotationGrace = "", 0 // it is about refresh tokens, and there are none
	}
	return d, err
}

// presetUserinfo drops the preset's userinfo_url where it would not answer for the scopes that are asked for: to ask there would make
// each enrolment fail. One that the file has stays.
func (r *reader) presetUserinfo(d *provider.Definition) {
	_, given := r.at["userinfo_url"]
	if p, ok := catalogue.Find(d.Preset); ok && !given && !p.Userinfo.Answers(d.Scopes) {
		d.UserinfoURL = ""
	}
}

// presetFaults reports what preset found, each fault where its field stands.
func (r *reader) presetFaults(err error) {
	if err == nil {
		return
	}
	errs := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		errs = joined.Unwrap()
	}
	for _, err := range errs {
		var f *provider.Fault
		if !errors.As(err, &f) || r.bad[f.Field] {
			continue
		}
		r.fault(r.place(f.Field), "%s: %s", f.Field, f.Problem)
		if f.Field == "preset" {
			r.bad["token_url"], r.bad["auth_style"] = true, true // they are missing because of it
		}
	}
}

// unknownPreset names the presets that may be meant, or all of them.
func unknownPreset(name string) string {
	var all []string
	for _, p := range catalogue.All() {
		all = append(all, p.Name)
	}
	quoted := shown(name)
	if meant := nearest(strings.ToLower(name), all); meant != "" {
		return quoted + " is unknown; did you mean " + meant + "?"
	}
	return quoted + " is unknown: known are " + strings.Join(all, ", ") + "; or leave it out and write the endpoints"
}

// lookup returns the value of a key of a mapping, or nil. It reports nothing: fields reads the mapping again.
func lookup(n ast.Node, key string) ast.Node {
	m, ok := n.(ast.MapNode)
	if !ok {
		return nil
	}
	for pairs := m.MapRange(); pairs.Next(); {
		if name, _ := scalar(pairs.Key()); name == key && pairs.Value().Type() != ast.NullType {
			return pairs.Value()
		}
	}
	return nil
}

// plainPairs are the pairs of a mapping that are plain; textPairs reports the others.
func plainPairs(n ast.Node) map[string]string {
	m, ok := n.(ast.MapNode)
	if !ok {
		return nil
	}
	params := make(map[string]string)
	for pairs := m.MapRange(); pairs.Next(); {
		name, _ := scalar(pairs.Key())
		if value, ok := scalar(pairs.Value()); ok && name != "" {
			params[name] = value
		}
	}
	return params
}
