package web

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Bounds of a link's life.
const (
	defaultLinkLife = time.Hour
	// maxLinkLife leaves the mark of a link that was used the time to outlive it.
	maxLinkLife = broker.EnrollmentsMaxAge - time.Hour
)

// anyIdentity is the identity of a link for whoever agrees.
const anyIdentity = "*"

// link is permission to connect an account. It is sealed with the grant keyset: every instance can read it, nobody else can
// read or make one.
type link struct {
	ID        string    `json:"id"`
	Provider  string    `json:"-"` // it is in the path, and in what the seal is bound to
	Account   string    `json:"account,omitempty"`
	Identity  string    `json:"identity,omitempty"`
	ReturnURL string    `json:"return_url,omitempty"`
	Ends      time.Time `json:"ends"`
}

// newLink is a link that nobody has used.
func newLink(providerName string, ends time.Time) link {
	return link{ID: rand.Text(), Provider: providerName, Ends: ends}
}

// usedKey is the entry that stands for a link that was used.
func (l link) usedKey() string { return "used_" + l.ID }

// sealed is the text that a link's URL carries.
func (l link) sealed(k *seal.Keyset, bucket string) (string, error) {
	data, err := json.Marshal(l)
	if err != nil {
		return "", fmt.Errorf("write link: %w", err)
	}
	ciphertext, err := k.Seal(data, linkBinding(bucket, l.Provider))
	return base64.RawURLEncoding.EncodeToString(ciphertext), err
}

func linkBinding(bucket, providerName string) seal.Binding {
	return seal.Binding{Bucket: bucket, Key: providerName, Field: "link"}
}

// errLink: the text is no link of this provider.
var errLink = errors.New("no such link")

// openLink reads the text of a link.
func openLink(k *seal.Keyset, bucket, providerName, text string) (link, error) {
	ciphertext, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return link{}, errLink
	}
	data, err := k.Open(ciphertext, linkBinding(bucket, providerName))
	if err != nil {
		return link{}, err
	}
	l := link{Provider: providerName}
	if json.Unmarshal(data, &l) != nil {
		return link{}, errLink
	}
	return l, nil
}

// takes reports whether the link is for whoever agreed. An identity that was asked for must be shown. That of an account is not
// asked for where a provider does not say who agreed, since nobody can know better.
func (l link) takes(who enroll.Identity) bool {
	switch {
	case l.Identity == anyIdentity:
		return true
	case l.Identity != "":
		return who.Shows(l.Identity)
	case !who.Known():
		return true
	case l.Account != "":
		return who.Is(l.Account)
	}
	return true // the account is named after whoever agreed
}

// asksWho reports whether it matters who agrees.
func (l link) asksWho() bool { return l.Account == "" || l.Identity != anyIdentity }

// markLife is how long the mark of a link that is used now must stay: a session that began just before the link's end may come
// back sessionLife later, and takes storeWithin to get here; a minute is for clocks.
func (l link) markLife(now time.Time) time.Duration {
	return max(0, l.Ends.Sub(now)) + sessionLife + storeWithin + time.Minute
}

// use marks a link as used, once.
func (s *Server) use(ctx context.Context, l link) error {
	err := s.broker.MarkEnrollment(ctx, l.usedKey(), l.markLife(time.Now()))
	if errors.Is(err, refresh.ErrConflict) {
		return refuse(reasonLinkUsed, nil)
	}
	if err != nil {
		return refuse(reasonNATS, err)
	}
	return nil
}

// spare makes a link that is marked as used good again: nothing was stored for it. Who holds the mark does it, so a link is still used
// once. Where that fails the link stays used.
func (s *Server) spare(ctx context.Context, l link) {
	if err := s.broker.ReleaseEnrollment(ctx, l.usedKey()); err != nil {
		s.log.Warn().Err(err).Str("link", l.ID).Msg("a link that nothing was stored for stays used: make another one")
	}
}

// checkReturnURL says what is wrong with an address to send a person to.
func checkReturnURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case address == "":
		return nil
	case err != nil || u.Host == "" || u.User != nil || len(address) > 2048:
		return errors.New("return_url: want an absolute URL of at most 2048 bytes, without a user")
	case u.Scheme == "https", u.Scheme == "http" && provider.Loopback(u.Hostname()):
		return nil
	default:
		return errors.New("return_url: want https (http is for loopback only)")
	}
}

// hint tells the provider whose agreement is wanted; a link for anybody hints at nobody.
func (l link) hint() string {
	if l.Identity == anyIdentity {
		return ""
	}
	_, name := enroll.ParseIdentity(l.Identity)
	return cmp.Or(name, l.Account)
}
