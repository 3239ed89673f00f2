package flags_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/freshetdev/freshet/internal/flags"
)

func TestExitCodes(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	marked := flags.Usage(cause)
	for name, c := range map[string]struct {
		err  error
		want int
	}{
		"fine":           {nil, flags.ExitOK},
		"anything":       {cause, flags.ExitError},
		"usage":          {marked, flags.ExitUsage},
		"wrapped usage":  {fmt.Errorf("start: %w", marked), flags.ExitUsage},
		"nil stays fine": {flags.Usage(nil), flags.ExitOK},
	} {
		if got := flags.ExitCode(c.err); got != c.want {
			t.Errorf("%s: code %d, want %d", name, got, c.want)
		}
	}
	if marked.Error() != "cause" || !errors.Is(marked, cause) || !errors.Is(marked, flags.ErrUsage) {
		t.Errorf("marked error is %q, cause %v, usage %v", marked, errors.Is(marked, cause), errors.Is(marked, flags.ErrUsage))
	}
}
