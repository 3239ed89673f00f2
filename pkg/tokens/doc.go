// Package tokens is what a Go program uses to read access tokens that Freshet keeps fresh.
//
// # Model
//
// A Client reads the records of the tokens bucket and opens one field of them, the access token. It never sees a
// refresh token: it holds no key to one. What a program asks for by TokenSource, Token, Transport or OnChange is kept fresh
// behind its back and read from memory; Get reads many credentials at once, for batch work.
//
// A source, which is what the client keeps of a credential, learns of a new token from the event that Freshet publishes once
// the token is committed, and then reads the record until it sees the revision the event names: any replica may answer a
// read, and one may lag. Events are heard over core NATS, at most once. What was missed is made up for: everything is read
// again after a reconnect and after events were dropped, and each source looks by itself when its token should have been
// replaced and nothing was heard.
//
// A source that nobody asks is kept to the end of its token, for an hour at least and a day at most, and then forgotten. So
// memory grows with the credentials that are in use, by about two kilobytes each with a short token: it has no other bound. Get adds
// nothing to it.
//
// # A token that is refused
//
// Transport and Renew ask for a newer token than one that a resource server refused, and TokenFor for one that lives longer. They
// queue a refresh job for the credential, as a scheduler does: the queue takes one job per credential, whoever
// publishes it, and the job names the version it wants to be exceeded, so that however many processes ask, and however late,
// one refresh answers them all. Where the queue holds a job that may ask for less, the demand is published again, after half
// a second and then ever more rarely, until the newer version appears. A provider's rate and pauses are kept. One client asks
// for a credential at most every half minute.
//
// # Without NATS
//
// A token that is in memory is handed out to its end, NATS or no NATS. With Config.CacheFile a program can also start while
// NATS is away. The file has the tokens that are kept fresh, sealed with the access keyset, and is replaced at once (0600,
// 32 MiB at most; then those that end first are left out) within a second or so of a change. At the start a
// token from the file is handed out only when the bucket has been asked in vain, only to its end, and never in place of
// a newer one. A file that is damaged, or sealed with another key, is reported and ignored.
//
// # Invariants
//
// A token whose expiry has passed is never handed out. The warm path of a source looks at a clock kept in memory,
// a tenth of a second old at most while the process runs, and counts a token as ended half a second early.
//
// A source never goes back: not to an older (generation, version), whatever the bucket or the cache file says, and not to a
// record of an older revision. A revoked or deleted credential's token is dropped as soon as that is known.
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
// narrowed with Config.Scope). No stream or consumer is ever created, and no stream looked at: any number of readers costs the
// server their subscriptions only. Who asks for newer tokens needs to publish on these as well:
//
//	refresh.jobs.<provider>.>
//	$JS.API.CONSUMER.INFO.REFRESH_JOBS.<provider>
//
// The second tells whether the provider's lane rests, how full it is, and its rate. A denial is reported as ErrPermission at
// once, not as a timeout.
//
// # Concurrency
//
// A Client and its sources may be used by any number of goroutines. A Client owns a handful of goroutines, plus one for
// each source that is waiting for an answer, and one for each that asks for a newer token; Close ends them all and returns when
// they have ended.
package tokens
