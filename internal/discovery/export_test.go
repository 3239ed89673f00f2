package discovery

// Check holds metadata against an issuer.
func Check(m Metadata, issuer string) error { return m.check(issuer) }
