package providerfile

import (
	"github.com/goccy/go-yaml/ast"

	"github.com/freshetdev/freshet/pkg/provider"
)

func (r *reader) clientAssertion(a *provider.Assertion) field { return r.group(r.assertionFields(a)) }

func (r *reader) assertion(a *provider.GrantAssertion) field {
	known := r.assertionFields(&a.Assertion)
	known["issuer"], known["scope_claim"], known["claims"] = r.text(&a.Issuer), r.yesNo(&a.ScopeClaim), r.textPairs(&a.Claims)
	return r.group(known)
}

func (r *reader) assertionFields(a *provider.Assertion) map[string]field {
	return map[string]field{
		"kid": r.text(&a.KeyID), "audience": r.text(&a.Audience), "lifetime": r.duration(&a.Lifetime, notZero),
	}
}

// clientKey says so where a key stands for a secret, or the other way round: both are what the client proves itself with.
func (r *reader) clientKey(style provider.AuthStyle) {
	_, secret := r.at["client_secret"]
	where, key := r.at["client_key"]
	switch {
	case key && secret:
		r.bad["client_key"] = true
		r.fault(where, "client_key: there is a client_secret as well: a client has one way to prove itself")
	case key && style != "" && style != provider.AuthPrivateKeyJWT:
		r.bad["client_key"] = true
		r.fault(where, "client_key: auth_style %s has no use for it: choose private_key_jwt, or give client_secret", style)
	case secret && style == provider.AuthPrivateKeyJWT:
		r.bad["client_secret"] = true
		r.fault(r.at["client_secret"], "client_secret: auth_style private_key_jwt has no use for it: give client_key")
	}
}

// secret reads one reference.
func (r *reader) secret(dst *Reference) field {
	return func(path string, n ast.Node) {
		if n.Type() == ast.NullType {
			delete(r.at, path)
			return
		}
		text, _ := scalar(n)
		ref, err := ParseReference(text)
		if err != nil {
			r.wrong(path, n, "%v", err)
		}
		*dst = ref
	}
}

// textOrTexts reads one value, or a list of them.
func (r *reader) textOrTexts(dst *[]string) field {
	return func(path string, n ast.Node) {
		if _, list := n.(*ast.SequenceNode); list {
			r.texts(dst)(path, n)
			return
		}
		r.value(path, n, func(text string) { *dst = []string{text} })
	}
}
