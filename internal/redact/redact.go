// Package redact takes out of events what must not leave this machine, at one place
// and before any sink sees them: chat, SIEM, dead letters, the texts of approvals, and
// what erbridge logs.
//
// The store keeps alerts as they came in, for playbooks and for whoever may read it. The
// audit record has rules of its own that no setting changes: its records are compared
// with the journal by doing the same again, which has to come out the same in a year.
package redact

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/erbridge/erbridge/internal/soar"
)

// Hidden stands where something was taken out.
const Hidden = "[redacted]"

// Settings say what is taken out. The zero value takes out nothing.
type Settings struct {
	// Fields are taken out as a whole, by their path in the event as sinks get it:
	// alert.event.cmdline, alert.comment, alert.event.* for all columns. What stood in
	// them is taken out of the other texts of the event too, if it is long enough to be
	// told from a word. Ids, states and names of playbooks cannot be taken out.
	Fields []string `yaml:"fields"`

	// Pseudonyms are replaced by a pseudonym, by their path as in fields: alert.host.name
	// becomes host-k7fq3m2xdz4brw. The same value has the same pseudonym in all events,
	// sinks and fields (but for its first part), so that events can still be put
	// together; without the key nobody can tell the value, or try names. What stood in
	// them is replaced in the other texts of the event too, if it is long enough to be
	// told from a word.
	Pseudonyms []string `yaml:"pseudonyms"`

	// Key makes the pseudonyms (HMAC-SHA-256): at least 32 bytes, such as openssl rand
	// -hex 32 gives. Another key gives other pseudonyms, and the events before and after
	// cannot be put together.
	Key soar.Secret `yaml:"key"`

	// Patterns are regular expressions (RE2) of what is taken out of any text. Where one
	// has groups, only what they match goes: 'ssn=(\d+)'.
	Patterns []string `yaml:"patterns"`

	// Builtin are patterns that ship with erbridge: passwords on command lines, in
	// addresses and in columns that are called so; tokens and keys that give themselves
	// away by their form; numbers of payment cards.
	Builtin []string `yaml:"builtin" enum:"passwords,tokens,cards"`
}

const (
	maxRules      = 100
	maxRuleBytes  = 1 << 10
	minKnown      = 8    // bytes of a field's value that is looked for in other texts
	maxKnown      = 64   // such values of one event
	maxHits       = 1000 // in one text; one with more is taken out as a whole
	maxPasses     = 8    // over one text, until nothing is left to take out
	maxValueDepth = 64   // of lists and objects in one another
)

// Redactor takes things out. The nil Redactor takes out nothing. It is safe for
// concurrent use.
type Redactor struct {
	fields [][]string
	rules  []rule
	named  bool // what stands under the name of a secret goes

	renamed [][]string // fields that get a pseudonym
	names   *pseudonyms
}

// Mistake is something wrong with the settings.
type Mistake struct {
	// Setting is fields, pseudonyms, key, patterns or builtin, Index the place in that
	// list; it is -1 for what is no list.
	Setting string
	Index   int
	Words   string
}

func (m *Mistake) Error() string { return fmt.Sprintf("redact: %s: %s", m.Setting, m.Words) }

