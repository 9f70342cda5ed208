package ersim

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// obj is a JSON object under construction.
type obj = map[string]any

// answer is what a handler decided to send. Stream, when set, writes the body
// itself after the faults had their say.
type answer struct {
	status      int
	contentType string
	allow       string
	body        []byte
	stream      http.Handler
}

const (
	typeJSON = "application/json"
	typeHTML = "text/html"
	typeText = "text/plain"
)

const (
	notFoundHTML = `<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<title>404 Not Found</title>
<h1>Not Found</h1>
<p>The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again.</p>
`
	notAllowedHTML = `<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<title>405 Method Not Allowed</title>
<h1>Method Not Allowed</h1>
<p>The method is not allowed for the requested URL.</p>
`
	tooLargeHTML = `<html>
<head><title>413 Request Entity Too Large</title></head>
<body><center><h1>413 Request Entity Too Large</h1></center></body>
</html>
`
	consoleHTML = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Endpoint Response</title></head><body><app-root></app-root></body></html>
`
)

var (
	notFound = answer{status: http.StatusNotFound, contentType: typeHTML, body: []byte(notFoundHTML)}
	console  = answer{status: http.StatusOK, contentType: typeHTML, body: []byte(consoleHTML)}
)

// jsonAnswer sends v with a newline behind it.
func jsonAnswer(status int, v any) answer {
	return answer{status: status, contentType: typeJSON, body: append(encodeJSON(v), '\n')}
}

// encodeJSON encodes v as the server does: in ASCII, without HTML escapes. What
// cannot be encoded, which only an AlertSpec's Intel may bring along, is null.
func encodeJSON(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return []byte("null")
	}
	return asciiJSON(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// asciiJSON escapes everything outside ASCII in encoded JSON, as Python's json
// module does by default.
func asciiJSON(encoded []byte) []byte {
	at := 0
	for at < len(encoded) && encoded[at] < utf8.RuneSelf {
		at++
	}
	if at == len(encoded) {
		return encoded
	}
	out := append(make([]byte, 0, len(encoded)+16), encoded[:at]...)
	for rest := encoded[at:]; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		rest = rest[size:]
		switch {
		case r < utf8.RuneSelf:
			out = append(out, byte(r))
		case r > 0xffff:
			r -= 0x10000
			out = appendEscape(appendEscape(out, 0xd800+r>>10), 0xdc00+r&0x3ff)
		default:
			out = appendEscape(out, r)
		}
	}
	return out
}

func appendEscape(b []byte, unit rune) []byte {
	const hex = "0123456789abcdef"
	return append(b, '\\', 'u', hex[unit>>12&15], hex[unit>>8&15], hex[unit>>4&15], hex[unit&15])
}

// ok is the usual success envelope. Release 2.1.2 drops data that is null or an
// empty object; 4.0 always sends it.
func (s *Server) ok(message string, data any) answer { return s.envelope("success", message, data) }

// fail is the usual refusal: HTTP 200 with status failure.
func (s *Server) fail(message string) answer { return s.envelope("failure", message, nil) }

func (s *Server) envelope(status, message string, data any) answer {
	out := obj{"status": status, "message": message, "data": data}
	if !s.profile.v4 && (data == nil || isEmptyObject(data)) {
		delete(out, "data")
	}
	return jsonAnswer(http.StatusOK, out)
}

func isEmptyObject(data any) bool {
	o, ok := data.(obj)
	return ok && len(o) == 0
}

// flat is a success whose extra keys stand beside status and message.
func (s *Server) flat(message string, extra obj) answer {
	extra["status"], extra["message"] = "success", message
	return jsonAnswer(http.StatusOK, extra)
}

// plain is an error of the form {"message": text}.
func plain(status int, message string) answer {
	return jsonAnswer(status, obj{"message": message})
}

// nested is an error of the form {"message": {"message": text}}.
func nested(status int, message string) answer {
	return jsonAnswer(status, obj{"message": obj{"message": message}})
}

// crash is an exception that nobody caught. Release 2.1.2 answers in plain text.
func (s *Server) crash() answer {
	if s.profile.v4 {
		return plain(http.StatusInternalServerError, "Internal Server Error")
	}
	return answer{status: http.StatusInternalServerError, contentType: typeText, body: []byte("Internal Server Error")}
}

// write sends the answer; half cuts the body in the middle and the connection with it.
func (a answer) write(w http.ResponseWriter, r *http.Request, half bool) {
	if a.stream != nil && !half {
		a.stream.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", a.contentType)
	if a.status != http.StatusInternalServerError || a.contentType != typeText {
		allowOrigins(w.Header())
	}
	// The proxy in front of the server packs JSON for clients that ask for it. A
	// body that is to break off stays as it is, so that half of it is readable.
	if a.contentType == typeJSON && !half && takesGzip(r) {
		a.body = packed(a.body)
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Vary", "Accept-Encoding")
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	if a.allow != "" {
		w.Header().Set("Allow", a.allow)
	}
	w.WriteHeader(a.status)
	if r.Method == http.MethodHead {
		return
	}
	body := a.body
	if half {
		body = body[:len(body)/2]
	}
	_, _ = w.Write(body) // the client went away: nothing is left to tell it
	if half {
		_ = http.NewResponseController(w).Flush() // the abort below follows anyway
		panic(http.ErrAbortHandler)
	}
}

// allowOrigins lets scripts of any origin in, as the server does except when it crashed.
func allowOrigins(h http.Header) {
	h.Set("Access-Control-Allow-Methods", "PUT, GET, POST, DELETE, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "Content-Type,Authorization,x-access-token,content-type")
	h.Set("Access-Control-Expose-Headers", "Content-Type,Content-Length,Authorization,X-Pagination")
	h.Set("Access-Control-Allow-Origin", "*")
}

// takesGzip reports whether the client understands gzip. A weight of nothing says that
// it does not.
func takesGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(strings.ToLower(r.Header.Get("Accept-Encoding")), ",") {
		name, weight, _ := strings.Cut(coding, ";")
		weight = strings.TrimLeft(strings.ReplaceAll(weight, " ", ""), "q=")
		if strings.TrimSpace(name) == "gzip" && (weight == "" || strings.Trim(weight, "0.") != "") {
			return true
		}
	}
	return false
}

func packed(body []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	// A buffer takes everything.
	_, _ = z.Write(body)
	_ = z.Close()
	return b.Bytes()
}
