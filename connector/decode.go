package connector

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// decoder reads one JSON text front to back. It exists beside encoding/json for
// two reasons. The server's types wander: a number comes as text, an object as
// null, as {} or as the text "null", and one odd value must not cost the page
// around it; here every read states what it makes of the wrong type. And the poll
// path decodes pages of a thousand alerts with a map each, where it is more than
// twice as fast.
//
// After a syntax error all reads return zero values and err is set. The grammar
// is that of RFC 8259, except that NaN, Infinity and -Infinity pass as numbers,
// because the server's encoder writes them.
type decoder struct {
	data    []byte
	pos     int
	depth   int
	strange int // how many NaN and Infinity were met
	err     error
	names   map[string]string // keys and frequent values, so that they are kept once
}

// maxDepth bounds nesting; the server's deepest answer, a process tree, stays
// far below.
const maxDepth = 1000

var errTruncated = errors.New("JSON text ends early")

func newDecoder(data []byte) *decoder {
	return &decoder{data: data, names: make(map[string]string, 64)}
}

// end returns the first error; text after the value is one.
func (d *decoder) end() error {
	d.space()
	if d.err == nil && d.pos < len(d.data) {
		d.syntax("text after the end")
	}
	return d.err
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.pos = len(d.data)
}

func (d *decoder) syntax(what string) {
	if d.err == nil {
		if d.pos >= len(d.data) {
			d.fail(errTruncated)
			return
		}
		d.fail(fmt.Errorf("JSON: %s at byte %d", what, d.pos))
	}
}

func (d *decoder) space() {
	for d.pos < len(d.data) {
		switch d.data[d.pos] {
		case ' ', '\n', '\t', '\r':
			d.pos++
		default:
			return
		}
	}
}

// peek skips space and returns the next byte, 0 at the end.
func (d *decoder) peek() byte {
	d.space()
	if d.pos >= len(d.data) {
		d.syntax("value expected")
		return 0
	}
	return d.data[d.pos]
}

// object calls each for every key of an object; each reads exactly one value.
// Any other value is skipped and reported as false.
func (d *decoder) object(each func(key string)) bool {
	if d.peek() != '{' {
		d.skip()
		return false
	}
	if !d.enter() {
		return false
	}
	for first := true; ; first = false {
		c := d.peek()
		if c == '}' && first {
			break
		}
		if c != '"' {
			d.syntax("key expected")
			return false
		}
		key := d.name()
		if d.peek() != ':' {
			d.syntax("colon expected")
			return false
		}
		d.pos++
		each(key)
		if d.err != nil {
			return false
		}
		if c = d.peek(); c == '}' {
			break
		}
		if c != ',' {
			d.syntax("comma expected")
			return false
		}
		d.pos++
	}
	d.leave()
	return true
}

// array calls each for every element; each reads exactly one value. Any other
// value is skipped and reported as false.
func (d *decoder) array(each func()) bool {
	if d.peek() != '[' {
		d.skip()
		return false
	}
	if !d.enter() {
		return false
	}
	for first := true; ; first = false {
		if first && d.peek() == ']' {
			break
		}
		each()
		if d.err != nil {
			return false
		}
		c := d.peek()
		if c == ']' {
			break
		}
		if c != ',' {
			d.syntax("comma expected")
			return false
		}
		d.pos++
	}
	d.leave()
	return true
}

func (d *decoder) enter() bool {
	d.pos++
	if d.depth++; d.depth > maxDepth {
		d.fail(fmt.Errorf("JSON: nested deeper than %d", maxDepth))
		return false
	}
	return true
}

func (d *decoder) leave() {
	d.pos++
	d.depth--
}

// skip reads over one value of any kind.
func (d *decoder) skip() {
	switch c := d.peek(); c {
	case '{':
		d.object(func(string) { d.skip() })
	case '[':
		d.array(d.skip)
	case '"':
		d.quoted()
	default:
		d.literal()
	}
}

// raw returns one value as JSON, or nil for null. The result is a copy.
func (d *decoder) raw() json.RawMessage {
	d.space()
	start, strange := d.pos, d.strange
	d.skip()
	if d.err != nil {
		return nil
	}
	span := d.data[start:d.pos]
	if string(span) == "null" {
		return nil
	}
	if d.strange > strange {
		return withoutStrange(span)
	}
	return bytes.Clone(span)
}

