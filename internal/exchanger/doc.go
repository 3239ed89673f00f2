// Package exchanger is a small process of its own that owns the HTTP exchange with token endpoints, and the client
// with which workers use it. A worker that is killed in the middle of a provider's answer loses nothing: the
// exchanger has the answer.
//
// # Model
//
// Each attempt id has one life here:
//
//	request ──> intent journalled ──> POST ──> outcome journalled ──> held ──acknowledged──> known ──> forgotten
//
// An intent says: from here on a byte may have been sent. What is found in the journal as an intent without an outcome
// is given the outcome "sent, and no reply". A held outcome is sealed as a worker's journal seals it. Its requester gets
// it; what nobody waits for is given to whichever worker asks for held outcomes. Either acknowledges it once it is in
// the worker's own journal. The intent is then marked, so that it is not taken for one that was cut short.
//
// What was handed over and not acknowledged is offered to collectors after Config.Linger: a worker that is alive comes
// back, or acknowledges, sooner. Two workers that get the same outcome do no harm: a commit happens once.
//
// # Invariants
//
//   - At most one POST for an attempt id, ever. Before the first byte the intent is in the journal. A request for a known id
//     never posts: it waits for the one outcome, or gets it.
//   - Nothing is sent after the request's latest instant. That is measured by the wall clock, by the clock that counts
//     since boot (CLOCK_BOOTTIME, one for all processes of a host), and by this process's own; the earliest decides.
//     An instant of an earlier boot is past.
//   - An id is forgotten only when its deadline is keepKnown past by the clock since boot, which never goes back; its
//     latest instant is before that. So a forgotten id cannot be posted again.
//   - A request is bound to the state directory it was first sent to, by the store's id. Another directory, or one whose
//     journal was damaged, refuses it if it does not know the attempt.
//   - An outcome is journalled before it is handed over, and kept until it is acknowledged. A client that goes away ends
//     nothing.
//
// # Protocol
//
// HTTP/1.1 over a Unix socket, JSON bodies. Bytes are base64.
//
//	POST /v1/attempts/ID     call → 200 held | refusal
//	GET  /v1/attempts/ID     → 200 held | refusal: what has become of it so far
//	GET  /v1/held?wait=5s    → 200 {"status": status, "held": [held, …]}; waits so long for the first one
//	POST /v1/acknowledged    {"ids": [ID, …]} → 204
//	GET  /v1/status          → 200 status
//
//	call    {"ticket": …, "store": text, "latest": moment, "deadline": moment, "token_url": …, "client_id": …,
//	         "auth_style": …, "grant": …, "scopes": […], "client_secret": …, "refresh_token": …, and as the definition has
//	         them: "resource", "audience", "token_params", "issuer", "client_assertion", "assertion", "assertion_key",
//	         "private_network"; "subject" of the credential}
//	held    {"id": ID, "key": credential key, "data": sealed outcome}
//	moment  {"wall": ns since 1970, "boot": ns since boot, "boot_id": text}
//	status  {"store": text, "proof": sealed, "refusing": why no attempt is taken, "in_flight": n, "held": n}
//	refusal {"refused": word, "detail": text}, status 4xx or 5xx
//
// The words of a refusal: late (latest instant passed, and this attempt was never taken), stale (so old that this cannot
// be told any more), gone (its outcome was acknowledged), unknown (asked after, and never taken), foreign (another store),
// busy, stopping, full, clocks, bad.
// None of them posts.
//
// # Secrets
//
// The refresh token, the client secret and private keys cross the socket in the clear. Assertions are made here, for the one POST
// of an attempt and just before it; the keys are in the sealed definitions, which the grant keyset opens, so they are
// nothing that this process could not have. The socket file is of mode 0600: whoever can
// open it is the same user as the worker, or root, and could read the worker's memory and keysets as well. They are in
// no log, no error and no file; the journal has intents, which are tickets and instants, and sealed outcomes.
//
// # Concurrency
//
// [Server] and [Client] may be used by any number of goroutines; [Server.Run] and [Client.Run] are called once each.
// Server.Run owns one goroutine for each POST in flight and waits for all of them. The table of attempts has one lock, which
// is never held during I/O.
package exchanger
