// Package enroll brings grants in: a person's agreement (authorization code with PKCE over a loopback redirect) and bulk
// import. It also takes them out again, and pauses them.
//
// # Model
//
// However a grant was come by, it is a NewGrant, and Writer.Enroll makes it the credential's next generation: the version
// goes on counting, what belonged to the old grant (claim, doubt, failure) goes, what belongs to the credential
// (pause, policy) stays. A refresh in flight for the old grant finds another grant id and gives up.
//
// Login runs one authorization code flow. A Receiver is the loopback listener that browsers are sent back to; it serves any
// number of logins at once and tells them apart by their state. Import reads JSON lines.
//
// # Invariants
//
// (generation, version) of a record only grow. Every write is conditional on the revision that was read, carries the
// event it stands for in its announce header, and is told once it is known to be stored. A write whose outcome is not
// known is looked up by its grant id, never repeated blindly.
//
// A state is 256 random bits and good once. An authorization code is redeemed with the verifier of the login that asked for
// it, at that login's provider only. No error, page or report shows token material, a code, a state or a verifier.
//
// # Concurrency
//
// A Writer and a Receiver may be used by any number of goroutines. Login and Import return when every goroutine they
// started has ended.
package enroll
