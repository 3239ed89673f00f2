// Package rewrap moves what is stored from old keys to new ones while everything runs, and says what still needs which key.
//
// # Model
//
// A ciphertext names the key that sealed it. Run reads all provider definitions and all records and seals anew, by
// compare-and-set, those that another than the primary key has sealed. A Survey counts ciphertexts by key without opening any:
// those of records, provider definitions, enrolments under way, and the journals of workers and exchangers.
//
// # Invariants
//
//   - Nothing but ciphertexts changes: no version, no claim, no doubt, nothing that a scheduler sees. A worker whose attempt is under
//     way finds its own claim when it commits, and goes on.
//   - There is no state beside the records: whoever is killed, at any instruction, starts again, and what is done is not done twice.
//   - What does not open stays as it is and is named.
//   - Journals are read, never written: their entries go by themselves. Sessions and links of enrolments end by themselves.
//
// # Concurrency
//
// Run writes from several goroutines, which end before it returns; its callbacks are called one at a time. A Survey belongs to one
// goroutine.
package rewrap
