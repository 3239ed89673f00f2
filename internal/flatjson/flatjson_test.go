package flatjson_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/internal/flatjson"
)

type thing struct {
	Text   string          `json:"text"`
	Maybe  string          `json:"maybe,omitempty"`
	Texts  []string        `json:"texts,omitempty"`
	Uint   uint64          `json:"uint"`
	Uints  uint64          `json:"uints,omitempty"`
	Int    int64           `json:"int"`
	Ints   int64           `json:"ints,omitempty"`
	True   bool            `json:"true,omitempty"`
	Time   time.Time       `json:"time"`
	Times  time.Time       `json:"times,omitzero"`
	Bytes  []byte          `json:"bytes,omitempty"`
	Raw    json.RawMessage `json:"raw"`
	Within inner           `json:"within"`
}

type inner struct {
	Text string `json:"text,omitempty"`
}

func (x thing) encode() ([]byte, error) {
	o := flatjson.New(10)
	o.Text("text", x.Text)
	o.TextIf("maybe", x.Maybe)
	o.TextsIf("texts", x.Texts)
	o.Uint("uint", x.Uint)
	o.UintIf("uints", x.Uints)
	o.Int("int", x.Int)
	o.IntIf("ints", x.Ints)
	o.TrueIf("true", x.True)
	o.Time("time", x.Time)
	o.TimeIf("times", x.Times)
	o.BytesIf("bytes", x.Bytes)
	o.Any("raw", x.Raw)
	o.Begin("within")
	o.TextIf("text", x.Within.Text)
	o.End()
	return o.Done()
}

func TestWritesWhatEncodingJSONDoes(t *testing.T) {
	t.Parallel()
	zones := rapid.SampledFrom([]*time.Location{time.UTC, time.FixedZone("", 5400), time.FixedZone("", -25*3600), time.FixedZone("", 1)})
	times := rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(-1<<40, 1<<40).Draw(t, "s"), rapid.Int64Range(0, 1e9).Draw(t, "ns")).In(zones.Draw(t, "zone"))
	})
	rapid.Check(t, func(t *rapid.T) {
		x := thing{
			Text: rapid.String().Draw(t, "text"), Maybe: rapid.StringMatching(`[ -~]{0,5}`).Draw(t, "maybe"),
			Texts: rapid.SliceOf(rapid.String()).Draw(t, "texts"), Uint: rapid.Uint64().Draw(t, "uint"),
			Uints: rapid.Uint64Range(0, 2).Draw(t, "uints"), Int: rapid.Int64().Draw(t, "int"), Ints: rapid.Int64Range(-1, 1).Draw(t, "ints"),
			True: rapid.Bool().Draw(t, "true"), Time: times.Draw(t, "time"), Bytes: rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"),
			Raw:    rapid.SampledFrom([]json.RawMessage{[]byte("{ \"a\":\t\"<\" }"), []byte("1"), []byte("no")}).Draw(t, "raw"),
			Within: inner{Text: rapid.StringN(0, 2, -1).Draw(t, "within")},
		}
		if rapid.Bool().Draw(t, "a second time") {
			x.Times = times.Draw(t, "times")
		}
		want, wantErr := json.Marshal(x)
		got, err := x.encode()
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("error %v, want %v", err, wantErr)
		}
		if err == nil && !bytes.Equal(got, want) {
			t.Fatalf("wrote %s, want %s", got, want)
		}
	})
}

// read reads a flat object into a map.
func read(data []byte) (m map[string]json.RawMessage, ok bool) {
	m = make(map[string]json.RawMessage)
	ok = flatjson.Read(data, func(name []byte, value flatjson.Value) bool {
		m[string(name)] = json.RawMessage(value)
		return !value.Nested() || json.Valid(value)
	})
	return m, ok
}

func TestReadsFlatObjects(t *testing.T) {
	t.Parallel()
	for _, data := range []string{
		`{}`, " { } \n", `{"a":1}`, `{"a":"b"}`, "\t{ \"a\" :\r\n\"b c\" , \"d\": null,\"e\":true,\"f\": false ,\"g\":0,\"h\":120 } ",
		`{"a":1,"a":2}`, `{"":""}`, `{"a":{"b":["}\\\"]",{}]},"c":[]}`, `{"a": [1.5 , "é"] }`,
	} {
		got, ok := read([]byte(data))
		var want map[string]json.RawMessage
		if err := json.Unmarshal([]byte(data), &want); err != nil {
			t.Fatal(err)
		}
		if !ok || !maps.EqualFunc(got, want, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
			t.Errorf("%s: read %s, %v", data, got, ok)
		}
	}
}

