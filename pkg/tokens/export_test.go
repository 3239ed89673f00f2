package tokens

import "time"

// NextLook is nextLook of a token that should be replaced at refreshAt and ends at end.
func NextLook(refreshAt, end, now time.Time) time.Time {
	return nextLook(reading{token: Token{ExpiresAt: end}, refreshAt: refreshAt}, now)
}

// Sources returns how many sources a client keeps.
func Sources(c *Client) int { return len(c.sources()) }

// IdleEnd is idleEnd.
func IdleEnd(end, now time.Time) time.Time { return idleEnd(end, now) }

// EncodeCache is encodeCache.
func EncodeCache(all []Token, limit int) ([]byte, error) {
	var readings []reading
	for _, t := range all {
		readings = append(readings, reading{token: t})
	}
	return encodeCache(readings, limit)
}
