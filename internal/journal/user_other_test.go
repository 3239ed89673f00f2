//go:build !linux

package journal_test

import "testing"

// asOrdinaryUser calls f: these tests are not run as root.
func asOrdinaryUser(_ *testing.T, _ string, f func()) { f() }
