package tokens

import "time"

// NextLook is nextLook of a token that should be replaced at refreshAt and ends at end.
func NextLook(refreshAt, end, now time.Time) time.Time {
	return nextLook(reading{token: Token{ExpiresAt: end}, refreshAt: refreshAt}, now)
}
