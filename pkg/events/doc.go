// Package events is Freshet's wire contract: how credentials are named, which names exist on NATS, and
// what subscribers hear.
//
// # Model
//
// A [Credential] is one grant, PROVIDER/ACCOUNT. Its key is at once the key of its record in the KV bucket
// and the tail of its subjects, so that a NATS permission or a filter can be scoped to a provider, or to a
// path below it. [Names] is the one place that builds and reads these names, under a namespace.
//
// An [Event] is one thing that happened: a new token version, a failure, a withdrawal, a paused
// provider. It travels as a CloudEvents 1.0 message in binary content mode: the attributes are NATS headers
// (ce-id, ce-type, ce-source, …), the body is the JSON of [Data]. An event never carries a token: whoever wants
// it reads the record.
//
// There are three ways to hear events. [Live] listens on core NATS: at once, at most once, needs no
// JetStream. [Durable] reads the stream under a name and resumes where that name stopped: at least once.
// [Replay] reads what the stream still holds, and goes on with what comes if asked to.
//
// # Invariants
//
//   - One credential has one key, and one key names one credential: decoding accepts the canonical form only.
//   - The same event has the same id each time it is told, whoever tells it ([TokenEventID]). The stream drops
//     a repetition within its window, subscribers drop the others.
//   - (generation, version) of a credential only grow. Subscribers drop a token.updated that is not above what they
//     have seen, and any token event below it: it is no news. What they have seen lives in memory, for at
//     least the 100,000 credentials heard of last (about 40 MB at the very most); a program that starts anew hears a
//     repetition once more, and compares for itself where that matters.
//   - A message whose subject and data disagree is an error, never an event.
//   - Decoding tolerates what a newer version adds: headers, members, event types. Old messages decode forever;
//     testdata holds one of each.
//
// # Concurrency
//
// The values here are plain data. A [Publisher] may be used by any number of goroutines. [Live], [Durable] and [Replay]
// block, call the handler from the calling goroutine, one event after the other, and leave nothing running behind.
package events
