//go:build !freshet_faults

package refresh

// The classic mistakes, which the reliability tests build in to see that they are caught. See mistake_on.go.
const (
	mistakeNoClaim     = "no_claim"     // presents the refresh token without a claim in the record
	mistakeLateJournal = "late_journal" // journals after the commit
	mistakeBlindRetry  = "blind_retry"  // takes every unknown outcome for one that may be tried again
	mistakeOverwrite   = "overwrite"    // commits over a newer version
)

// mistaken is false in everything that is built without the tag freshet_faults.
func mistaken(string) bool { return false }
