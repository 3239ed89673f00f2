package authserver

import (
	"cmp"
	"time"
)

// Rotation says what becomes of a refresh token once it was exchanged. In every
// class that rotates, using a spent token outside its allowance ends the family.
type Rotation string

// The rotation classes.
const (
	// RotationNone keeps the refresh token: answers to a refresh carry none.
	RotationNone Rotation = "none"
	// RotationOverlap issues a successor each time and keeps every earlier
	// refresh token of the family valid.
	RotationOverlap Rotation = "overlap"
	// RotationGrace keeps a spent token valid for Config.Grace after its first
	// use.
	RotationGrace Rotation = "grace"
	// RotationUntilUsed keeps a spent token valid until one of its successors,
	// or an access token that came with one, is used for the first time.
	RotationUntilUsed Rotation = "until_used"
	// RotationStrict keeps nothing: a token works once.
	RotationStrict Rotation = "strict"
)

// Rotations returns all rotation classes.
func Rotations() []Rotation {
	return []Rotation{RotationNone, RotationOverlap, RotationGrace, RotationUntilUsed, RotationStrict}
}

// minLastTryLead is the least time before the end of an access token from which
// on its holder has nothing left to lose, unless configured.
const minLastTryLead = 2 * time.Second

// rules is the part of the configuration that decides about refresh tokens.
type rules struct {
	class Rotation
	grace time.Duration
	same  bool
	lead  time.Duration
}

// verdict is what a refresh token gets.
type verdict int

const (
	// rotate: a successor and an access token.
	rotate verdict = iota
	// keep: the current refresh token stays; an access token.
	keep
	// reuse: nothing; the family ends.
	reuse
)

// presented is what the family remembers of a refresh token that is presented.
type presented struct {
	known     bool      // false: issued so long ago that it is forgotten
	spentAt   time.Time // its first use; zero: unused
	succeeded bool      // a successor, or its access token, was used
}

// judge decides about a refresh token of a family that has not ended.
func (r rules) judge(p presented, now time.Time) verdict {
	switch {
	case r.class == RotationNone:
		return keep
	case r.class == RotationOverlap:
		return rotate
	case !p.known:
		return reuse
	case p.spentAt.IsZero():
		return rotate
	case r.class == RotationGrace && now.Before(p.spentAt.Add(r.grace)):
		if r.same {
			return keep
		}
		return rotate
	case r.class == RotationUntilUsed && !p.succeeded:
		return rotate
	}
	return reuse
}

// nothingLeft tells whether the holder of an access token that lives from
// issued to end has nothing to lose at now: it ended, is about to, or was
// refused by the resource.
func (r rules) nothingLeft(issued, end time.Time, refused bool, now time.Time) bool {
	lead := cmp.Or(r.lead, max(end.Sub(issued)/10, minLastTryLead))
	return refused || !now.Before(end.Add(-lead))
}
