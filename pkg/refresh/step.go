package refresh

// Step names a point in the life of an attempt, in their order. Whatever happens to a worker happens between two of them;
// the reliability tests stop it at each.
type Step string

// The steps.
const (
	StepRead      Step = "read"      // the record is read, nothing is decided
	StepClaim     Step = "claim"     // about to write the claim
	StepClaimed   Step = "claimed"   // the claim is in the record
	StepSend      Step = "send"      // the fence has let the first byte through
	StepAnswered  Step = "answered"  // the outcome is in memory
	StepJournal   Step = "journal"   // the outcome is in the journal
	StepCommit    Step = "commit"    // about to write the outcome into the record
	StepCommitted Step = "committed" // the outcome is in the record
	StepTold      Step = "told"      // the event is in the stream
	StepSettled   Step = "settled"   // about to ack the job
)

// Steps lists the steps in their order.
func Steps() []Step {
	return []Step{
		StepRead, StepClaim, StepClaimed, StepSend, StepAnswered, StepJournal, StepCommit, StepCommitted, StepTold, StepSettled,
	}
}

// at tells the observer of a step.
func (e *Engine) at(s Step) {
	if e.cfg.Step != nil {
		e.cfg.Step(s)
	}
}
