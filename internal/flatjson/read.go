package flatjson

import "strconv"

// Read calls member with each member of a flat object, in order, until member says no: all names and strings are printable ASCII
// without escapes, and no value is an array or an object. value is as it stands in data, a string with its quotes. Read returns
// false when it was told no, and for anything else than one flat object: what was read of it counts for nothing then, and
// encoding/json has to say what it is. Names that occur twice are given twice.
func Read(data []byte, member func(name, value []byte) bool) bool {
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

// Text reads a value that Read gave as a string; null is the empty one, as for encoding/json.
func Text(value []byte) (text string, ok bool) {
	if value[0] == '"' {
		return string(value[1 : len(value)-1]), true
	}
	return "", value[0] == 'n'
}

// Uint reads a value that Read gave as a number; null is 0, as for encoding/json.
func Uint(value []byte) (n uint64, ok bool) {
	if value[0] == 'n' {
		return 0, true
	}
	n, err := strconv.ParseUint(string(value), 10, 64)
	return n, err == nil
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

// value reads a plain string, a whole number, or a word; nil: there is none.
func (r *reader) value() []byte {
	if r.over() || r.data[r.at] == '"' {
		return r.text()
	}
	begin := r.at
	for r.at < len(r.data) && (letter(r.data[r.at]) || digit(r.data[r.at])) {
		r.at++
	}
	if v := r.data[begin:r.at]; number(v) || string(v) == "true" || string(v) == "false" || string(v) == "null" {
		return v
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
