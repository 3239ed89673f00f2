package main_test

import (
	"bytes"
	"testing"
	"time"

	main "github.com/freshetdev/freshet/cmd/freshet"
)

func TestAnImportSaysHowFarItIsNowAndThen(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	progress := main.ImportProgress(&out)
	now := time.Date(2026, time.March, 4, 12, 0, 0, 0, time.UTC)
	for i := 1; i <= 25; i++ { // three seconds' work
		progress(i, i/10, now)
		now = now.Add(125 * time.Millisecond)
	}
	const want = "1 imported, 0 bad so far\n9 imported, 0 bad so far\n17 imported, 1 bad so far\n25 imported, 2 bad so far\n"
	if out.String() != want {
		t.Errorf("said\n%swant\n%s", out.String(), want)
	}
}
