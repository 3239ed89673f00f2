package audit

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/user"
	"strings"

	"github.com/nats-io/nats.go"
)

// ActorOf describes this process and its user on NATS.
func ActorOf(program string, nc *nats.Conn) Actor {
	a := Actor{Program: program, UID: os.Getuid()}
	if u, err := user.Current(); err == nil {
		a.OSUser = u.Username
	}
	a.Host, _ = os.Hostname() // without a name there is none to write
	if nc != nil {
		a.NATSUser = natsUser(nc)
	}
	return a
}

// natsUser is the name that the connection shows: a user, or the name or public key of a signed user.
func natsUser(nc *nats.Conn) string {
	o := nc.Opts
	if o.UserJWT != nil {
		if token, err := o.UserJWT(); err == nil {
			return userOf(token)
		}
	}
	return cmp.Or(o.User, o.Nkey)
}

// userOf reads the name in a signed user (a JWT, which is no secret), else its public key.
func userOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Name    string `json:"name"`
		Subject string `json:"sub"`
	}
	if err != nil || json.Unmarshal(data, &claims) != nil {
		return ""
	}
	return cmp.Or(claims.Name, claims.Subject)
}
