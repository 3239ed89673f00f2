package refresh

import "slices"

// Narrowed returns the scopes that were asked for and not granted, in their order (RFC 6749 section 3.3: a server that grants
// others than it was asked for says so). openid and offline_access ask for tokens rather than for access, and many servers
// do not name them in their answer.
func Narrowed(asked, granted []string) []string {
	var missing []string
	for _, s := range asked {
		if s != "openid" && s != "offline_access" && !slices.Contains(granted, s) && !slices.Contains(missing, s) {
			missing = append(missing, s)
		}
	}
	return missing
}
