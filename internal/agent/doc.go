// Package agent gives access tokens to programs that do not speak NATS: as files, over HTTP on this machine, and in the
// environment of a command.
//
// # Model
//
// An agent is one tokens.Client, which holds the access keyset and no other, and what a Config asks for: files, each of
// which has the newest token of one credential, and a Server. Both hand out the last good token while NATS is away.
// Direct is the client in the words of the HTTP interface, and Remote the same from the other end of it, so that whoever
// needs a token does not care whether an agent is running.
//
// # Files
//
// A file is replaced at once (written beside it, synced, renamed; 0600), and only when its content changes: whoever reads
// it sees a whole token, and a restart of the agent disturbs nobody. What Config has follow a change runs after the rename,
// one at a time for each file, for a bounded time, without a shell unless asked. The token is in none of its arguments or
// variables, and cut out of its output before that is logged. A file is never taken away: a credential that is
// withdrawn keeps its last token in it, which the provider refuses.
//
// # HTTP
//
// openapi.yaml, which a Server serves, describes the interface. Listeners are Unix sockets and loopback addresses, never
// others. A request must carry the header X-Freshet-Token: true, which a page in a browser and most request forgeries
// cannot send; must not have come through a proxy (X-Forwarded-For, Forwarded); and must call the agent localhost or by a
// loopback address, so that no foreign name that resolves to one (DNS rebinding) will do. Who asks is known by the user and
// group of the process at the other end of a Unix socket, or by the bearer secret on loopback; each Caller has a list of
// what it may have. Without Callers a Unix socket serves its owner and root, and loopback is not listened on.
//
// # Concurrency
//
// Run owns a goroutine for each file and each listener and waits for them. A Direct, a Remote and a Server's handler may be
// used by any number of goroutines.
package agent