// New reads settings. It returns nil for those that take out nothing. The error joins
// every *Mistake, and why a key could not be read, which is none.
func New(s Settings) (*Redactor, error) {
	r := &Redactor{}
	var problems []error
	wrong := func(setting string, i int, format string, args ...any) {
		problems = append(problems, &Mistake{setting, i, fmt.Sprintf(format, args...)})
	}
	for _, list := range []struct {
		name string
		of   []string
	}{{"fields", s.Fields}, {"pseudonyms", s.Pseudonyms}, {"patterns", s.Patterns}} {
		if len(list.of) > maxRules {
			wrong(list.name, maxRules, "%d are too many, %d are the most", len(list.of), maxRules)
		}
		for i, text := range list.of {
			if len(text) > maxRuleBytes {
				wrong(list.name, i, "%d bytes are too long, %d are the most", len(text), maxRuleBytes)
			}
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	paths := func(setting string, texts []string) (paths [][]string) {
		for i, text := range texts {
			path := strings.Split(strings.TrimPrefix(text, "."), ".")
			if err := checkPath(reflect.TypeFor[soar.Event](), path, nil); err != nil {
				wrong(setting, i, "%q: %v", text, err)
				continue
			}
			paths = append(paths, path)
			if slices.Equal(path, []string{"alert", "comment"}) { // an edit tells what it was, which nothing else in the event does
				paths = append(paths, []string{"change", "from", "comment"}, []string{"change", "to", "comment"})
			}
		}
		return paths
	}
	r.fields, r.renamed = paths("fields", s.Fields), paths("pseudonyms", s.Pseudonyms)
	for i, text := range s.Pseudonyms {
		if slices.Contains(s.Fields, text) {
			wrong("pseudonyms", i, "%q is in fields too, which takes it out", text)
		}
	}
	switch {
	case len(s.Pseudonyms) > 0:
		var err error
		if r.names, err = newPseudonyms(s.Key); errors.Is(err, errKey) {
			wrong("key", -1, "%v", err)
		} else if err != nil {
			problems = append(problems, err)
		}
	case s.Key.IsSet():
		wrong("key", -1, "a key is of use with pseudonyms only")
	}
	for i, text := range s.Patterns {
		one, err := newRule(text)
		if err != nil {
			wrong("patterns", i, "%v", err)
			continue
		}
		r.rules = append(r.rules, one)
	}
	for i, name := range s.Builtin {
		rules, ok := builtin[name]
		if !ok {
			wrong("builtin", i, "%q is none of passwords, tokens, cards", name)
		}
		r.rules = append(r.rules, rules...)
		r.named = r.named || name == "passwords"
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	if len(r.fields)+len(r.renamed)+len(r.rules) == 0 {
		return nil, nil
	}
	return r, nil
}

// Event returns the event with what must not leave taken out. The event that was given
// and everything that it points to stay as they are. Doing it again changes nothing.
func (r *Redactor) Event(ev soar.Event) soar.Event { return redacted(r, ev, "") }

// Alert does the same to an alert that stands by itself.
func (r *Redactor) Alert(a *soar.Alert) *soar.Alert { return redacted(r, a, "alert") }

// redacted walks over a value that stands at a path of an event.
func redacted[T any](r *Redactor, value T, at string) T {
	if r == nil {
		return value
	}
	var path []string
	if at != "" {
		path = []string{at}
	}
	w := &walker{r: r}
	if len(r.fields)+len(r.renamed) > 0 || r.named {
		w.collecting = true
		w.walk(reflect.ValueOf(&value).Elem(), path, keep)
		w.collecting = false
		slices.SortFunc(w.known, func(a, b piece) int { return len(b.text) - len(a.text) }) // the whole before its parts
	}
	return w.walk(reflect.ValueOf(&value).Elem(), path, keep).Interface().(T)
}

// Text returns a text with what the patterns match taken out.
func (r *Redactor) Text(text string) string {
	if r == nil {
		return text
	}
	return r.text(text, nil)
}

// fate is what becomes of the texts and numbers of a field.
type fate struct {
	hide bool
	kind string // of the pseudonym that stands there instead
}

var (
	keep = fate{}
	hide = fate{hide: true}
)

func (f fate) changes() bool { return f.hide || f.kind != "" }

// fate is what the settings say of a path; above is what they say of what it stands in.
func (r *Redactor) fate(path []string, above fate) fate {
	switch {
	case above.hide || len(path) == 0:
		return above
	case named(r.fields, path):
		return hide
	case above.kind == "" && named(r.renamed, path):
		return fate{kind: kindOf(path)}
	}
	return above
}

func named(fields [][]string, path []string) bool {
	return slices.ContainsFunc(fields, func(field []string) bool {
		if len(field) != len(path) {
			return false
		}
		for i := range field {
			if field[i] != "*" && field[i] != path[i] {
				return false
			}
		}
		return true
	})
}

// walker copies a value.
type walker struct {
	r          *Redactor
	known      []piece // what stood in fields that are taken out
	collecting bool    // only look for them
}

// walk returns a copy of v, with every text and number in it treated as above has it. Names
// of lists are those of their items.
func (w *walker) walk(v reflect.Value, path []string, above fate) reflect.Value {
	if len(path) > maxValueDepth {
		return reflect.Zero(v.Type()) // no alert is like that, and nobody can tell what is in it
	}
	own := w.r.fate(path, above)
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return v
		}
		if v.Kind() == reflect.Interface {
			out := reflect.New(v.Type()).Elem()
			out.Set(w.plain(v.Elem(), path, own))
			return out
		}
		inner := w.walk(v.Elem(), path, own)
		out := reflect.New(v.Type().Elem())
		out.Elem().Set(inner)
		return out
	case reflect.Struct:
		return w.structure(v, path, own)
	case reflect.Map:
		return w.mapping(v, path, own)
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			return reflect.ValueOf(w.raw(v.Bytes(), path, own))
		}
		if v.IsNil() || v.Type().Elem().Kind() == reflect.Uint8 {
			return v
		}
		out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			out.Index(i).Set(w.walk(v.Index(i), path, own))
		}
		return out
	case reflect.String:
		// A text with a type of its own is a state or a severity.
		if v.Type() != reflect.TypeFor[string]() || protected(path) {
			return v
		}
		return reflect.ValueOf(w.text(v.String(), own))
	}
	return v
}

