// Package dashboard shows in a browser how the credentials are: the pages of `freshet web`'s admin listener, of `freshet run --web`
// and of `freshet dev`.
//
// # Model
//
// Run follows the headers of the records, the providers' entries and the events, and keeps of them what the pages show: an Index
// of all credentials in the order of their keys, the last events, and a count of outcomes for each minute of the last hour. A
// page is a list of parts, rendered here, readable without JavaScript. The same parts, rendered again, are what a browser
// that listens gets (server-sent events), each only when it has changed. Lists are by page: the whole list is never sent.
//
// An Index costs about 75 bytes for a credential whose key has 30, so 75 MB for a million; a search through the names of a
// million takes 10 to 25 ms (BenchmarkIndex). The events cost what events.Replay remembers, 40 MB at most.
//
// # Invariants
//
//   - No sealed member is opened, no keyset is here: of a record only what its metadata says is shown.
//   - Pages load nothing from elsewhere and run no script but their own; the policy (CSP) says so to the browser.
//   - What changes something is a POST that came from this very origin, and there is little of it: a connect link, a lane's pause.
//     Who may see the pages at all is checked before: Handler goes behind the guard of internal/web.
//   - The same subscriptions for all browsers, and for each browser no queue: who is slow misses what was in between.
//
// # Concurrency
//
// A Dashboard serves any number of requests at once. Run blocks until its context ends; listening browsers are let go then.
package dashboard
