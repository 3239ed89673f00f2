package deploy_test

import (
	"os"
	"strings"
	"testing"

	"github.com/freshetdev/freshet/internal/natstest"
)

// TestMain gives every role its password, as whoever starts the server does.
func TestMain(m *testing.M) {
	for _, role := range roles() {
		if err := os.Setenv(passwordVariable(role), password(role)); err != nil {
			panic(err)
		}
	}
	natstest.VerifyTestMain(m)
}

// roles are the users of the NATS configuration.
func roles() []string {
	return []string{"operator", "scheduler", "worker", "enroller", "reader", "subscriber"}
}

func passwordVariable(role string) string { return "FRESHET_" + strings.ToUpper(role) + "_PASSWORD" }

func password(role string) string { return "pass4" + role }
