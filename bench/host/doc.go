// Package host starts programs on this machine, watches what they use of it, and provides the servers that the comparison
// needs: Redis and PostgreSQL from Debian's packages, each in a directory of its own.
//
// # Model
//
// A Process is a program with its standard input and output as lines, so that the harness can give it orders and wait for
// answers. Usage is read from /proc. No process outlives the harness: Kill ends it, and the kernel does where the harness
// dies.
//
// # Concurrency
//
// A Process belongs to one goroutine, but for Kill and what only reads.
package host
