// Package authserver is a strict OAuth 2.0 authorization server that lives in
// one process and in memory: the local provider of development, tests and
// benchmarks. It approves every authorization request without asking anybody,
// so it must never guard anything real.
//
// # Model
//
// An account holds grants. A grant is a family of tokens: the refresh token
// handed out first, all its successors, and the access tokens that came with
// them. Every token names its family and its place in it and is authenticated
// by a MAC, so the server keeps a few dozen bytes for each recent refresh token
// and nothing for an access token; any older token of a family is still
// recognised, as spent, however many rotations ago it was issued.
//
// What a spent refresh token is still good for is the rotation class
// ([Rotation]); using it outside that allowance ends the whole family
// (RFC 9700 section 4.14.2). The decision is a pure function in rotation.go.
//
// Faults ([Fault]) make the server misbehave on purpose, before a request takes
// effect or after it: in the second case the rotation has happened and only its
// answer is lost. The [Ledger] is the judge: it counts what clients did to
// their refresh tokens, and what the server did to them.
//
// # Invariants
//
// A refresh token of the classes grace, until_used and strict that was answered
// with a successor is spent for ever: a fault never takes that back. A refresh
// that is refused, or that meets a fault before it takes effect, spends nothing.
// No token appears in the ledger, in an error or in an anomaly.
//
// # Concurrency
//
// A Server and a Pipe may be used by any number of goroutines. Each family has
// a lock of its own that is never held while waiting; there are no background
// goroutines, so a Server needs no closing and runs in virtual time inside a
// testing/synctest bubble.
package authserver
