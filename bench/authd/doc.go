// Package authd is the authorization server that every contestant talks to, as a process of its own, and the client by
// which the harness makes grants there and asks for the verdict.
//
// # Model
//
// One process serves several token endpoints, each on a port of its own and with a rotation class and latency of its own:
// what may be compared goes to the same one. A further port takes the harness's orders: grants in bulk, the
// ledger, and which of the refresh tokens in somebody's store are dead.
//
// # Concurrency
//
// A Client may be used by any number of goroutines.
package authd
