package refresh

// Rewrap seals anew, with the primary keys, what is sealed in the record with others. Nothing else of it changes: a claim, a
// doubt, the version and whatever a scheduler sees stay as they are. A keyset that is nil leaves its field alone. changed
// is false when there was nothing to do, and with an error, which is OpenGrant's or OpenAccess's.
func (k Keys) Rewrap(r *Record) (changed bool, err error) {
	grant, one, err := k.Grant.Rewrap(r.Grant, k.binding(r, "grant"))
	if err != nil {
		return false, err
	}
	access, two, err := k.Access.Rewrap(r.Access, k.binding(r, "access"))
	if err != nil {
		return false, err
	}
	r.Grant, r.Access = grant, access
	return one || two, nil
}

// Stale reports whether Rewrap has anything to do.
func (k Keys) Stale(r *Record) bool { return k.Grant.Stale(r.Grant) || k.Access.Stale(r.Access) }
