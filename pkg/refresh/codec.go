package refresh

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"

	"github.com/freshetdev/freshet/internal/flatjson"
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
	data, err := r.encode()
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	if len(r.unknown) == 0 && len(r.nested) == 0 {
		return data, nil
	}
	if data, err = r.withUnknown(data); err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	return data, nil
}

// encode is what json.Marshal would make of r, which is written twice for each refresh.
func (r *Record) encode() ([]byte, error) {
	o := flatjson.New(700 + base64.StdEncoding.EncodedLen(len(r.Access)+len(r.Grant)) + len(r.Meta))
	o.Int("v", int64(r.V))
	o.Text("provider", r.Provider)
	o.Text("account", r.Account)
	o.Text("grant_id", r.GrantID)
	o.Uint("generation", r.Generation)
	o.Uint("version", r.Version)
	o.Text("state", string(r.State))
	if r.Paused != nil {
		o.Any("paused", r.Paused)
	}
	o.TextsIf("scopes", r.Scopes)
	o.TextsIf("narrowed", r.Narrowed)
	o.TextIf("token_type", r.TokenType)
	o.TextIf("subject", r.Subject)
	o.TimeIf("granted_at", r.GrantedAt)
	o.TimeIf("issued_at", r.IssuedAt)
	o.TimeIf("expires_at", r.ExpiresAt)
	o.TimeIf("refresh_at", r.RefreshAt)
	o.TimeIf("grant_expires_at", r.GrantExpiresAt)
	if r.Policy != nil {
		o.Any("policy", r.Policy)
	}
	r.encodeAttempts(o)
	if len(r.Meta) > 0 {
		o.Any("meta", r.Meta)
	}
	o.BytesIf("access", r.Access)
	o.BytesIf("grant", r.Grant)
	return o.Done()
}

func (r *Record) encodeAttempts(o *flatjson.Object) {
	if c := r.Claim; c != nil {
		o.Begin("claim")
		o.Text("attempt", c.Attempt)
		o.Text("worker", c.Worker)
		o.Text("ttl", c.TTL.String())
		o.Time("at", c.At)
		o.End()
	}
	if r.Doubt != nil {
		o.Any("doubt", r.Doubt)
	}
	if r.Failure != nil {
		o.Any("failure", r.Failure)
	}
	if l := r.Last; l != nil {
		o.Begin("last")
		o.Text("attempt", l.Attempt)
		o.Text("outcome", string(l.Outcome))
		o.TextIf("reason", string(l.Reason))
		o.End()
	}
}

// withUnknown adds what a newer schema has. An object of a known name goes back as it came if nobody changed what is
// known of it: its unknown fields belong to the rest of it.
func (r *Record) withUnknown(data []byte) ([]byte, error) {
	fields := make(map[string]json.RawMessage)
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	maps.Copy(fields, r.unknown)
	for name, o := range r.nested {
		if bytes.Equal(fields[name], o.known) {
			fields[name] = o.raw
		}
	}
	return json.Marshal(fields)
}

// DecodeRecord reads a record's stored form, of this schema or a newer one. Errors wrap ErrMalformed.
func DecodeRecord(data []byte) (Record, error) {
	r := Record{}
	if flatjson.Read(data, r.member) {
		return r, r.check()
	}
	r = Record{}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if dec.Decode(&r) == nil && !dec.More() {
		return r, r.check()
	}
	return decodeWithUnknown(data)
}

// member takes a member of a healthy record's; false: there is more to it.
func (r *Record) member(name []byte, v flatjson.Value) bool {
	switch string(name) {
	case "v":
		return flatjson.Number(v, &r.V)
	case "provider":
		return flatjson.Text(v, &r.Provider)
	case "account":
		return flatjson.Text(v, &r.Account)
	case "grant_id":
		return flatjson.Text(v, &r.GrantID)
	case "generation":
		return flatjson.Number(v, &r.Generation)
	case "version":
		return flatjson.Number(v, &r.Version)
	case "state":
		return flatjson.Text(v, &r.State)
	case "scopes":
		return flatjson.Texts(v, &r.Scopes)
	case "token_type":
		return flatjson.Text(v, &r.TokenType)
	case "subject":
		return flatjson.Text(v, &r.Subject)
	case "granted_at":
		return flatjson.Time(v, &r.GrantedAt)
	case "issued_at":
		return flatjson.Time(v, &r.IssuedAt)
	case "expires_at":
		return flatjson.Time(v, &r.ExpiresAt)
	case "refresh_at":
		return flatjson.Time(v, &r.RefreshAt)
	case "grant_expires_at":
		return flatjson.Time(v, &r.GrantExpiresAt)
	case "last":
		r.Last = new(Last)
		return flatjson.Read(v, r.Last.member)
	case "meta":
		r.Meta = json.RawMessage(bytes.Clone(v))
		return json.Valid(v)
	case "access":
		return flatjson.Bytes(v, &r.Access)
	case "grant":
		return flatjson.Bytes(v, &r.Grant)
	}
	return false
}

func (l *Last) member(name []byte, v flatjson.Value) bool {
	switch string(name) {
	case "attempt":
		return flatjson.Text(v, &l.Attempt)
	case "outcome":
		return flatjson.Text(v, &l.Outcome)
	case "reason":
		return flatjson.Text(v, &l.Reason)
	}
	return false
}

// decodeWithUnknown is the slow way: it keeps what DecodeRecord's strict reading stumbled over.
func decodeWithUnknown(data []byte) (Record, error) {
	r := Record{}
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := r.keepUnknown(data); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return r, r.check()
}

// object is a field that holds an object: as it came, and what this schema makes of it.
type object struct{ raw, known json.RawMessage }

// keepUnknown notes what of data is not in the record.
func (r *Record) keepUnknown(data []byte) error {
	plain, err := json.Marshal(r)
	if err != nil {
		return err
	}
	var all, known map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(data, &all), json.Unmarshal(plain, &known)); err != nil {
		return err
	}
	r.unknown, r.nested = make(map[string]json.RawMessage), make(map[string]object)
	for name, raw := range all {
		switch {
		case !recordFields[name]:
			r.unknown[name] = raw
		case raw[0] == '{':
			r.nested[name] = object{raw: raw, known: known[name]}
		}
	}
	return nil
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
