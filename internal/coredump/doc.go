// Package coredump keeps the memory of processes that hold keys off the disk.
//
// # Model
//
// A crash may leave a core dump: everything a process had in memory, keys and tokens included, in a file or in the hands of whatever program
// the system runs for it. Never is for processes that start no others. Hide is for those that do: it leaves their children what
// they had. On Linux either also keeps other processes of the same user from attaching to this one, or reading its environment
// and memory below /proc; those of root may.
//
// Concurrency: both concern the whole process, once, at its start.
package coredump
