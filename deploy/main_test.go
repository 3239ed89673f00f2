package deploy_test

import (
	"os"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server/ats"
	"go.uber.org/goleak"
)

// TestMain gives every role its password, as whoever starts the server does.
func TestMain(m *testing.M) {
	for _, role := range roles() {
		if err := os.Setenv(passwordVariable(role), password(role)); err != nil {
			panic(err)
		}
	}
	ats.Register()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		ats.Unregister()
		os.Exit(code)
	}), goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}

// roles are the users of the NATS configuration.
func roles() []string {
	return []string{"operator", "scheduler", "worker", "enroller", "reader", "subscriber"}
}

func passwordVariable(role string) string { return "FRESHET_" + strings.ToUpper(role) + "_PASSWORD" }

func password(role string) string { return "pass4" + role }
