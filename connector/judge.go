package connector

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// judge turns an answer into an error, or hands a success on.
func (c *Client) judge(k call, a answer, read readFunc) error {
	fault := &APIError{Method: k.method, Path: k.path, Status: a.status}
	if after, ok := retryAfter(a.header, time.Now()); ok {
		fault.RetryAfter = after
	}
	isJSON := looksJSON(a)
	var env envelope
	if isJSON {
		if err := env.read(a.body); err != nil {
			isJSON = false
			fault.Message = "JSON that cannot be read: " + err.Error()
		}
	}
	if isJSON {
		fault.Message, fault.Fields = oneLine(env.message), env.fields
	} else if fault.Message == "" {
		fault.Message = c.describe(a)
	}

	switch {
	case !good(a.status):
		fault.kinds = statusKinds(k, a, isJSON)
	case isJSON && env.success(k):
		if read != nil {
			read(env.answer)
		}
		return nil
	case isJSON && env.status != "" && (!k.effect || env.failure()):
		fault.kinds = refusalKinds(k)
	default:
		// Neither yes nor no.
		fault.kinds = []error{ErrNotJSON}
		switch {
		case isJSON && env.status != "":
			fault.Message = oneLine(fmt.Sprintf("unknown status %q: %s", clip(env.status, 64), env.message))
		case isJSON:
			fault.Message = "the answer has no status"
		}
		if k.effect {
			fault.kinds = append(fault.kinds, ErrUncertain)
		}
	}
	return fault
}

// refusalKinds says what "status": "failure" means.
func refusalKinds(k call) []error {
	switch {
	case isLogin(k):
		return []error{ErrBadCredentials}
	case k.byID:
		return []error{ErrRefused, ErrNotFound}
	}
	return []error{ErrRefused}
}

func isLogin(k call) bool { return k.id == callAuthLogin.id || k.id == callV0Login.id }

// statusKinds says what an HTTP status other than 200 means.
func statusKinds(k call, a answer, isJSON bool) []error {
	switch {
	case a.status == http.StatusUnauthorized && isLogin(k):
		return []error{ErrBadCredentials}
	case a.status == http.StatusUnauthorized:
		return []error{ErrUnauthorized}
	case a.status == http.StatusForbidden:
		return []error{ErrForbidden}
	case absent(k, a, isJSON):
		return []error{unavailable{k}}
	case a.status == http.StatusNotFound:
		return []error{ErrNotFound}
	case a.status == http.StatusTooManyRequests,
		a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "":
		return []error{ErrNotSent}
	case a.status == http.StatusRequestTimeout || a.status >= 500 || a.status == http.StatusSeeOther:
		if k.effect {
			return []error{ErrUncertain}
		}
		return []error{errServer}
	case a.status < 400:
		// The server sends us elsewhere and so has not done it here.
		return []error{ErrNotJSON}
	}
	return []error{ErrRefused}
}

// absent reports whether an answer says that the server's edition or release does
// not have the call. Unknown paths are HTML; a path that only another method has
// is HTTP 405, and a call that release 4.0 gave up is HTTP 410.
func absent(k call, a answer, isJSON bool) bool {
	switch a.status {
	case http.StatusNotFound:
		return !isJSON && (k.enterprise || k.releases != "")
	case http.StatusMethodNotAllowed, http.StatusGone:
		return k.enterprise || k.releases != ""
	}
	return false
}

// errServer is an answer of a server, or of a proxy before it, that is in trouble.
var errServer = errors.New("server error")

// looksJSON reports whether an answer may be JSON: it starts like it and does not
// claim to be a page or a file. Some proxies drop or change the type of JSON.
func looksJSON(a answer) bool {
	mediaType, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	switch strings.ToLower(strings.TrimSpace(mediaType)) {
	case "text/html", "text/csv", "application/octet-stream":
		return false
	}
	start := bytes.TrimLeft(a.body, " \t\r\n")
	return len(start) > 0 && start[0] == '{'
}

// describe says what came in place of JSON, and what is probably wrong.
func (c *Client) describe(a answer) string {
	kind := oneLine(a.header.Get("Content-Type"))
	switch {
	case a.status >= 300 && a.status < 400:
		return "redirect, not followed; is the server URL right?"
	case len(a.body) == 0:
		return "empty answer"
	case strings.HasPrefix(kind, "text/html") && a.status == http.StatusOK:
		return "got a web page in place of JSON; the base path is probably wrong, or a proxy answered"
	case strings.HasPrefix(kind, "text/html") && a.status == http.StatusNotFound:
		return "the server has no such path"
	case a.status == http.StatusMethodNotAllowed:
		return "the server has no such call"
	case strings.HasPrefix(kind, "text/html"):
		return "got an error page, probably of a proxy"
	case strings.HasPrefix(kind, "text/plain"):
		return oneLine(clip(string(a.body), 256))
	case kind == "":
		return "answer has no content type"
	case strings.HasPrefix(kind, typeJSON) && json.Valid(a.body) && looksJSON(a):
		return "got JSON of another kind"
	case strings.HasPrefix(kind, typeJSON) && json.Valid(a.body):
		return "the JSON is not an object"
	case strings.HasPrefix(kind, typeJSON):
		return "what claims to be JSON is not"
	}
	return "got " + kind + " in place of JSON"
}

// envelope is the outer shape of nearly all answers.
// API: {"status", "message", "data"} (REST guide 4.0.0, "Response format").
type envelope struct {
	answer  value
	status  string
	message string
	fields  map[string]string
	bare    bool // no status key at all
}

// read reads an answer.
func (e *envelope) read(body []byte) (err error) {
	if e.answer, err = parse(body); err != nil {
		return err
	}
	if !e.answer.isObject() {
		return errNotObject
	}
	e.bare = !e.answer.has("status")
	e.status = e.answer.at("status").text()
	// Release 2.1.2: {"errors": {argument: complaint}, "message": "Input payload
	// validation failed"}.
	e.complaints(e.answer.at("errors"))
	e.readMessage(e.answer.at("message"), 0)
	return nil
}

// readMessage reads a message: text, or {"message": ...} once more, or an object
// of arguments and complaints (release 4.0, HTTP 400).
func (e *envelope) readMessage(v value, depth int) {
	if !v.isObject() || depth > 3 {
		e.message = v.text()
		return
	}
	e.complaints(v)
	if v.has("message") {
		e.readMessage(v.at("message"), depth+1)
	}
}

// complaints reads what is wrong with which argument.
func (e *envelope) complaints(v value) {
	for name, complaint := range v.fields() {
		if name != "message" {
			e.field(name, complaint.text())
		}
	}
}

func (e *envelope) field(name, complaint string) {
	if e.fields == nil {
		e.fields = make(map[string]string)
	}
	if len(e.fields) < 64 {
		e.fields[oneLine(clip(name, 64))] = oneLine(clip(complaint, 256))
	}
}

// success reports whether the server says that it did what was asked. The word is
// "success" or "Success"; anything else is not. Login and index have no status.
func (e *envelope) success(k call) bool {
	if e.bare {
		return k.bare
	}
	return strings.EqualFold(e.status, "success")
}

// failure reports whether the server says that it did not do what was asked. Of
// another word, such as one for a call that is still under way, nobody knows.
func (e *envelope) failure() bool {
	return strings.EqualFold(e.status, "failure") || strings.EqualFold(e.status, "error")
}

// plainError takes the address out of an error of net/http, because the call is
// named by method and path already, and marks certificate troubles.
func plainError(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if isCertificateError(err) && !errors.Is(err, ErrCertificate) {
		err = fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	return err
}