// withoutStrange replaces NaN and the infinities by null, so that what is handed
// on is JSON.
func withoutStrange(span []byte) json.RawMessage {
	d := newDecoder(span)
	var out []byte
	last := 0
	var walk func()
	walk = func() {
		switch d.peek() {
		case '{':
			d.object(func(string) { walk() })
		case '[':
			d.array(walk)
		case '"':
			d.quoted()
		default:
			start, strange := d.pos, d.strange
			d.literal()
			if d.strange > strange {
				out = append(append(out, span[last:start]...), "null"...)
				last = d.pos
			}
		}
	}
	walk()
	return append(out, span[last:]...)
}

// emptyRaw reports whether a value is one of the server's ways to say nothing.
func emptyRaw(raw json.RawMessage) bool {
	switch string(bytes.TrimSpace(raw)) {
	case "", "null", "{}", "[]", `""`, `"null"`:
		return true
	}
	return false
}

// text reads a string; a number or boolean gives its digits or word, null gives
// "", an object or array its JSON.
func (d *decoder) text() string {
	switch d.peek() {
	case '"':
		return d.unquote(d.quoted())
	case '{', '[':
		return string(d.raw())
	}
	word := d.literal()
	if string(word) == "null" {
		return ""
	}
	return string(word)
}

// word reads a string like text does and keeps equal ones once; for values that
// repeat from row to row.
func (d *decoder) word() string {
	if d.peek() == '"' {
		return d.name()
	}
	return d.text()
}

// name reads a quoted string and keeps equal ones once.
func (d *decoder) name() string {
	inside, escaped := d.quoted()
	if escaped {
		return d.unquote(inside, escaped)
	}
	if s, ok := d.names[string(inside)]; ok {
		return s
	}
	s := d.unquote(inside, escaped)
	// A page of alerts has some hundred names; a hostile one shall not make the
	// map grow with it.
	if len(d.names) < 1024 && len(s) <= 64 {
		d.names[s] = s
	}
	return s
}

