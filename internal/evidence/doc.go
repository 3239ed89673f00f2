// Package evidence shows that Freshet keeps its promise where processes die, freeze and lose their network: each experiment
// runs, prints its own figures, and fails when a guarantee did not hold.
//
// # Model
//
// One experiment is one file, or a few that begin alike: a Config whose zero value is the long form, a function that
// carries it out and prints, and a constructor that gives it a name on the command line. The short form runs as a test
// of this package; the long form by
//
//	go run ./internal/evidence/run NAME [--seed N] [flags]
//
// Chance comes from the seed, which is printed: the same seed makes the same choices, though processes that run side by side
// need not meet in the same order.
//
// # Invariants
//
// The authorization server's ledger is the judge (rotations, replayed, concurrent, lost, last tries), beside the count that
// the experiment keeps itself. No figure is printed that was not counted. An experiment is able to fail: the classic
// mistakes (build tag freshet_faults, variable FRESHET_MISTAKE) turn it red, and tests show that they do.
//
// # Concurrency
//
// An experiment owns every process and goroutine it starts and has ended them when it returns. Experiments may run side by side,
// each with its own directory and servers.
package evidence
