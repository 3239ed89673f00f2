// Package credhelper speaks the protocols by which other programs ask for credentials: git's credential helpers
// (gitcredentials(7), git-credential(1)) and the exec plugins of Kubernetes clients (client.authentication.k8s.io). It only
// reads questions and writes answers; where the token comes from is the caller's business.
//
// A token leaves for a host only where somebody has said which credential that host gets, and only over TLS or on this
// machine.
//
// Concurrency: everything here is a plain function of its arguments.
package credhelper
