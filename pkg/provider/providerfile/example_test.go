package providerfile_test

import (
	"fmt"
	"log"

	"github.com/freshetdev/freshet/pkg/provider/providerfile"
)

func Example() {
	f, err := providerfile.Parse("providers.yaml", []byte(`
providers:
  acme:
    auth_url: https://login.example.com/authorize
    token_url: https://login.example.com/token
    client_id: abc
    client_secret: env://ACME_SECRET
    auth_style: basic
`))
	if err != nil {
		log.Fatal(err)
	}
	definitions, err := f.Resolve(func(string) string { return "from the environment" }) // os.Getenv
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range definitions {
		fmt.Println(d.Name, d.TokenURL, d.Rotation, d.Refresh.MaxLead, d.ClientSecrets)
	}
	// Output: acme https://login.example.com/token strict 15m [[redacted]]
}

// Everything that is wrong is reported at once, and a secret that should not be there is not repeated.
func ExampleParse() {
	_, err := providerfile.Parse("providers.yaml", []byte(`
providers:
  acme:
    tokn_url: https://login.example.com/token
    client_id: abc
    client_secret: s3cret
    auth_style: basic
    limits: {rate: 50}
`))
	fmt.Println(err)
	// Output:
	// providers.yaml:4:5: provider acme: unknown key "tokn_url"; did you mean token_url?
	//    4 |     tokn_url: …
	//      |     ^
	// providers.yaml:6:20: provider acme: client_secret: want env://NAME, file://PATH or systemd://NAME; a secret itself does not belong into the file
	//    6 |     client_secret: …
	//      |                    ^
	// providers.yaml:8:20: provider acme: limits.rate: rate "50": want a number per second, minute or hour, such as 50/s or 600/m
	//    8 |     limits: {rate: 50}
	//      |                    ^
}
