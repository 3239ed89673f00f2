package refresh_test

import (
	"slices"
	"testing"

	"github.com/freshetdev/freshet/pkg/refresh"
)

func TestNarrowed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ asked, granted, want []string }{
		"all granted":        {[]string{"a", "b"}, []string{"b", "a"}, nil},
		"more than asked":    {[]string{"a"}, []string{"a", "b"}, nil},
		"one missing":        {[]string{"a", "b", "c"}, []string{"a", "c"}, []string{"b"}},
		"none granted":       {[]string{"a", "b"}, nil, []string{"a", "b"}},
		"asked twice":        {[]string{"a", "a"}, nil, []string{"a"}},
		"about tokens":       {[]string{"openid", "offline_access", "a"}, []string{"a"}, nil},
		"nothing was asked":  {nil, []string{"a"}, nil},
		"case is a matter":   {[]string{"A"}, []string{"a"}, []string{"A"}},
		"a part is no whole": {[]string{"mail"}, []string{"mail.read"}, []string{"mail"}},
	} {
		if got := refresh.Narrowed(tt.asked, tt.granted); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
