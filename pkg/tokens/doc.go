// Package tokens is what a Go program uses to read access tokens that Freshet keeps fresh.
//
// # Model
//
// A Client reads the records of the tokens bucket and opens one field of them, the access token. It never sees a
// refresh token: it holds no key to one. Client.TokenSource gives a source for one credential that answers from memory
// and is kept fresh behind the program's back; Client.Get reads many credentials at once, for batch work.
//
// A source learns of a new token from the event that Freshet publishes once the token is committed, and then reads the
// record until it sees the revision the event names: any replica may answer a read, and one may lag. Events are heard
// over core NATS, at most once. What was missed is made up for: everything is read again after a reconnect and
// after events were dropped, and each source looks by itself when its token should have been replaced and
// nothing was heard. A source that nobody asks for long is forgotten.
//
// # Invariants
//
// A token whose expiry has passed is never handed out. The warm path of a source looks at a clock kept in memory,
// a tenth of a second old at most while the process runs, and counts a token as ended half a second early.
//
// A source never goes back: not to an older (generation, version), whatever the bucket says, and not to a record of an
// older revision. A revoked or deleted credential's token is dropped as soon as that is known.
//
// No error, and nothing that prints a Token, shows token material. A *oauth2.Token is the bare token: do not print it.
//
// # Permissions
//
// Beside its inbox a reader may be denied everything but to publish on
//
//	$JS.API.DIRECT.GET.KV_tokens.$KV.tokens.<provider>.>
//
// and to subscribe to token.updated, token.reauth_required, token.revoked and token.deleted (".>" behind each, or
// narrowed with Config.Scope). No stream or consumer is ever created or looked at. A denial is reported as
// ErrPermission at once, not as a timeout.
//
// # Concurrency
//
// A Client and its sources may be used by any number of goroutines. A Client owns a handful of goroutines, plus one for
// each source that is waiting for an answer; Close ends them all and returns when they have ended.
package tokens
