package enroll

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Format is how the lines of an import are written.
type Format string

// The formats. A line of CSV (RFC 4180) is one grant as well: no field goes beyond its line.
const (
	FormatJSONL Format = "jsonl"
	FormatCSV   Format = "csv"
)

// csvHeader is the first line of a CSV import: the name of each column.
type csvHeader []string

// newCSVHeader reads the header. Its errors end the import: no line can be understood without it.
func newCSVHeader(data []byte) (csvHeader, error) {
	names, err := readCSV(data, 0)
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
	}
	for _, name := range []string{"provider", "account"} {
		if !slices.Contains(names, name) { // it may be no header at all: nothing of it is shown
			return nil, fmt.Errorf("the first line must name the columns, and there is no column %s", name)
		}
	}
	var faults []error
	for i, name := range names {
		switch {
		case !slices.Contains(importNames(), name):
			faults = append(faults, unknownName(name))
		case slices.Contains(names[:i], name):
			faults = append(faults, fmt.Errorf("column %s is there twice", name))
		}
	}
	return names, errors.Join(faults...)
}

// parse reads a line. An empty field is as good as none; scopes are separated by blanks.
func (h csvHeader) parse(data []byte) (importLine, error) {
	var l importLine
	fields, err := readCSV(data, len(h))
	if err != nil {
		return l, err
	}
	for i, text := range fields {
		if text == "" {
			continue
		}
		var value any = text
		if h[i] == "scopes" {
			value = strings.Fields(text)
		}
		raw, err := json.Marshal(value)
		if err == nil {
			err = l.set(h[i], raw)
		}
		if err != nil {
			return l, err
		}
	}
	return l, l.complete()
}

// readCSV reads one line of that many fields; 0: any number. Its errors quote nothing.
func readCSV(data []byte, fields int) ([]string, error) {
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord = fields
	record, err := r.Read()
	switch {
	case errors.Is(err, csv.ErrFieldCount):
		return nil, fmt.Errorf("%d fields, and the header has %d", len(record), fields)
	case err != nil:
		return nil, errors.New("not CSV: a quotation mark is missing or out of place")
	}
	return record, nil
}
