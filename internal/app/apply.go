package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Applied is what Apply did, or would do, about one provider.
type Applied struct {
	Provider string
	Action   broker.Action // create, update or ok
	Found    []string      // the fields that came from the issuer's metadata
	Lane     broker.Change
	Warnings []string
}

// Apply writes a provider's definition, its client secrets sealed, and creates or updates its lane. A pause that is in
// force stays.
func Apply(ctx context.Context, b *broker.Broker, k *seal.Keyset, d provider.Definition, dryRun bool) (Applied, error) {
	out := Applied{Provider: d.Name, Action: broker.ActionOK, Found: d.Discovered}
	d = d.WithDefaults()
	if err := errors.Join(d.Validate(), refresh.CheckKeys(&d)); err != nil {
		return out, err
	}
	if d.TokenURL == "" {
		return out, fmt.Errorf("apply provider %s: token_url: missing: give it, or an issuer that publishes it", d.Name)
	}
	if d.Rotation == provider.RotationGrace && !d.GraceUsable() {
		out.Warnings = append(out.Warnings, "rotation_grace is too short for a second try: treated as strict")
	}
	var err error
	// The lane comes first: whoever sees the definition looks for it.
	if out.Lane, err = b.EnsureLane(ctx, d, dryRun); err != nil {
		return out, fmt.Errorf("apply provider %s: %w", d.Name, err)
	}
	before, _, err := b.Provider(ctx, d.Name)
	out.Warnings = append(out.Warnings, strangers(before.Definition, d)...)
	if err == nil && d.Grant == provider.GrantAuthorizationCode {
		out.Warnings = append(out.Warnings, scopeWarnings(before.Scopes, d.Scopes)...)
	}
	if out.Action, err = putDefinition(ctx, b, k, d, dryRun); err != nil {
		return out, fmt.Errorf("apply provider %s: %w", d.Name, err)
	}
	if dryRun {
		return out, nil
	}
	if err = b.SyncPause(ctx, d.Name); err != nil { // an entry that could not be read may have held a pause
		return out, fmt.Errorf("apply provider %s: %w", d.Name, err)
	}
	if out.Action == broker.ActionUpdate {
		err = probeAgain(ctx, b, d.Name)
	}
	return out, err
}

// scopeWarnings say that what was granted stays what it is.
func scopeWarnings(have, want []string) []string {
	fresh := refresh.Narrowed(want, have)
	if len(fresh) == 0 {
		return nil
	}
	return []string{"new scopes, which credentials get with the next login only: " + strings.Join(fresh, " ")}
}

// strangers say which addresses are shown tokens, are on another host than the token endpoint, and are new.
func strangers(have, want provider.Definition) (warnings []string) {
	for _, e := range []struct{ field, have, want string }{
		{"revoke_url", have.RevokeURL, want.RevokeURL}, {"introspect_url", have.IntrospectURL, want.IntrospectURL},
	} {
		if e.want != "" && e.want != e.have && hostOf(e.want) != hostOf(want.TokenURL) {
			warnings = append(warnings, fmt.Sprintf("%s is on another host than token_url, %s, which will be shown refresh tokens", e.field, hostOf(e.want)))
		}
	}
	return warnings
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// probeAgain lets a lane run again that rests because the provider refused our client: what was just applied may mend that.
func probeAgain(ctx context.Context, b *broker.Broker, name string) error {
	e, _, err := b.Provider(ctx, name)
	if err != nil || e.Pause == nil || e.Pause.Reason != provider.PauseMisconfigured {
		return err
	}
	return ResumeLane(ctx, b, name, "apply", "freshet/apply")
}

// putDefinition writes the entry unless it says the same already. It starts over when somebody else wrote it
// meanwhile. An entry that cannot be read is written anew: grants know their token URL themselves.
func putDefinition(ctx context.Context, b *broker.Broker, k *seal.Keyset, wanted provider.Definition, dryRun bool) (broker.Action, error) {
	for {
		d := wanted
		entry, revision, err := b.Provider(ctx, d.Name)
		if err == nil {
			// An entry that was sealed with another keyset allows no moves.
			_ = entry.OpenSecrets(k, b.Names().ProvidersBucket())
			d, err = keepMoves(ctx, b, entry, d)
		}
		action := broker.ActionUpdate
		switch {
		case errors.Is(err, broker.ErrUnknownProvider):
			action = broker.ActionCreate
		case errors.Is(err, provider.ErrMalformed): // applying again is what mends it
		case err != nil:
			return "", err
		case sameDefinition(entry, d, k, b.Names().ProvidersBucket()):
			return broker.ActionOK, nil
		}
		entry.Definition = d
		if err := entry.SealSecrets(k, b.Names().ProvidersBucket()); err != nil {
			return "", err
		}
		if dryRun {
			return action, nil
		}
		if _, err = b.PutProvider(ctx, d.Name, entry, revision); !errors.Is(err, refresh.ErrConflict) {
			return action, err
		}
	}
}

// sameDefinition reports whether applying d would change nothing, its secrets included.
func sameDefinition(have provider.Entry, d provider.Definition, k *seal.Keyset, bucket string) bool {
	if have.OpenSecrets(k, bucket) != nil {
		return false
	}
	same := func(a, b seal.Secret) bool { return a.Equal(b) }
	return slices.EqualFunc(have.Definition.ClientSecrets, d.ClientSecrets, same) &&
		have.Definition.AssertionKey.Equal(d.AssertionKey) && slices.Equal(have.Definition.MovedFrom, d.MovedFrom) &&
		bytes.Equal(plainForm(have.Definition), plainForm(d))
}

// plainForm is everything of a definition but its secrets.
func plainForm(d provider.Definition) []byte {
	data, err := json.Marshal(d)
	if err != nil {
		panic("encode definition: " + err.Error()) // plain data: cannot fail
	}
	return data
}
