package ersim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxBodyBytes is content_max_length of the server's common/config.ini.
	maxBodyBytes = 5 << 20
	// maxProxyBytes is what the proxy in front of the server takes.
	maxProxyBytes = 100 << 20
	// missingText is how release 2.1.2 words a missing argument.
	missingText = "Missing required parameter in the JSON body or the post body or the query string"
)

// args are the arguments of a call: query string, form fields and JSON body in
// one, as the server's framework merges them. Mistakes are collected.
type args struct {
	values map[string]any
	file   []byte            // content of the upload named file
	name   string            // what the upload calls itself
	bad    map[string]string // argument to what release 2.1.2 says about it
	help   map[string]string // argument to its help text, which is all that 4.0 says
}

var errNotObject = errors.New("the body is not a JSON object")

// readArgs merges what the request carries. It returns an answer when the body
// cannot be read at all. With force the body is JSON whatever its type says.
func (s *Server) readArgs(r *http.Request, force bool) (*args, *answer) {
	a := &args{values: map[string]any{}, bad: map[string]string{}, help: map[string]string{}}
	a.readPairs(r.URL.RawQuery)
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		kind = ""
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBodyBytes+1))
	if err != nil {
		bad := plain(http.StatusBadRequest, "The browser (or proxy) sent a request that this server could not understand.")
		return nil, &bad
	}
	if len(body) > maxBodyBytes {
		// The proxy takes all of it in before the application sees any.
		_, _ = io.CopyN(io.Discard, r.Body, 10*maxProxyBytes) // who stops sending gets no answer anyway
		if r.ContentLength > maxProxyBytes {
			return nil, &answer{status: http.StatusRequestEntityTooLarge, contentType: typeHTML, body: []byte(tooLargeHTML)}
		}
		bad := nested(http.StatusRequestEntityTooLarge, "The data value transmitted exceeds the capacity limit.")
		return nil, &bad
	}
	if force {
		kind = "application/json"
	}
	switch kind {
	case "application/json":
		err = a.readJSON(body, s.profile.v4 && (r.Method == http.MethodPost || r.Method == http.MethodPut))
	case "application/x-www-form-urlencoded":
		a.readPairs(string(body))
	case "multipart/form-data":
		a.readMultipart(body, params["boundary"])
	}
	switch {
	case errors.Is(err, errNotObject):
		bad := s.crash() // observed on release 2.1.2: 500 for a JSON array
		return nil, &bad
	case err != nil:
		bad := plain(http.StatusBadRequest, "Failed to decode JSON object: "+pyJSONError(body, err))
		return nil, &bad
	}
	return a, nil
}

func (a *args) readJSON(body []byte, strict bool) error {
	if len(body) == 0 && !strict {
		return nil // release 4.0 parses JSON of POST and PUT in a request hook and minds an empty body
	}
	var v any
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return err
	}
	if rest := body[dec.InputOffset():]; len(bytes.TrimSpace(rest)) > 0 {
		return extraDataError(len(body) - len(bytes.TrimLeft(rest, " \t\r\n")))
	}
	o, ok := v.(map[string]any)
	if !ok {
		return errNotObject
	}
	for name, value := range o {
		a.values[name] = value
	}
	return nil
}

// extraDataError is where something follows a JSON value.
type extraDataError int

func (e extraDataError) Error() string { return fmt.Sprintf("more at byte %d", int(e)) }

// pyJSONError words a mistake in JSON as Python's json module does, roughly.
func pyJSONError(body []byte, err error) string {
	at := len(body)
	what := "Expecting value"
	if extra := extraDataError(0); errors.As(err, &extra) {
		at, what = int(extra), "Extra data"
	}
	if wrong := (*json.SyntaxError)(nil); errors.As(err, &wrong) && wrong.Offset > 0 {
		at = min(at, int(wrong.Offset)-1)
		if strings.Contains(err.Error(), "object key") {
			what = "Expecting property name enclosed in double quotes"
		}
	}
	before := string(body[:at])
	line, column := 1+strings.Count(before, "\n"), at-strings.LastIndexByte(before, '\n')
	return fmt.Sprintf("%s: line %d column %d (char %d)", what, line, column, at)
}

