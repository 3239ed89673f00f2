package seal_test

import (
	"errors"
	"fmt"
	"log"

	"github.com/freshetdev/freshet/pkg/seal"
)

// A ciphertext opens only in the place it was sealed for.
func Example() {
	data, err := seal.GenerateKeyset() // once; kept in a file that only its user may read
	if err != nil {
		log.Fatal(err)
	}
	keyset, err := seal.LoadKeyset(data)
	if err != nil {
		log.Fatal(err)
	}
	alice := seal.Binding{Bucket: "tokens", Key: "acme.alice", Field: "access", Generation: 1, Version: 7}
	ciphertext, err := keyset.Seal([]byte("an access token"), alice)
	if err != nil {
		log.Fatal(err)
	}
	plaintext, err := keyset.Open(ciphertext, alice)
	fmt.Println(string(plaintext), err)

	bob := alice
	bob.Key = "acme.bob"
	_, err = keyset.Open(ciphertext, bob)
	fmt.Println(errors.Is(err, seal.ErrCorrupt))
	// Output:
	// an access token <nil>
	// true
}

func ExampleSecret() {
	token := seal.NewSecret("an access token")
	fmt.Printf("%v %+v %q\n", token, struct{ Token seal.Secret }{token}, token)
	fmt.Println(token.Reveal())
	// Output:
	// [redacted] {Token:[redacted]} [redacted]
	// an access token
}
