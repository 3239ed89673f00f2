// Package catalogue holds presets: what vendors document of their authorization servers, as provider definitions that lack
// nothing but the client.
//
// A Preset's Definition says what the vendor says, and Sources say where. What a vendor does not document is not declared,
// and Undocumented says so: above all an undeclared rotation is a strict one. Endpoints may hold parameters, such as
// {tenant}, which Fill puts in.
//
// Everything a preset says may be said otherwise by whoever uses it; package providerfile lays a file's fields over it.
//
// # Concurrency
//
// Everything here is data, made anew by each call.
package catalogue

import (
	"slices"
	"strings"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
)

// Preset is an entry of the catalogue.
type Preset struct {
	Name       string              `json:"name"`  // what a file's key preset says
	Title      string              `json:"title"` // the product, in the vendor's spelling
	Definition provider.Definition `json:"definition"`
	Params     []Param             `json:"params,omitempty"`
	Userinfo   Userinfo            `json:"userinfo,omitzero"`
	Sources    []Source            `json:"sources"`
	// Undocumented is what the vendor's pages do not say, so that the definition does not either.
	Undocumented []string `json:"undocumented,omitempty"`
	Notes        []string `json:"notes,omitempty"` // what to know before using it
}

// Param is a part of the endpoints that differs from customer to customer: {name} in the definition.
type Param struct {
	Name    string `json:"name"`
	Meaning string `json:"meaning"`
	Example string `json:"example"`
	Default string `json:"default,omitempty"` // empty: it must be given
	Host    bool   `json:"host,omitempty"`    // a whole host name, so that dots are in it; without, it is one label of one
}

// Userinfo is where the vendor says who agreed. It becomes a definition's userinfo_url where its scopes are such that it answers.
type Userinfo struct {
	URL     string   `json:"url,omitempty"`
	Scopes  []string `json:"scopes,omitempty"`   // of which a grant needs one; none: any grant will do
	NoParam bool     `json:"no_param,omitempty"` // it is elsewhere, or not there, where a parameter is given
}

// Answers reports whether it answers for grants with these scopes.
func (u Userinfo) Answers(scopes []string) bool {
	return len(u.Scopes) == 0 || slices.ContainsFunc(u.Scopes, func(s string) bool { return slices.Contains(scopes, s) })
}

// openID is Userinfo for grants with an ID token (OpenID Connect Core section 5.3).
func openID(url string) Userinfo { return Userinfo{URL: url, Scopes: []string{"openid"}} }

// Topic is what a source is about.
type Topic string

// The topics of sources.
const (
	Requests  Topic = "requests"  // endpoints, client authentication, parameters
	Rotation  Topic = "rotation"  // what becomes of a used refresh token, and of the access token before it
	Lifetimes Topic = "lifetimes" // of tokens and grants
	Errors    Topic = "errors"    // the words of refusals
	Identity  Topic = "identity"  // who agreed
)

// Source is a page of the vendor.
type Source struct {
	Topic Topic  `json:"topic"`
	URL   string `json:"url"`
}

// All returns the presets, by name.
func All() []Preset {
	all := slices.Concat(office(), development(), business(), social())
	slices.SortFunc(all, func(a, b Preset) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Find returns a preset by its name.
func Find(name string) (Preset, bool) {
	all := All()
	i := slices.IndexFunc(all, func(p Preset) bool { return p.Name == name })
	if i < 0 {
		return Preset{}, false
	}
	return all[i], true
}

const (
	minute = provider.Duration(time.Minute)
	day    = provider.Duration(24 * time.Hour)
	month  = 30 * day // what vendors call a month is never shorter than February; 30 days are near enough to warn by
)

func comma() provider.Dialect { return provider.Dialect{ScopeSeparator: ","} }

// noRotation is for vendors that say nothing about rotation.
const noRotation = "what becomes of a refresh token once it has been used: strict is assumed"
