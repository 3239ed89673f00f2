package providerfile

import (
	"maps"

	"github.com/goccy/go-yaml/ast"

	"github.com/freshetdev/freshet/pkg/provider"
)

// dialect are the keys of provider.Dialect and of what else describes a provider's grants.
func (r *reader) dialect(d *provider.Definition) map[string]field {
	return map[string]field{
		"scope_separator": r.text(&d.ScopeSeparator), "scope_param": r.text(&d.ScopeParam), "client_id_param": r.text(&d.ClientIDParam),
		"auth_params": r.textPairs(&d.AuthParams), "code_params": r.textPairs(&d.CodeParams),
		"code_challenge": r.text((*string)(&d.CodeChallenge)), "token_format": r.text((*string)(&d.TokenFormat)),
		"reply": r.group(map[string]field{"tokens": r.text(&d.Reply.Tokens), "codes": r.texts(&d.Reply.Codes)}),
		"refresh_life": r.group(map[string]field{
			"idle": r.duration(&d.RefreshLife.Idle, mayBeZero), "absolute": r.duration(&d.RefreshLife.Absolute, mayBeZero),
		}),
		"refresh_ends_access": r.yesNo(&d.RefreshEndsAccess),
	}
}

// textPairs reads names with their values, over those that are there already.
func (r *reader) textPairs(dst *map[string]string) field {
	return func(path string, n ast.Node) {
		all := maps.Clone(*dst)
		r.each(path, n, func(key string, where at, n ast.Node) {
			r.at[join(path, key)] = where
			r.value(join(path, key), n, func(text string) {
				if all == nil {
					all = make(map[string]string)
				}
				all[key] = text
			})
		})
		*dst = all
	}
}

func (r *reader) yesNo(dst *bool) field {
	return func(path string, n ast.Node) {
		r.value(path, n, func(text string) {
			if text != "true" && text != "false" {
				r.wrong(path, n, "%q is neither true nor false", text)
				return
			}
			*dst = text == "true"
		})
	}
}