func TestLeavesTheRestToOthers(t *testing.T) {
	t.Parallel()
	for _, data := range []string{
		"", " ", "1", "[]", "{", "}", `{"a"}`, `{"a":}`, `{"a":1`, `{"a":1,}`, `{,}`, `{"a":1}{}`, "{\"a\":1}\x00", `{"a":1} x`, `{a:1}`, `{"a" 1}`,
		`{"a":"b}`, "{\"a\":\"12\n}", "{\"a\":\"1\x7f\"}", `{"a":"\u0041"}`, `{"\u0041":1}`, `{"a":"é"}`, `{"é":1}`,
		`{"a":01}`, `{"a":1.5}`, `{"a":-1}`, `{"a":1e3}`, `{"a":trueish}`, `{"a":True}`, `{"a":1a}`, `{"a":{}`, `{"a":[}}`, `{"a":{"b":"}"}`, `{"a":[1,]}`, `{"a":1 "b":2}`,
	} {
		if m, ok := read([]byte(data)); ok {
			t.Errorf("%q: read %s", data, m)
		}
	}
	if flatjson.Read([]byte(`{"a":1}`), func([]byte, flatjson.Value) bool { return false }) {
		t.Error("a member was refused, and nobody said so")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"access_token":"a b","expires_in":3600,"x":null}`))
	f.Add([]byte("{\"a\":\"12\n}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, ok := read(data)
		if !ok {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(data, &want); err != nil || !maps.EqualFunc(got, want, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
			t.Errorf("%q: read %s, encoding/json %s, %v", data, got, want, err)
		}
	})
}

func TestReadsValues(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	o := flatjson.New(0)
	o.Text("text", "a b")
	o.Uint("number", 1<<62)
	o.Time("time", at)
	o.BytesIf("bytes", []byte{0, 1, 255})
	o.TextsIf("texts", []string{"a", "b c"})
	o.Any("empty", []string{})
	data, err := o.Done()
	if err != nil {
		t.Fatal(err)
	}
	var (
		text         string
		number       uint64
		when         time.Time
		bytes        []byte
		texts, empty []string
	)
	ok := flatjson.Read(data, func(name []byte, v flatjson.Value) bool {
		switch string(name) {
		case "text":
			return flatjson.Text(v, &text)
		case "number":
			return flatjson.Number(v, &number)
		case "time":
			return flatjson.Time(v, &when)
		case "bytes":
			return flatjson.Bytes(v, &bytes)
		case "texts":
			return flatjson.Texts(v, &texts)
		}
		return flatjson.Texts(v, &empty)
	})
	if !ok || text != "a b" || number != 1<<62 || !when.Equal(at) || string(bytes) != "\x00\x01\xff" || !slices.Equal(texts, []string{"a", "b c"}) || empty == nil || len(empty) > 0 {
		t.Errorf("%s: read %q %d %v %v %q %q, %v", data, text, number, when, bytes, texts, empty, ok)
	}
}

func TestRefusesValuesOfAnotherKind(t *testing.T) {
	t.Parallel()
	kinds := map[string]func(v flatjson.Value) bool{
		"text":   func(v flatjson.Value) bool { return flatjson.Text(v, new(string)) },
		"number": func(v flatjson.Value) bool { return flatjson.Number(v, new(uint64)) },
		"time":   func(v flatjson.Value) bool { return flatjson.Time(v, new(time.Time)) },
		"bytes":  func(v flatjson.Value) bool { return flatjson.Bytes(v, new([]byte)) },
		"texts":  func(v flatjson.Value) bool { return flatjson.Texts(v, new([]string)) },
	}
	for value, right := range map[string][]string{
		`null`: nil, `true`: nil, `{}`: nil, `1`: {"number"}, `99999999999999999999`: nil, `"!"`: {"text"}, `"YQ=="`: {"text", "bytes"},
		`"2026-01-02T03:04:05Z"`: {"text", "time"}, `"2026-01-02"`: {"text"}, `["a"]`: {"texts"}, `[]`: {"texts"}, `["a",]`: nil, `["a" "b"]`: nil, `[1]`: nil, `["é"]`: nil,
	} {
		for kind, reads := range kinds {
			if got := reads(flatjson.Value(value)); got != slices.Contains(right, kind) {
				t.Errorf("%s as %s: %v", value, kind, got)
			}
		}
	}
}
