package main

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/erbridge/erbridge/connector/catalogue"
)

// hidden takes the place of a secret.
const hidden = "[redacted]"

// redactor takes secrets out of what is shown. The nil redactor takes nothing.
type redactor struct {
	keys   []string // of this call, beside those that show it by their name
	values []string // that the caller gave, wherever they turn up
}

// newRedactor knows the secrets of a call, which may be nil.
func newRedactor(call *catalogue.Call, values []string) *redactor {
	r := &redactor{}
	if call != nil {
		r.keys = call.Secrets
	}
	for _, v := range values {
		if len(v) >= minSecret {
			r.values = append(r.values, v)
		}
	}
	return r
}

// minSecret is the length from which a secret is looked for inside of other text;
// a shorter one would blot out half of an answer and hide nothing.
const minSecret = 6

func (r *redactor) secretKey(key string) bool {
	return catalogue.IsSecret(key) || slices.Contains(r.keys, key)
}

// json redacts a JSON text and keeps the order of keys and the digits of numbers.
// Below the key of a secret, every text and number is one; a truth is none, as in
// reset_password. What is no JSON is treated as text.
func (r *redactor) json(text []byte) []byte {
	if r == nil {
		return text
	}
	if !json.Valid(text) {
		return []byte(r.text(string(text)))
	}
	var out bytes.Buffer
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := r.value(d, &out, false); err != nil {
		return []byte(r.text(string(text)))
	}
	return out.Bytes()
}

// value copies one value.
func (r *redactor) value(d *json.Decoder, out *bytes.Buffer, hide bool) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	switch t := token.(type) {
	case json.Delim:
		return r.composite(d, out, t, hide)
	case string:
		switch {
		case hide && t != "":
			t = hidden
		case !hide:
			t = r.inside(t)
		}
		out.Write(quoted(t))
	case json.Number:
		if hide {
			out.Write(quoted(hidden))
		} else {
			out.WriteString(t.String())
		}
	default: // a truth or null
		text, err := json.Marshal(t)
		if err != nil {
			return err
		}
		out.Write(text)
	}
	return nil
}

// composite copies what is left of an object or an array.
func (r *redactor) composite(d *json.Decoder, out *bytes.Buffer, open json.Delim, hide bool) error {
	out.WriteString(open.String())
	for first := true; d.More(); first = false {
		if !first {
			out.WriteByte(',')
		}
		hideThis := hide
		if open == '{' {
			key, err := d.Token()
			if err != nil {
				return err
			}
			name, _ := key.(string)
			hideThis = hide || r.secretKey(name)
			out.Write(quoted(r.given(name)))
			out.WriteByte(':')
		}
		if err := r.value(d, out, hideThis); err != nil {
			return err
		}
	}
	end, err := d.Token()
	if err != nil {
		return err
	}
	out.WriteString(end.(json.Delim).String())
	return nil
}

// inside redacts a text that stands in an answer: the server keeps JSON in texts.
func (r *redactor) inside(text string) string {
	if start := strings.TrimLeft(text, " \t\r\n"); start != "" && strings.IndexByte(`{["`, start[0]) >= 0 && json.Valid([]byte(text)) {
		if redacted := r.json([]byte(text)); bytes.Contains(redacted, []byte(hidden)) {
			return string(redacted)
		}
		return text
	}
	return webToken.ReplaceAllString(inText.ReplaceAllString(r.given(text), "${1}"+hidden+"${2}"), hidden)
}

// given takes out the secrets that the caller gave.
func (r *redactor) given(text string) string {
	for _, v := range r.values {
		text = strings.ReplaceAll(text, v, hidden)
	}
	return text
}

var (
	// named finds a value behind the name of a secret, in whatever notation.
	named = regexp.MustCompile(`(?i)([\w-]*(?:password|passwd|passphrase|secret|token|api_?key|node_?key)[\w-]*["']?\s*[:=]\s*)("(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s,;&}<]+)`)
	// inText finds the value of a secret in a piece of JSON that stands in a text, such
	// as a line of a log.
	inText = regexp.MustCompile(`(?i)("[\w-]*(?:password|passwd|passphrase|secret|token|api_?key|node_?key)"\s*:\s*")(?:[^"\\]|\\.)+("|$)`)
	// webToken finds a JSON web token (RFC 7519): its first part is an object.
	webToken = regexp.MustCompile(`eyJ[\w-]{8,}\.[\w-]+\.[\w-]*`)
)

// text redacts a text of no known form, such as an error.
func (r *redactor) text(text string) string {
	if r == nil {
		return text
	}
	return webToken.ReplaceAllString(named.ReplaceAllString(r.given(text), "${1}"+hidden), hidden)
}

// err redacts what an error says. What it means stays the same.
func (r *redactor) err(err error) error {
	if err == nil || r == nil {
		return err
	}
	plain := err.Error()
	text := webToken.ReplaceAllString(r.given(plain), hidden)
	if text == plain {
		return err
	}
	return &redactedError{text, err}
}

// redactedError says less than the error behind it.
type redactedError struct {
	text string
	err  error
}

func (e *redactedError) Error() string { return e.text }

func (e *redactedError) Unwrap() error { return e.err }

// quoted is a text as JSON, without escapes for HTML.
func quoted(text string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(text); err != nil {
		return []byte(`"` + hidden + `"`)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
