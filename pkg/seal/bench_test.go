package seal_test

import (
	"strings"
	"testing"
)

// token is as long as an access token that is a JWT.
var token = strings.Repeat("x", 1200)

func BenchmarkSeal(b *testing.B) {
	k, _ := generate(b)
	plain := []byte(token)
	b.SetBytes(int64(len(plain)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Seal(plain, place); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	k, _ := generate(b)
	c := sealed(b, k, token, place)
	b.SetBytes(int64(len(token)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Open(c, place); err != nil {
			b.Fatal(err)
		}
	}
}
