package flatjson

import (
	"encoding/base64"
	"strconv"
	"time"
)

// The functions below read a value of one kind into a variable. They return false, and may leave anything in it, for a value of
// another kind; null is none of any.

// Text reads a string.
func Text[T ~string](v Value, to *T) bool {
	if v[0] != '"' {
		return false
	}
	*to = T(v[1 : len(v)-1])
	return true
}

// Number reads a whole number that is not negative.
func Number[T ~uint64 | ~int](v Value, to *T) bool {
	n, err := strconv.ParseUint(string(v), 10, 63)
	*to = T(n)
	return err == nil
}

// Time reads an instant (RFC 3339).
func Time(v Value, to *time.Time) bool {
	return v[0] == '"' && to.UnmarshalText(v[1:len(v)-1]) == nil
}

// Bytes reads base64.
func Bytes(v Value, to *[]byte) (ok bool) {
	if v[0] != '"' {
		return false
	}
	text := v[1 : len(v)-1]
	data, err := base64.StdEncoding.AppendDecode(make([]byte, 0, base64.StdEncoding.DecodedLen(len(text))), text)
	*to = data
	return err == nil
}

// Texts reads an array of strings.
func Texts(v Value, to *[]string) bool {
	r := reader{data: v}
	if !r.next('[') {
		return false
	}
	for *to = []string{}; len(*to) > 0 || !r.next(']'); {
		text := r.text()
		if text == nil {
			return false
		}
		*to = append(*to, string(text[1:len(text)-1]))
		if r.next(']') {
			break
		}
		if !r.next(',') {
			return false
		}
	}
	return r.over()
}
