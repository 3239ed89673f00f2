package providerfile

// Showable opens to the tests which values an excerpt may quote.
func Showable(key string) bool { return showable(key) }