// integer reads a whole number, also one in quotes or with an empty fraction.
// The second result is false for everything else.
func (d *decoder) integer() (int64, bool) {
	var digits []byte
	switch d.peek() {
	case '"':
		inside, escaped := d.quoted()
		if escaped {
			return 0, false
		}
		digits = bytes.TrimSpace(inside)
	case '{', '[':
		d.skip()
		return 0, false
	default:
		digits = d.literal()
	}
	if n, err := strconv.ParseInt(string(digits), 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(string(digits), 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// id reads a whole number, 0 for anything else.
func (d *decoder) id() int64 {
	n, _ := d.integer()
	return n
}

// count reads a whole number that fits an int, 0 for anything else.
func (d *decoder) count() int { return int(d.id()) }

// boolean reads true and false in any spelling and 1 and 0; nil for anything else.
func (d *decoder) boolean() *bool {
	switch strings.ToLower(strings.TrimSpace(d.text())) {
	case "true", "1":
		return new(true)
	case "false", "0":
		return new(false)
	}
	return nil
}

// truth is boolean with nil as false.
func (d *decoder) truth() bool {
	b := d.boolean()
	return b != nil && *b
}

// time reads a time in any of the server's layouts; zero for anything else.
func (d *decoder) time() time.Time {
	t, err := ParseTime(d.text())
	if err != nil {
		return time.Time{}
	}
	return t
}

// texts reads an array of text; a comma list in one string counts as well.
func (d *decoder) texts() []string {
	var list []string
	switch d.peek() {
	case '[':
		d.array(func() {
			if s := d.word(); s != "" {
				list = append(list, s)
			}
		})
	case '"':
		for part := range strings.SplitSeq(d.text(), ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
	default:
		d.skip()
	}
	return list
}

// columns reads the columns of an event: an object of which every value becomes
// text. It returns nil for anything but an object. Old releases put the object
// into a string; that is opened.
func (d *decoder) columns() map[string]string {
	if d.peek() == '"' {
		inner := newDecoder([]byte(d.text()))
		cols := inner.columns1()
		if inner.end() != nil {
			return nil
		}
		return cols
	}
	return d.columns1()
}

func (d *decoder) columns1() map[string]string {
	if d.peek() != '{' {
		d.skip()
		return nil
	}
	cols := make(map[string]string, 16)
	d.object(func(key string) { cols[key] = d.text() })
	return cols
}

// literal reads a number or one of the words.
func (d *decoder) literal() []byte {
	start := d.pos
	for d.pos < len(d.data) {
		switch d.data[d.pos] {
		case ',', '}', ']', ' ', '\n', '\t', '\r', ':', '"', '{', '[':
		default:
			d.pos++
			continue
		}
		break
	}
	word := d.data[start:d.pos]
	switch string(word) {
	case "null", "true", "false":
		return word
	case "NaN", "Infinity", "-Infinity":
		d.strange++
		return word
	}
	if !isNumber(word) {
		d.pos = start
		d.syntax("value expected")
		return nil
	}
	return word
}

// isNumber checks the number grammar of RFC 8259, section 6.
func isNumber(s []byte) bool {
	digits := func() bool {
		n := 0
		for n < len(s) && '0' <= s[n] && s[n] <= '9' {
			n++
		}
		s = s[n:]
		return n > 0
	}
	if len(s) > 0 && s[0] == '-' {
		s = s[1:]
	}
	if len(s) > 0 && s[0] == '0' {
		s = s[1:]
	} else if !digits() {
		return false
	}
	if len(s) > 0 && s[0] == '.' {
		if s = s[1:]; !digits() {
			return false
		}
	}
	if len(s) > 0 && (s[0] == 'e' || s[0] == 'E') {
		s = s[1:]
		if len(s) > 0 && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if !digits() {
			return false
		}
	}
	return len(s) == 0
}

// quoted reads a string and returns what is between the quotes, and whether it
// has escapes or bytes that need a closer look.
func (d *decoder) quoted() (inside []byte, special bool) {
	d.pos++
	start := d.pos
	for d.pos < len(d.data) {
		switch c := d.data[d.pos]; {
		case c == '"':
			inside = d.data[start:d.pos]
			d.pos++
			return inside, special
		case c == '\\':
			special = true
			if !d.escape() {
				return nil, false
			}
		case c < 0x20:
			d.syntax("control character in string")
			return nil, false
		default:
			if c >= utf8.RuneSelf {
				special = true
			}
			d.pos++
		}
	}
	d.syntax("string without end")
	return nil, false
}

// escape checks and reads over one escape sequence.
func (d *decoder) escape() bool {
	if d.pos+1 >= len(d.data) {
		d.pos = len(d.data)
		d.syntax("escape")
		return false
	}
	switch d.data[d.pos+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		d.pos += 2
		return true
	case 'u':
		if _, ok := hex4(d.data[d.pos+2:]); ok {
			d.pos += 6
			return true
		}
	}
	d.syntax("unknown escape")
	return false
}

func hex4(s []byte) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range s[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unquote resolves escapes and replaces invalid UTF-8. Its arguments are the
// results of quoted.
func (d *decoder) unquote(s []byte, special bool) string {
	if !special {
		return string(s)
	}
	out := make([]byte, 0, len(s))
	for len(s) > 0 {
		c := s[0]
		if c != '\\' {
			r, n := utf8.DecodeRune(s)
			if r == utf8.RuneError {
				out = utf8.AppendRune(out, utf8.RuneError)
			} else {
				out = append(out, s[:n]...)
			}
			s = s[n:]
			continue
		}
		switch s[1] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, _ := hex4(s[2:])
			if utf16.IsSurrogate(r) {
				// The second half must follow; half a pair is not a character.
				pair := rune(utf8.RuneError)
				if len(s) >= 12 && s[6] == '\\' && s[7] == 'u' {
					low, _ := hex4(s[8:])
					pair = utf16.DecodeRune(r, low)
				}
				if r = pair; r != utf8.RuneError {
					s = s[6:]
				}
			}
			out = utf8.AppendRune(out, r)
			s = s[4:]
		default: // " \ /
			out = append(out, s[1])
		}
		s = s[2:]
	}
	return string(out)
}
