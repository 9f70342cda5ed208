package connector

import (
	"bytes"
	"encoding/json"
	"errors"
)

// Page is one page of a list.
type Page[T any] struct {
	// Count is how many rows match the filter, Total how many there are without
	// the search text. Releases differ in detail; neither says when to stop.
	Count, Total int
	// Results are the rows, in the server's order. Without a row they are empty, and not
	// nil: an answer that has no list at all is an error.
	Results []T
	// Malformed are the rows that could not be read. The others are unharmed.
	Malformed []*MalformedError
}

// MalformedError is a row of a list that could not be read.
type MalformedError struct {
	Reason string
	Raw    json.RawMessage // at most 1 MiB; values that are secrets by their key are [redacted]
}

// Error says why the row could not be read.
func (e *MalformedError) Error() string { return "malformed row: " + e.Reason }

const (
	defaultPageSize = 100
	maxMalformed    = 1 << 20
)

// rows reads the page, or the bare array of rows, that is the data of an answer.
// row returns an error for a row that lacks what a row must have; the row is then
// kept as it came. Without a list, Results is nil.
func rows[T any](data value, row func(value) (T, error)) Page[T] {
	page := Page[T]{Count: data.at("count").count(), Total: data.at("total_count").count()}
	list, ok := data.at("results").v.([]any)
	bare, isBare := data.v.([]any)
	if isBare {
		list, ok = bare, true
	}
	if !ok {
		return page
	}
	page.Results = make([]T, 0, 16)
	var texts []json.RawMessage
	for i, item := range list {
		v, err := row(value{item, data.source})
		if err == nil {
			page.Results = append(page.Results, v)
			continue
		}
		if texts == nil {
			texts = rowTexts(data.source)
		}
		raw := encode(item)
		if object, ok := item.(map[string]any); ok && hasSecret(object) {
			raw = encode(withoutSecrets(object))
		} else if len(texts) == len(list) { // else the list stands elsewhere in the answer
			raw = texts[i]
		}
		page.Malformed = append(page.Malformed, &MalformedError{Reason: err.Error(), Raw: clipBytes(raw, maxMalformed)})
	}
	if isBare {
		page.Count, page.Total = len(page.Results), len(page.Results)
	}
	return page
}

// rowTexts finds the text of each row in the text of an answer. That reads the
// answer once more, for the rare page with a malformed row.
func rowTexts(answer []byte) (texts []json.RawMessage) {
	var top, page map[string]json.RawMessage
	if json.Unmarshal(answer, &top) != nil {
		return nil
	}
	if json.Unmarshal(top["data"], &page) == nil {
		top["data"] = page["results"]
	}
	if json.Unmarshal(top["data"], &texts) != nil {
		return nil
	}
	return texts
}

func clipBytes(b json.RawMessage, limit int) json.RawMessage {
	if len(b) > limit {
		b = b[:limit]
	}
	return bytes.Clone(b)
}

var errNotObject = errors.New("not an object")

// needID checks what nearly every row must be: an object with an id.
func needID(row value, id int64, what string) error {
	switch {
	case !row.isObject():
		return errNotObject
	case id == 0:
		return errors.New(what + " without id")
	}
	return nil
}
