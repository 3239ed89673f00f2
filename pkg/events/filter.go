package events

import (
	"errors"
	"fmt"
	"slices"
)

// A Filter says which events a subscriber wants. The zero value is all of them. It becomes subject
// filters, so that the server sends nothing else.
type Filter struct {
	// Types are the wanted types; none means all.
	Types []Type
	// Provider is whose events are wanted; "" means everybody's.
	Provider string
	// Account narrows the filter to this account and, taken as a path, to all accounts below it: "acme" is acme and
	// acme/alice, and not acme2. It needs a Provider and leaves no provider events.
	Account string
}

// Validate reports everything that is wrong with f, or nil.
func (f Filter) Validate() error {
	var faults []error
	for _, t := range f.Types {
		if !slices.Contains(Types(), t) {
			faults = append(faults, fmt.Errorf("filter: type %q: want one of %v", t, Types()))
		} else if f.Account != "" && t.AboutProvider() {
			faults = append(faults, fmt.Errorf("filter: type %q is about no account: leave it or the account %q out", t, f.Account))
		}
	}
	if err := f.validateAbout(); err != nil {
		faults = append(faults, fmt.Errorf("filter: %w", err))
	}
	return errors.Join(faults...)
}

func (f Filter) validateAbout() error {
	switch {
	case f.Account != "" && f.Provider == "":
		return fmt.Errorf("%w: account %q without a provider", ErrName, f.Account)
	case f.Account != "":
		return Credential{Provider: f.Provider, Account: f.Account}.Validate()
	case f.Provider != "" && !ValidProvider(f.Provider):
		return providerError(f.Provider)
	}
	return nil
}

// FilterSubjects returns the subjects of the events that f lets through. No two of them overlap. It fails when f does
// not validate.
func (n Names) FilterSubjects(f Filter) ([]string, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	if len(f.Types) == 0 && f.Provider == "" {
		return n.EventsSubjects(), nil
	}
	var subjects []string
	for _, t := range f.types() {
		for _, tail := range f.tails(t) {
			subjects = append(subjects, n.subject(string(t)+"."+tail))
		}
	}
	return subjects, nil
}

func (f Filter) types() []Type {
	if len(f.Types) == 0 {
		return []Type{tokenHead + ".*", providerHead + ".*"}
	}
	return slices.Compact(slices.Sorted(slices.Values(f.Types)))
}

// tails returns what may follow the type in a subject.
func (f Filter) tails(t Type) []string {
	switch {
	case f.Provider == "":
		return []string{">"}
	case f.Account != "" && t.AboutProvider():
		return nil
	case f.Account != "":
		key := Credential{Provider: f.Provider, Account: f.Account}.Key()
		return []string{key, key + ".>"}
	case t.AboutProvider():
		return []string{f.Provider}
	}
	return []string{f.Provider + ".>"}
}
