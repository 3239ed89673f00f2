package agent_test

import (
	"testing"

	"github.com/freshetdev/freshet/internal/natstest"
)

// TestMain starts the embedded servers' shared clock before any test counts goroutines.
func TestMain(m *testing.M) { natstest.VerifyTestMain(m) }
