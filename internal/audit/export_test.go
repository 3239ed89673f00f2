package audit

// MaxTallies bounds how many different reads are counted at the same time.
const MaxTallies = maxTallies
