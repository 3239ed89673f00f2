package flatjson

// Value is a member's value as it stands in the object, a string with its quotes. One that is an object or an array was not
// looked into: whoever takes it must read the whole of it, with Read, Texts or encoding/json.
type Value []byte

// Nested reports whether v is an object or an array.
func (v Value) Nested() bool { return v[0] == '{' || v[0] == '[' }

// Read calls member with each member of a JSON object, in order, until member says no. It returns false when it was told no, and
// for anything else than one object in which all names and strings are printable ASCII without escapes and all numbers whole:
// what was read of it counts for nothing then, and encoding/json has to say what it is. A name that occurs twice is given twice.
func Read(data []byte, member func(name []byte, value Value) bool) bool {
	r := reader{data: data}
	if !r.next('{') {
		return false
	}
	for first := true; ; first = false {
		if first && r.next('}') {
			return r.over()
		}
		name := r.text()
		if name == nil || !r.next(':') {
			return false
		}
		value := r.value()
		if value == nil || !member(name[1:len(name)-1], value) {
			return false
		}
		switch {
		case r.next('}'):
			return r.over()
		case !r.next(','):
			return false
		}
	}
}

// reader reads data from at on.
type reader struct {
	data []byte
	at   int
}

// next skips blanks, and c if that follows.
func (r *reader) next(c byte) bool {
	if r.over() || r.data[r.at] != c {
		return false
	}
	r.at++
	return true
}

// over skips blanks and reports whether nothing follows.
func (r *reader) over() bool {
	for r.at < len(r.data) && blank(r.data[r.at]) {
		r.at++
	}
	return r.at == len(r.data)
}

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// text reads a plain string, with its quotes; nil: there is none.
func (r *reader) text() []byte {
	if !r.next('"') {
		return nil
	}
	for i := r.at; i < len(r.data); i++ {
		switch c := r.data[i]; {
		case c == '"':
			t := r.data[r.at-1 : i+1]
			r.at = i + 1
			return t
		case c < ' ', c > '~', c == '\\':
			return nil
		}
	}
	return nil
}

// value reads a plain string, a whole number, or a word, and skips an object or an array; nil: there is none.
func (r *reader) value() []byte {
	if r.over() || r.data[r.at] == '"' {
		return r.text()
	}
	begin := r.at
	if Value(r.data[begin:]).Nested() {
		return r.skip()
	}
	for r.at < len(r.data) && (letter(r.data[r.at]) || digit(r.data[r.at])) {
		r.at++
	}
	if v := r.data[begin:r.at]; number(v) || string(v) == "true" || string(v) == "false" || string(v) == "null" {
		return v
	}
	return nil
}

// skip skips what begins with a bracket, up to the one that ends it; nil: there is none.
func (r *reader) skip() []byte {
	begin, depth, quoted := r.at, 0, false
	for ; r.at < len(r.data); r.at++ {
		switch c := r.data[r.at]; {
		case quoted && c == '\\':
			r.at++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{', c == '[':
			depth++
		case c == '}', c == ']':
			if depth--; depth == 0 {
				r.at++
				return r.data[begin:r.at]
			}
		}
	}
	return nil
}

// number reports whether v is a whole number, not negative, without an exponent.
func number(v []byte) bool {
	for _, c := range v {
		if !digit(c) {
			return false
		}
	}
	return len(v) == 1 || len(v) > 1 && v[0] != '0'
}

func letter(c byte) bool { return 'a' <= c && c <= 'z' }

func digit(c byte) bool { return '0' <= c && c <= '9' }
