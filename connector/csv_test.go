package connector

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestCSVRows(t *testing.T) {
	text := "name,cmdline\r\nWIN-1,\"a \"\"quoted\"\" line,\nwith a break\"\r\nshort\r\nWIN-2,x,beyond\r\n"
	var rows []map[string]string
	for row, err := range CSVRows(strings.NewReader(text)) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	want := []map[string]string{
		{"name": "WIN-1", "cmdline": "a \"quoted\" line,\nwith a break"},
		{"name": "short"},
		{"name": "WIN-2", "cmdline": "x", "": "beyond"},
	}
	if !slices.EqualFunc(rows, want, maps.Equal) {
		t.Errorf("got %q", rows)
	}
	for row, err := range CSVRows(strings.NewReader("")) {
		t.Errorf("an empty export has the row %q, %v", row, err)
	}
}

func TestCSVRowsEndAtAnEndlessRecord(t *testing.T) {
	endless := io.MultiReader(strings.NewReader("name\n\""), &zeros{})
	n := 0
	for _, err := range CSVRows(endless) {
		if n++; !errors.Is(err, errCSVRecord) {
			t.Fatalf("got %v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d turns", n)
	}
}

// zeros is text without an end.
type zeros struct{}

func (*zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

// FuzzCSV holds the rows against those that encoding/csv makes of the whole.
func FuzzCSV(f *testing.F) {
	for _, name := range seedFiles(f) {
		if ex, err := parseExchange(name); err == nil && isCSV(ex.header.Get("Content-Type")) {
			f.Add(ex.answer)
		}
	}
	f.Add([]byte("a,b\n1,\"2\n3\"\nx\n"))
	f.Add([]byte("a,a\n1,2,3\n\"\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		whole := csv.NewReader(bytes.NewReader(text))
		whole.FieldsPerRecord = -1
		want, wantErr := whole.ReadAll()
		n := 0
		for row, err := range CSVRows(bytes.NewReader(text)) {
			if err != nil {
				if wantErr == nil {
					t.Fatalf("%v, but encoding/csv reads it", err)
				}
				return
			}
			if n++; wantErr == nil {
				record := want[n]
				if len(record) > 0 && len(want[0]) > 0 && !slices.Contains(record, row[want[0][0]]) {
					t.Fatalf("row %d: got %q of %q", n, row, record)
				}
			}
		}
		if wantErr != nil {
			t.Fatalf("encoding/csv says %v", wantErr)
		}
		if n != max(len(want)-1, 0) {
			t.Fatalf("%d rows of %d", n, len(want)-1)
		}
	})
}
