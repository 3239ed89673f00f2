package natstest

import (
	"os"
	"testing"

	"github.com/nats-io/nats-server/v2/server/ats"
	"go.uber.org/goleak"
)

// VerifyTestMain runs a package's tests, with the server's shared clock outside of every bubble, and fails when goroutines are left
// behind. It does not return: a TestMain ends with it.
func VerifyTestMain(m *testing.M) {
	ats.Register()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		ats.Unregister()
		os.Exit(code)
	}), goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}
