package refresh

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"
)

// recordFields holds the JSON names of Record's fields; every other name belongs to a newer schema.
var recordFields = func() map[string]bool {
	names := make(map[string]bool)
	for f := range reflect.TypeFor[Record]().Fields() {
		if tag := f.Tag.Get("json"); tag != "" {
			name, _, _ := strings.Cut(tag, ",")
			names[name] = true
		}
	}
	return names
}()

// Encode returns the record's stored form. Fields of a newer schema that DecodeRecord found are written
// back as they were.
func (r *Record) Encode() ([]byte, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	if len(r.unknown) == 0 {
		return data, nil
	}
	extra, err := json.Marshal(r.unknown)
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	// Both are non-empty objects: join {a…} and {b…} to {a…,b…}.
	joined := append(data[:len(data)-1:len(data)-1], ',')
	return append(joined, extra[1:]...), nil
}

// DecodeRecord reads a record's stored form, of this schema or a newer one. Errors wrap ErrMalformed.
func DecodeRecord(data []byte) (Record, error) {
	r := Record{}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if dec.Decode(&r) == nil && !dec.More() {
		return r, r.check()
	}
	return decodeWithUnknown(data)
}

// decodeWithUnknown is the slow way: it keeps what DecodeRecord's strict reading stumbled over.
func decodeWithUnknown(data []byte) (Record, error) {
	r := Record{}
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := json.Unmarshal(data, &r.unknown); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	maps.DeleteFunc(r.unknown, func(name string, _ json.RawMessage) bool { return recordFields[name] })
	return r, r.check()
}

// check refuses what cannot be anybody's record.
func (r *Record) check() error {
	if err := r.Credential().Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	switch r.State {
	case StateActive, StateRetrying, StateUncertain, StateReauthRequired, StateRevoked, StateDeleted:
		return nil
	}
	return fmt.Errorf("%w: unknown state %q", ErrMalformed, r.State)
}
