// Package flatjsontest holds what is written by internal/flatjson against encoding/json.
package flatjsontest

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
)

// Same fails the test unless encode writes what json.Marshal does: of full, every field of which must be set, and of full without
// each of its fields, and of the fields of structs behind its pointers, in turn.
func Same[T any](t *testing.T, full T, encode func(T) ([]byte, error)) {
	t.Helper()
	check := func(without string) {
		want, err := json.Marshal(full)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := encode(full); err != nil || !bytes.Equal(got, want) {
			t.Errorf("without %s: wrote\n%s, %v, want\n%s", without, got, err, want)
		}
	}
	check("nothing")
	fields(t, reflect.ValueOf(&full).Elem(), check)
}

// fields calls check with each field of a struct empty, one at a time.
func fields(t *testing.T, v reflect.Value, check func(without string)) {
	t.Helper()
	for i := range v.NumField() {
		name, field := v.Type().Field(i).Name, v.Field(i)
		if tag := v.Type().Field(i).Tag.Get("json"); tag == "-" || !v.Type().Field(i).IsExported() {
			continue
		}
		if field.IsZero() {
			t.Errorf("%s is not set: what has it is not compared", name)
		}
		if inner := reflect.Indirect(field); inner.Kind() == reflect.Struct && inner.NumField() > 0 && inner.Type().Field(0).IsExported() {
			fields(t, inner, check)
		}
		was := reflect.New(field.Type()).Elem()
		was.Set(field)
		field.SetZero()
		check(name)
		field.Set(was)
	}
}
