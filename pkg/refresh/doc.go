// Package refresh is the heart of Freshet: what a credential's record holds, when it is due, what a worker may do with it,
// and how one refresh is carried out so that no refresh token is presented twice and no answer is lost.
//
// # The life of one refresh
//
// [Decide] looks at the record and says what a job may do; it is pure. An attempt then claims the record by a conditional
// write, presents the refresh token once ([Exchanger]), puts whatever came of it into the worker's [Journal] before
// reading it, commits it to the record by a second conditional write ([Store]), and tells ([Teller]). [Engine.Do] is that
// whole line; [Engine.Recover] takes it up again from the journal.
//
// # Invariants
//
//   - Nothing is presented without a claim in the record that names the attempt, nor when so little of the claim is left that
//     the answer might come after its end.
//   - Nothing fallible stands between an answer and its journal entry, nor between that and the commit.
//   - Where a write's outcome is not known, a read from the leader decides, by the attempt's id. It is never repeated blindly.
//   - A dead claim and an unknown outcome are remembered as the record's doubt until the provider has spoken; what may be
//     presented meanwhile depends on the provider's rotation class alone.
//   - (generation, version) of a record only grow.
//
// The package knows neither NATS nor logging: it declares the interfaces it needs and returns errors and Results.
//
// # Concurrency
//
// An [Engine] and an [HTTPExchange] serve any number of goroutines. Everything else is plain data.
package refresh
