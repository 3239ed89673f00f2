package tokens_test

import (
	"testing"

	"github.com/freshetdev/freshet/internal/natstest"
)

// TestMain starts the embedded servers' shared clock outside of every synctest bubble.
func TestMain(m *testing.M) { natstest.VerifyTestMain(m) }
