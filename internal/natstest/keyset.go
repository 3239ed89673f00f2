package natstest

import (
	"testing"

	"github.com/freshetdev/freshet/pkg/seal"
)

// Keyset returns a new keyset of one key.
func Keyset(tb testing.TB) *seal.Keyset {
	tb.Helper()
	data, err := seal.GenerateKeyset()
	if err != nil {
		tb.Fatal(err)
	}
	k, err := seal.LoadKeyset(data)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}
