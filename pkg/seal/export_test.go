package seal

// AssociatedData opens the encoding of a binding to the tests.
func (b Binding) AssociatedData() []byte { return b.associatedData() }
