// Package web lets many people connect their accounts in a browser: the pages of `freshet web`.
//
// # Model
//
// A program that is trusted asks the admin listener for a link, for a provider and, as a rule, an account of it. Whoever opens the link
// at the public listener is sent to the provider, agrees there, comes back to the provider's own callback address, and the
// credential is stored. Nothing is kept in the process: a link carries its content sealed, and what is needed on the way
// back (PKCE verifier, issuer, browser) lies sealed in the bucket of enrolments, so that any instance takes any request.
//
// # Invariants
//
// A link ends, connects once, and has few sessions at a time. A state has 256 random bits, lives ten minutes, belongs to one browser by a cookie and to one
// provider by the path, and is taken once, by compare-and-set. A code is redeemed with the verifier of the session whose
// state it came with. An answer that names another issuer is refused, and so is, for a link that names its account, one
// from a provider that says that somebody else agreed. Whatever is refused gets the same page with the same status; the
// reason is in the log. No token, code, state or verifier is in a page, a log or a URL that is made here, but for the state
// and the challenge in the provider's.
//
// The admin listener is on loopback, or it asks for TLS and for a token or a certificate.
//
// # Concurrency
//
// Run returns when everything that it started has ended. Its handlers serve any number of requests at once.
package web
