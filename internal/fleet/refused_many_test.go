//go:build evidence

package fleet_test

// userProcesses is how many programs use one credential at once.
const userProcesses = 100