// plain is walk for a value of JSON, whose numbers may be what is to be taken out.
func (w *walker) plain(v reflect.Value, path []string, above fate) reflect.Value {
	if v.Kind() == reflect.Interface && !v.IsNil() {
		v = v.Elem()
	}
	_, number := v.Interface().(json.Number)
	if own := w.r.fate(path, above); (number || v.Kind() == reflect.Float64) && own.changes() && !w.collecting {
		return reflect.ValueOf(w.text(fmt.Sprint(v.Interface()), own))
	}
	return w.walk(v, path, above)
}

func (w *walker) structure(v reflect.Value, path []string, above fate) reflect.Value {
	fields := fieldsOf(v.Type())
	if fields == nil { // a time
		return v
	}
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	for _, f := range fields {
		out.Field(f.index).Set(w.walk(v.Field(f.index), append(path, f.name), above))
	}
	return out
}

func (w *walker) mapping(v reflect.Value, path []string, above fate) reflect.Value {
	if v.IsNil() || v.Type().Key().Kind() != reflect.String {
		return v
	}
	out := reflect.MakeMapWithSize(v.Type(), v.Len())
	for iter := v.MapRange(); iter.Next(); {
		key := iter.Key()
		name := key.String()
		inner := above
		if w.r.named && secretName(name) && !w.r.names.atEnd(name) { // whose letters can be any word
			inner = hide
		}
		value := w.plain(iter.Value(), append(path, name), inner)
		if clean := w.text(name, keep); clean != name { // a name that an alert chose
			key = reflect.ValueOf(w.unused(out, clean)).Convert(v.Type().Key())
		}
		out.SetMapIndex(key, value)
	}
	return out
}

// unused is a name that nothing in the map has: two names may become alike.
func (w *walker) unused(in reflect.Value, name string) string {
	free := name
	for n := 2; in.MapIndex(reflect.ValueOf(free).Convert(in.Type().Key())).IsValid(); n++ {
		free = fmt.Sprintf("%s %d", name, n)
	}
	return free
}

// raw is JSON as an alert has it from elsewhere.
func (w *walker) raw(text json.RawMessage, path []string, above fate) json.RawMessage {
	if len(text) == 0 {
		return text
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil || value == nil {
		return text
	}
	clean := w.walk(reflect.ValueOf(&value).Elem(), path, above).Interface()
	if w.collecting || reflect.DeepEqual(value, clean) {
		return text
	}
	data, err := json.Marshal(clean)
	if err != nil { // what came out of JSON goes into JSON
		return json.RawMessage(`"` + Hidden + `"`)
	}
	return data
}

func (w *walker) text(text string, own fate) string {
	switch {
	case w.collecting:
		w.collect(text, own)
		return text
	case text == "":
		return text
	case own.hide, text == Hidden:
		return Hidden
	case own.kind != "":
		return w.r.names.of(own.kind, text)
	}
	return w.r.text(text, w.known)
}

// collect remembers what is looked for in other texts. A value that stands in two fields
// is taken out if it is in one, and of two pseudonyms gets the first in the alphabet: the
// order of columns is another one each time.
func (w *walker) collect(text string, own fate) {
	if !own.changes() || len(text) < minKnown || text == Hidden {
		return
	}
	one := piece{text: text, with: Hidden}
	if !own.hide {
		if one.with = w.r.names.of(own.kind, text); strings.Contains(one.with, text) {
			return // a pseudonym already, or the name of the field, which would be found in its own pseudonym
		}
	}
	i := slices.IndexFunc(w.known, func(k piece) bool { return k.text == text })
	switch {
	case i < 0 && len(w.known) < maxKnown:
		w.known = append(w.known, one)
	case i >= 0 && w.known[i].with != Hidden && (one.with == Hidden || one.with < w.known[i].with):
		w.known[i] = one
	}
}
