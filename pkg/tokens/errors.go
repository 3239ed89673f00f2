package tokens

import (
	"errors"

	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// What can keep a token from being handed out. Every error of a source and of Get wraps one of these, except for a
// malformed id (events.ErrName) and a record that does not open (seal.ErrUnknownKey, seal.ErrCorrupt) or cannot be
// read (refresh.ErrMalformed).
var (
	// ErrNotFound: there is no such credential, or it was removed.
	ErrNotFound = errors.New("no such credential")
	// ErrRevoked: the grant was withdrawn.
	ErrRevoked = errors.New("grant is revoked")
	// ErrReauthRequired: the token has ended, and only a person can bring a new one.
	ErrReauthRequired = errors.New("a person must authorize again")
	// ErrExpired: the token has ended, or there has been none yet, and no newer one came in time.
	ErrExpired = errors.New("no unexpired token")
	// ErrUnavailable: the bucket could not be asked. It may pass.
	ErrUnavailable = errors.New("tokens cannot be read")
	// ErrPermission: the NATS user may not do what reading takes. The text names the subject.
	ErrPermission = errors.New("permission denied by NATS")
	// ErrNotRenewed: a newer token was asked for and has not come, or it was asked for a moment ago.
	ErrNotRenewed = errors.New("no newer token")
	// ErrClosed: the Client is closed.
	ErrClosed = errors.New("client is closed")
)

// settled reports whether err is an answer: asking again at once would give the same.
func settled(err error) bool {
	for _, target := range []error{
		ErrNotFound, ErrRevoked, ErrReauthRequired, ErrPermission, ErrClosed,
		seal.ErrUnknownKey, seal.ErrCorrupt, refresh.ErrMalformed,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// withdrawn reports whether err says that the token must not be used any more, whatever its expiry.
func withdrawn(err error) bool { return errors.Is(err, ErrRevoked) || errors.Is(err, ErrNotFound) }
