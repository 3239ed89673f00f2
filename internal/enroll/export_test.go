package enroll

import (
	"net/url"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
)

// TimesOf returns the instants of a new record: issued, expires, refresh, grant expires.
func TimesOf(key string, p provider.Refresh, g NewGrant, now time.Time) [4]time.Time {
	t := timesOf(key, &provider.Definition{Refresh: p}, g, now)
	return [4]time.Time{t.issued, t.expires, t.refresh, t.grantExpires}
}

// SentBy reports whether an answer may come from an issuer, which may be one that always names itself.
func SentBy(name string, named bool, answer url.Values) bool {
	return issuer{name: name, named: named}.sent(answer)
}

// ParseLine reads a line of an import.
func ParseLine(line string) (events.Credential, NewGrant, error) {
	l, err := parseJSON([]byte(line))
	return l.credential, l.grant, err
}
