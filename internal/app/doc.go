// Package app wires the pieces into the processes that people run: the worker, the scheduler, and both in one. The
// binaries, `freshet dev` and the tests share it.
//
// Concurrency: each process is one blocking function that joins everything it started before it returns.
package app
