//go:build freshet_faults

package refresh

import "os"

// The classic mistakes; FRESHET_MISTAKE names the one to make. Nothing that is shipped is built with this tag.
const (
	mistakeNoClaim     = "no_claim"
	mistakeLateJournal = "late_journal"
	mistakeBlindRetry  = "blind_retry"
	mistakeOverwrite   = "overwrite"
)

func mistaken(name string) bool { return os.Getenv("FRESHET_MISTAKE") == name }