// holdsNUL reports whether a text among the arguments has the character U+0000.
func (a *args) holdsNUL() bool {
	var holds func(v any) bool
	holds = func(v any) bool {
		switch v := v.(type) {
		case string:
			return strings.ContainsRune(v, 0)
		case []any:
			return slices.ContainsFunc(v, holds)
		case map[string]any:
			return slices.ContainsFunc(slices.Collect(maps.Values(v)), holds)
		}
		return false
	}
	return holds(a.values)
}

// present reports whether the argument was sent with a value other than null.
func (a *args) present(name string) bool { return a.values[name] != nil }

// isText reports whether the argument was sent as a text.
func (a *args) isText(name string) bool {
	_, ok := a.values[name].(string)
	return ok
}

// null reports whether the argument was sent as null.
func (a *args) null(name string) bool {
	v, sent := a.values[name]
	return sent && v == nil
}

func (a *args) mistake(name, help, why string) {
	a.bad[name], a.help[name] = strings.TrimSpace(help+" "+why), help
}

// need notes a mistake unless the argument was sent.
func (a *args) need(name, help string) {
	if !a.present(name) {
		a.mistake(name, help, missingText)
	}
}

// text is an argument as text; numbers and booleans are written out.
func (a *args) text(name string) string {
	switch v := a.values[name].(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	default:
		encoded, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		return string(encoded)
	}
}

// number is a whole number, sent as one or as text.
func (a *args) number(name, help string, otherwise int64) int64 {
	if !a.present(name) {
		return otherwise
	}
	n, err := strconv.ParseInt(a.text(name), 10, 64)
	if err != nil {
		a.mistake(name, help, fmt.Sprintf("invalid literal for int() with base 10: '%s'", a.text(name)))
	}
	return n
}

// negativePage reports whether the page asked for begins before the first row or has
// less than none: the database refuses both.
func (a *args) negativePage() bool {
	return a.number("start", "start", 0) < 0 || a.present("limit") && a.number("limit", "limit", 0) < 0
}

// flag is a boolean in any spelling; nil when it was not sent.
func (a *args) flag(name, help string) *bool {
	if !a.present(name) {
		return nil
	}
	var v bool
	switch text := strings.ToLower(a.text(name)); text {
	case "true", "1":
		v = true
	case "false", "0":
	default:
		a.mistake(name, help, "Invalid literal for boolean(): "+a.text(name))
	}
	return &v
}

// truthy is plain truthiness, as the status argument of /hosts is read: the text
// "false" is true. Nil when it was not sent.
func (a *args) truthy(name string) *bool {
	if !a.present(name) {
		return nil
	}
	v := true
	switch raw := a.values[name].(type) {
	case bool:
		v = raw
	case string:
		v = raw != ""
	case json.Number:
		v = raw.String() != "0"
	}
	return &v
}

// choice is text out of a fixed set.
func (a *args) choice(name, help string, allowed ...string) string {
	text := a.text(name)
	if a.present(name) && !slices.Contains(allowed, text) {
		a.mistake(name, help, fmt.Sprintf("The value '%s' is not a valid choice for '%s'.", text, name))
	}
	return text
}

// list is a comma list without blanks and empty parts. Of a JSON array only the
// first element counts, as observed on release 2.1.2.
func (a *args) list(name string) []string {
	text := a.text(name)
	if array, ok := a.values[name].([]any); ok {
		text = ""
		if len(array) > 0 {
			text = fmt.Sprint(array[0])
		}
	}
	var parts []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// array is a JSON array; a single value is an array of one, comma text included.
func (a *args) array(name string) []string {
	switch v := a.values[name].(type) {
	case nil:
		return nil
	case []any:
		texts := make([]string, 0, len(v))
		for _, element := range v {
			texts = append(texts, fmt.Sprint(element))
		}
		return texts
	default:
		return []string{a.text(name)}
	}
}

// invalid is the answer to the mistakes found, or nil.
func (s *Server) invalid(a *args) *answer {
	if len(a.bad) == 0 {
		return nil
	}
	out := jsonAnswer(http.StatusBadRequest, obj{"message": a.help})
	if !s.profile.v4 {
		out = jsonAnswer(http.StatusBadRequest, obj{"errors": a.bad, "message": "Input payload validation failed"})
	}
	return &out
}
