package refresh_test

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server/ats"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	ats.Register() // the server's shared ticker runs outside of every bubble, else virtual time would stand still
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}
