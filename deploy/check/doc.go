// Package check holds the deployment files against the programs and types they are written for: the chart is rendered by Helm's
// own engine and every document decoded strictly into the types of Kubernetes, the units are verified by systemd, the
// release configuration is read by goreleaser's own reader. It is a module of its own so that none of these
// is a dependency of Freshet.
//
// The go command does not see when files outside of the module change: run the tests with -count=1.
package check
