// Package permissions says what each role of Freshet may do on NATS: the one table from which `freshet permissions` prints
// server configurations, which deploy/nats holds, and which `freshet doctor` probes.
//
// # Model
//
// A role is a kind of work: scheduler, worker, enroller, operator, reader or subscriber. Of returns its permissions as
// plain data: subjects to publish to and to subscribe to, in groups that say what for. A Scope narrows them to a
// provider or a tenant wherever a subject tells these apart. What is asked in a request's body instead cannot be narrowed by any
// permission; it is kept, and marked.
//
// # Accounts
//
// Processes and people of Freshet share the account that has JetStream. Readers and subscribers have accounts of their own, which
// import what they use: within one account whoever may ask the server something may name any subject for the answer, a
// record's as well, and no permission binds the server's answer. Exports and Imports say what crosses.
//
// # Invariants
//
//   - Every role has inboxes of its own: an inbox that all can read would show everybody's replies to everybody.
//   - Nothing is denied by name: what is not listed is refused.
//
// The package has no state; everything in it may be used concurrently.
package permissions
