//go:build !evidence

package fleet_test

// userProcesses is how many programs use one credential at once: a tenth of what the evidence has.
const userProcesses = 10
