package refresh

// Class is what an attempt came to. It is at once what the worker does, a metric label, a log field and a
// word on the command line.
type Class string

// The outcome classes, a closed set.
const (
	ClassOK            Class = "ok"            // a new token
	ClassFresh         Class = "fresh"         // somebody was faster
	ClassTransient     Class = "transient"     // the refresh token was surely not spent; try again
	ClassThrottled     Class = "throttled"     // as transient, and the lane waits
	ClassUnknown       Class = "unknown"       // sent, and no readable answer
	ClassRejected      Class = "rejected"      // the provider says that the grant is dead
	ClassMisconfigured Class = "misconfigured" // the provider says that the client is wrong
	ClassLocal         Class = "local"         // this worker cannot
)

// Classes lists every outcome class, so that metric series exist at zero.
func Classes() []Class {
	return []Class{
		ClassOK, ClassFresh, ClassTransient, ClassThrottled, ClassUnknown, ClassRejected, ClassMisconfigured, ClassLocal,
	}
}
