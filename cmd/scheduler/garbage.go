package main

import "runtime/debug"

const (
	// perCredential is what a credential takes in memory, in bytes: see package schedule.
	perCredential = 100
	// readingRoom and livingRoom are how many bytes of garbage may gather between two collections. The index holds no pointers: collecting
	// it costs next to nothing, but each record that is read leaves two kilobytes behind.
	readingRoom, livingRoom = 64 << 20, 24 << 20
)

func whileReading(credentials int) { debug.SetGCPercent(percent(readingRoom, credentials, 400)) }

// afterReading makes the process as small as it stays.
func afterReading(credentials int) {
	debug.SetGCPercent(percent(livingRoom, credentials, 25))
	debug.FreeOSMemory()
}

// percent is how much the heap may grow between two collections.
func percent(room, credentials, most int) int {
	const least = 10
	return min(max(room*100/max(credentials*perCredential, 1), least), most)
}
