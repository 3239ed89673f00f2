package flatjson

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"
)

// Object is a JSON object in the making. Methods whose names end in If leave an empty value out, as omitempty and omitzero do.
// Names are written as they are: they must need no escapes. Make it with New.
type Object struct {
	data []byte
	err  error // the first
}

// New begins an object of about so many bytes.
func New(size int) *Object { return &Object{data: append(make([]byte, 0, size), '{')} }

// Done ends the object. The error is encoding/json's or the package time's, of the first value that has no JSON form.
func (o *Object) Done() ([]byte, error) {
	o.End()
	return o.data, o.err
}

// Begin begins an object within; End ends it.
func (o *Object) Begin(name string) {
	o.name(name)
	o.data = append(o.data, '{')
}

// End ends what Begin began.
func (o *Object) End() { o.data = append(o.data, '}') }

func (o *Object) name(name string) {
	if o.data[len(o.data)-1] != '{' {
		o.data = append(o.data, ',')
	}
	o.data = append(o.data, '"')
	o.data = append(o.data, name...)
	o.data = append(o.data, '"', ':')
}

// Text adds a string.
func (o *Object) Text(name, value string) {
	o.name(name)
	o.text(value)
}

// TextIf adds a string.
func (o *Object) TextIf(name, value string) {
	if value != "" {
		o.Text(name, value)
	}
}

// TextsIf adds an array of strings.
func (o *Object) TextsIf(name string, values []string) {
	if len(values) == 0 {
		return
	}
	o.name(name)
	separator := byte('[')
	for _, v := range values {
		o.data = append(o.data, separator)
		o.text(v)
		separator = ','
	}
	o.data = append(o.data, ']')
}

func (o *Object) text(s string) {
	if !plain(s) {
		o.any(s)
		return
	}
	o.data = append(o.data, '"')
	o.data = append(o.data, s...)
	o.data = append(o.data, '"')
}

// plain reports whether encoding/json writes s without escapes.
func plain[T string | []byte](s T) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c > '~', c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}

// Uint adds a number.
func (o *Object) Uint(name string, value uint64) {
	o.name(name)
	o.data = strconv.AppendUint(o.data, value, 10)
}

// UintIf adds a number.
func (o *Object) UintIf(name string, value uint64) {
	if value != 0 {
		o.Uint(name, value)
	}
}

// Int adds a number.
func (o *Object) Int(name string, value int64) {
	o.name(name)
	o.data = strconv.AppendInt(o.data, value, 10)
}

// IntIf adds a number.
func (o *Object) IntIf(name string, value int64) {
	if value != 0 {
		o.Int(name, value)
	}
}

// TrueIf adds true.
func (o *Object) TrueIf(name string, value bool) {
	if value {
		o.name(name)
		o.data = append(o.data, "true"...)
	}
}

// Time adds an instant (RFC 3339).
func (o *Object) Time(name string, value time.Time) {
	o.name(name)
	o.data = append(o.data, '"')
	data, err := value.AppendText(o.data)
	if err != nil {
		o.fail(err)
		return
	}
	o.data = append(data, '"')
}

// TimeIf adds an instant (RFC 3339).
func (o *Object) TimeIf(name string, value time.Time) {
	if !value.IsZero() {
		o.Time(name, value)
	}
}

// BytesIf adds bytes, in base64.
func (o *Object) BytesIf(name string, value []byte) {
	if len(value) == 0 {
		return
	}
	o.name(name)
	o.data = append(o.data, '"')
	o.data = base64.StdEncoding.AppendEncode(o.data, value)
	o.data = append(o.data, '"')
}

// Any adds whatever encoding/json makes of the value.
func (o *Object) Any(name string, value any) {
	o.name(name)
	o.any(value)
}

func (o *Object) any(value any) {
	data, err := json.Marshal(value)
	o.data = append(o.data, data...)
	o.fail(err)
}

func (o *Object) fail(err error) {
	if o.err == nil {
		o.err = err
	}
}
