package provider_test

import (
	"fmt"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
)

// Everything that is wrong is reported at once.
func ExampleDefinition_Validate() {
	d := provider.Definition{
		Name: "acme", TokenURL: "http://login.example.com/token", ClientID: "abc", AuthStyle: provider.AuthBasic,
	}
	fmt.Println(d.Validate())
	// Output:
	// provider acme: token_url: plain http would show tokens to the network: want https (http is for localhost, 127.0.0.0/8 and ::1 only)
	// provider acme: client_secret: missing: auth_style basic sends one; a public client has auth_style none
}

// A rotation grace of half a minute leaves each of two tries a little over seven seconds.
func ExampleDefinition_Timing() {
	d := provider.Definition{Rotation: provider.RotationGrace, RotationGrace: provider.Duration(30 * time.Second)}
	t := d.Timing()
	fmt.Println(d.GraceUsable(), t.Timeout, t.ClaimTTL, t.Quarantine, t.AckWait)
	// Output: true 7.384s 9.23s 7.384s 21.614s
}
