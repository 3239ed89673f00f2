//go:build race

package app_test

// raceDetector is true under the race detector, which makes virtual days long.
const raceDetector = true
