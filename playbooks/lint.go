package playbooks

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/jq"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// syntax reports an expression that does not compile, at its place in the YAML.
func (l *loader) syntax(err error, n *yaml.Node, offset int, src string) {
	place := l.source.place(l.file, n, offset)
	problem := registry.Problem{Code: "jq", Message: err.Error()}
	if serr, ok := errors.AsType[*jq.SyntaxError](err); ok {
		at := serr.Offset
		if at >= len(src) { // at the end: show the last character instead of what follows
			at = max(len(strings.TrimRight(src, " \n\t"))-1, 0)
		}
		place = l.source.place(l.file, n, offset+at)
		problem.Message, problem.Hint = serr.Msg, serr.Hint
	}
	problem.Position = place
	l.problems = append(l.problems, problem)
}

// scope is what an expression at some place of a playbook may refer to.
type scope struct {
	where        string // match, enrich, cooldown.key, step
	step, parent *step  // for where step
	item         bool   // inside for_each
}

func (l *loader) scope(where string) scope { return scope{where: where} }

// roots are the fields of the input at some place, with those that the triggers of
// the playbook bring.
func (l *loader) roots(s scope) []string {
	roots := []string{"alert", "host", "enrich", "enrich_errors", statusName, "vars"}
	switch s.where {
	case "count":
		return []string{"alert"}
	case "enrich":
		roots = []string{"alert", "host", "vars"}
	case "step":
		roots = []string{"alert", "host", "enrich", "enrich_errors", statusName, "steps", "vars", "run"}
		if s.item {
			roots = append(roots, "item")
		}
		if l.pb.group != nil {
			roots = append(roots, "alerts", "group")
		}
	}
	if len(l.pb.lists.byName) > 0 {
		roots = append(roots, "lists")
	}
	if l.pb.count != nil && s.where != "enrich" {
		roots = append(roots, countName)
	}
	if l.pb.Takes(onRunFailed) && s.where != "step" {
		roots = append(roots, "run")
	}
	if l.pb.Takes(pendingUpdated) {
		roots = append(roots, changeName)
	}
	if l.pb.Takes(onSchedule) {
		roots = append(roots, "schedule")
	}
	if l.pb.Takes(onManual) {
		roots = append(roots, "input")
	}
	return roots
}

var atLeastWord = regexp.MustCompile(`at_least\(\s*"([^"\\]*)"\s*\)`)

// references reports fields that can never be there.
func (l *loader) references(e *expr, n *yaml.Node, offset int, scope scope) {
	before := len(l.problems)
	for _, fields := range e.Fields() {
		depth, message, hint := l.field(fields, scope)
		if message == "" {
			continue
		}
		place := l.source.place(l.file, n, offset+fieldOffset(e.String(), fields[:depth+1]))
		problem := registry.Problem{Position: place, Code: referenceCode(fields, depth), Message: message, Hint: hint}
		if !slices.Contains(l.problems[before:], problem) {
			l.problems = append(l.problems, problem)
		}
	}
	l.listNames(e, n, offset)
	for _, m := range atLeastWord.FindAllStringSubmatchIndex(e.String(), -1) {
		word := e.String()[m[2]:m[3]]
		if _, known := soar.ParseSeverity(word); !known || word == "" {
			problem := unknownWord(l.source.place(l.file, n, offset+m[2]), "severity", word, "info", "low", "medium", "high", "critical")
			l.problems = append(l.problems, problem)
		}
	}
}

// referenceCode says what kind of thing the wrong name of a path should have named.
func referenceCode(fields []string, depth int) string {
	switch root := fields[0]; {
	case depth == 0:
		return "unknown-root"
	case (root == "enrich" || root == "enrich_errors" || root == statusName) && depth == 1:
		return "unknown-enrichment"
	case root == "vars":
		return "unknown-variable"
	case root == "lists":
		return "unknown-list"
	case root == "steps" && depth == 1:
		return "unknown-step"
	case root == "steps":
		return "unknown-step-field"
	}
	return "unknown-field"
}

// statusField checks what is read of a look-up's status.
func statusField(fields []string) (depth int, message, hint string) {
	known := []string{"age_seconds", "stale", "state"}
	if fields[0] != statusName || len(fields) < 3 || fields[2] == "[]" || slices.Contains(known, fields[2]) {
		return 0, "", ""
	}
	return 2, fmt.Sprintf("the status of a look-up has no field %q", fields[2]), nearHint(fields[2], known)
}

// field checks one path; depth is the index of the name that is wrong.
func (l *loader) field(fields []string, scope scope) (depth int, message, hint string) {
	root := fields[0]
	if root == "[]" { // .[]: all that there is
		return 0, "", ""
	}
	if roots := l.roots(scope); !slices.Contains(roots, root) {
		message = fmt.Sprintf("there is no .%s here", root)
		if needs, ok := rootNeeds[root]; ok {
			return 0, message, needs
		}
		if near := registry.Nearest(root, roots); near != "" {
			return 0, message, fmt.Sprintf("did you mean .%s?", near)
		}
		return 0, message, "known: ." + strings.Join(roots, ", .")
	}
	if len(fields) == 1 {
		return 0, "", ""
	}
	name := fields[1]
	switch root {
	case "enrich", "enrich_errors", statusName:
		var names []string
		for _, e := range l.pb.enrich {
			names = append(names, e.name)
		}
		if root == "enrich_errors" && name == countName && l.pb.count != nil || root != "enrich" && name == "host" || slices.Contains(names, name) || name == "[]" {
			return statusField(fields)
		}
		return 1, fmt.Sprintf("there is no enrichment %q", name), nearHint(name, names)
	case "steps":
		return l.stepField(fields, scope)
	case "vars":
		if _, ok := l.pb.vars[name]; ok || name == "[]" {
			return 0, "", ""
		}
		return 1, fmt.Sprintf("there is no variable %q under vars", name), nearHint(name, sortedNames(l.pb.vars))
	case "lists":
		if l.pb.lists.byName[name] != nil || name == "[]" {
			return 0, "", ""
		}
		return 1, fmt.Sprintf("there is no list %q under lists", name), nearHint(name, sortedNames(l.pb.lists.byName))
	}
	s := shapes()[root]
	switch {
	case root == "host":
		s = l.hostShape()
	case root == "run" && l.pb.Takes(onRunFailed):
		s = shapes()[onRunFailed]
	}
	for i, field := range fields[1:] {
		if s == nil || s.free {
			return 0, "", ""
		}
		switch {
		case field == "[]" && s.item != nil:
			s = s.item
		case field == "[]" && s.fields != nil: // .alert.host[]: all values
			return 0, "", ""
		case s.fields != nil && s.fields[field] != nil:
			s = s.fields[field]
		default:
			return i + 1, fmt.Sprintf("there is no field .%s", strings.Join(fields[:i+2], ".")), s.hint(field, strings.Join(fields[:i+1], "."))
		}
	}
	return 0, "", ""
}

// rootNeeds says what brings a field of the input that is not always there.
var rootNeeds = map[string]string{
	changeName: "it is there with on: alert.updated",
	"schedule": "it is there with on: {schedule: ...}",
	"input":    "it is there with on: manual",
	countName:  "it is there with count: {by: ..., window: ...}",
	"alerts":   "steps see it, with group",
	"group":    "steps see it, with group",
	"lists":    "it is there with lists: {name: [...]}",
}

func nearHint(word string, known []string) string {
	if near := registry.Nearest(word, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(known) > 0 && len(known) <= 40 {
		return "known: " + strings.Join(known, ", ")
	}
	return ""
}

func (l *loader) stepField(fields []string, scope scope) (depth int, message, hint string) {
	name := fields[1]
	if name == "[]" {
		return 0, "", ""
	}
	s := l.ids[name]
	switch {
	case s == nil || s.index >= scope.step.index:
		var before []string
		for _, other := range l.pb.program[:scope.step.index] {
			if l.visible(other, scope) {
				before = append(before, other.id)
			}
		}
		return 1, fmt.Sprintf("no step %q has run before step %q", name, scope.step.id), nearHint(name, before)
	case !l.visible(s, scope) && s.handler:
		return 1, fmt.Sprintf("step %q runs only when another step fails", name), ""
	case !l.visible(s, scope):
		return 1, fmt.Sprintf("step %q runs side by side with step %q", name, scope.step.id), "put one after the other, or this one behind the group"
	}
	path := ".steps." + name
	if s.forEach != nil && len(fields) > 2 {
		if fields[2] != "[]" {
			return 2, fmt.Sprintf("%s is a list, with one result for each item", path), fmt.Sprintf("write %s[].%s", path, fields[2])
		}
		depth, path = 1, path+"[]"
	}
	known := []string{"error", "output", "ref", "state", "summary"}
	if s.spec.Asks != nil {
		known = append(known, "granted")
	}
	if at := 2 + depth; len(fields) > at && fields[at] != "[]" && !slices.Contains(known, fields[at]) {
		return at, fmt.Sprintf("there is no field %s.%s", path, fields[at]), nearHint(fields[at], known)
	}
	return 0, "", ""
}

// visible reports whether an earlier step may have ended when the step of the scope
// begins. Steps of an on_error block are followed by nothing but their own block and
// finally; other branches of a parallel group go their own way.
func (l *loader) visible(s *step, scope scope) bool {
	for _, b := range scope.step.within {
		if s == b.group || slices.ContainsFunc(s.within, func(o branch) bool { return o.group == b.group && o.number != b.number }) {
			return false
		}
	}
	return !s.handler || scope.parent != nil && s.index > scope.parent.index || scope.step.last && !s.last
}

// shape is what is known of the form of a JSON value. A nil shape is a value
// without fields.
type shape struct {
	free   bool
	fields map[string]*shape
	item   *shape
}

var leaf = &shape{}

// hint says what may be meant by a field that a value at a path does not have: one
// that stands deeper, as in .alert.hostname, or one of a name like it.
func (s *shape) hint(field, path string) string {
	word := strings.ToLower(strings.ReplaceAll(field, "_", ""))
	for _, outer := range sortedNames(s.fields) {
		for _, inner := range sortedNames(s.fields[outer].fields) {
			if word == strings.ReplaceAll(outer+inner, "_", "") {
				return fmt.Sprintf("did you mean .%s.%s.%s?", path, outer, inner)
			}
		}
	}
	return nearHint(field, sortedNames(s.fields))
}

var shapes = sync.OnceValue(func() map[string]*shape {
	return map[string]*shape{
		"alert": shapeOf(reflect.TypeFor[soar.Alert]()),
		"host":  shapeOf(reflect.TypeFor[soar.Host]()),
		"run":   {fields: map[string]*shape{"id": leaf, "playbook": leaf, "mode": leaf, "started_at": leaf, "error": leaf}},
		onRunFailed: {fields: map[string]*shape{
			"id": leaf, "playbook": leaf, "mode": leaf, "started_at": leaf, "error": leaf, "state": leaf, "ended_at": leaf, "alert": leaf,
		}},
		changeName: shapeOf(reflect.TypeFor[soar.AlertChange]()),
		"schedule": {fields: map[string]*shape{"at": leaf, "missed": leaf}},
		"input":    {free: true},
		"alerts":   {item: shapeOf(reflect.TypeFor[soar.Alert]())},
		"group":    {fields: map[string]*shape{"count": leaf, "key": leaf}},
	}
})

// hostShape is the alert's host, and what the action host.get says it adds.
func (l *loader) hostShape() *shape {
	base := shapes()["host"]
	get, ok := l.actions[hostGet]
	if !ok {
		return base
	}
	t := reflect.TypeOf(get.Spec().Output)
	if t == nil || t.Kind() != reflect.Struct {
		return &shape{free: true}
	}
	merged := &shape{fields: map[string]*shape{}}
	for _, s := range []*shape{base, shapeOf(t)} {
		for name, field := range s.fields {
			merged.fields[name] = field
		}
	}
	return merged
}

// shapeOf derives the form of a type's JSON.
func shapeOf(t reflect.Type) *shape {
	switch t {
	case reflect.TypeFor[time.Time]():
		return leaf
	case reflect.TypeFor[json.RawMessage]():
		return &shape{free: true}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return shapeOf(t.Elem())
	case reflect.Slice, reflect.Array:
		return &shape{item: shapeOf(t.Elem())}
	case reflect.Map, reflect.Interface:
		return &shape{free: true}
	case reflect.Struct:
		s := &shape{fields: map[string]*shape{}}
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case name == "-" || !f.IsExported():
			case name == "" && f.Anonymous:
				for k, v := range shapeOf(f.Type).fields {
					s.fields[k] = v
				}
			case name == "":
				s.fields[f.Name] = shapeOf(f.Type)
			default:
				s.fields[name] = shapeOf(f.Type)
			}
		}
		return s
	}
	return leaf
}

// fieldOffset finds where the last name of a path stands in an expression. The
// parsed form has no positions, so the text is searched: for the path as a whole,
// then for its names one behind the other, then for the last alone.
func fieldOffset(src string, fields []string) int {
	last := fields[len(fields)-1]
	if i := wordIndex(src, "."+strings.Join(fields, "."), 0); i >= 0 {
		return i + len(strings.Join(fields, ".")) - len(last)
	}
	at := 0
	for _, name := range fields[:len(fields)-1] {
		if name == "[]" {
			continue
		}
		i := wordIndex(src, name, at)
		if i < 0 {
			at = 0
			break
		}
		at = i + len(name)
	}
	at = max(wordIndex(src, last, at), wordIndex(src, last, 0))
	if at > 0 && src[at-1] == '.' {
		return at - 1
	}
	return max(at, 0)
}

// wordIndex is where a word begins that stands by itself, or -1. A word that begins
// with a dot may follow another.
func wordIndex(src, word string, from int) int {
	for {
		i := strings.Index(src[from:], word)
		if i < 0 {
			return -1
		}
		start, end := from+i, from+i+len(word)
		if (start == 0 || word[0] == '.' || !isWord(src[start-1])) && (end == len(src) || !isWord(src[end])) {
			return start
		}
		from = end
	}
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// source finds places inside scalars.
type source struct {
	lines []string // without their ends
}

func newSource(data []byte) *source {
	lines := strings.Split(string(data), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSuffix(line, "\r")
	}
	return &source{lines}
}

// place is where byte offset of a scalar's value stands in the file. It walks the
// value along the file's text, through escapes, doubled quotes and folded lines;
// where they part, the place is the start of the scalar.
func (s *source) place(file string, n *yaml.Node, offset int) registry.Position {
	start := registry.At(file, n)
	if start.Line < 1 || start.Line > len(s.lines) {
		return start
	}
	var line, column int
	var ok bool
	switch offset = min(offset, len(n.Value)); n.Style &^ yaml.TaggedStyle {
	case yaml.LiteralStyle:
		line, column, ok = s.inLiteral(n, offset)
	case yaml.FoldedStyle:
		line, column, ok = s.inFolded(n, offset)
	default:
		line, column, ok = s.inFlow(n, offset)
	}
	if !ok || line >= len(s.lines) || column > len(s.lines[line]) {
		return start
	}
	return registry.Position{File: file, Line: line + 1, Column: utf8.RuneCountInString(s.lines[line][:column]) + 1}
}

// inLiteral counts lines: each of the value is one of the file. Lines count from 0.
func (s *source) inLiteral(n *yaml.Node, offset int) (line, column int, ok bool) {
	indent, ok := s.indentOf(n)
	before := n.Value[:offset]
	return n.Line + strings.Count(before, "\n"), indent + len(before) - (strings.LastIndexByte(before, '\n') + 1), ok
}

// inFolded finds the lines of the file one by one in the value, where blanks or line
// breaks stand between them.
func (s *source) inFolded(n *yaml.Node, offset int) (line, column int, ok bool) {
	indent, ok := s.indentOf(n)
	if !ok {
		return 0, 0, false
	}
	at := 0
	for line = n.Line; line < len(s.lines) && at <= offset; line++ {
		if strings.TrimSpace(s.lines[line]) == "" {
			continue
		}
		if len(s.lines[line]) < indent {
			return 0, 0, false
		}
		text, from := s.lines[line][indent:], at
		at += len(n.Value[at:]) - len(strings.TrimLeft(n.Value[at:], "\n"))
		if at == from && at > 0 {
			at++ // the blank for the end of the line before
		}
		if at > len(n.Value) || !strings.HasPrefix(n.Value[at:], text) {
			return 0, 0, false
		}
		if offset <= at+len(text) {
			return line, indent + max(offset-at, 0), true
		}
		at += len(text)
	}
	return 0, 0, false
}

// indentOf is the indentation of a block scalar, which may be given in digits: the
// blanks before its first line that are not in the value.
func (s *source) indentOf(n *yaml.Node) (int, bool) {
	first := strings.TrimLeft(n.Value, "\n")
	for line := n.Line; line < len(s.lines); line++ {
		if text := s.lines[line]; strings.TrimLeft(text, " ") != "" {
			indent := indentation(text) - indentation(first)
			return indent, indent >= 0
		}
	}
	return 0, false
}

// inFlow walks a plain or quoted scalar character by character.
func (s *source) inFlow(n *yaml.Node, offset int) (line, column int, ok bool) {
	line = n.Line - 1
	column = byteColumn(s.lines[line], registry.At("", n).Column)
	quote := n.Style &^ yaml.TaggedStyle
	if quote == yaml.SingleQuotedStyle || quote == yaml.DoubleQuotedStyle {
		column++
	}
	for i := 0; i < offset; {
		text := s.lines[line]
		rest := text[min(column, len(text)):]
		escaped := quote == yaml.DoubleQuotedStyle && strings.HasPrefix(rest, `\`)
		switch {
		case strings.TrimLeft(rest, " \t") == "" || escaped && rest == `\`: // the line goes on in the next
			breaks := 0
			for line++; line < len(s.lines) && strings.TrimSpace(s.lines[line]) == ""; line++ {
				breaks++
			}
			if line >= len(s.lines) {
				return 0, 0, false
			}
			column = len(s.lines[line]) - len(strings.TrimLeft(s.lines[line], " \t"))
			if breaks == 0 && rest != `\` {
				breaks = 1 // a blank, where no line is empty
			}
			i += breaks
		case escaped:
			width := 2
			if len(rest) > 1 {
				width = max(width, map[byte]int{'x': 4, 'u': 6, 'U': 10}[rest[1]])
			}
			_, size := utf8.DecodeRuneInString(n.Value[i:])
			column, i = column+width, i+size
		case quote == yaml.SingleQuotedStyle && strings.HasPrefix(rest, "''"):
			column, i = column+2, i+1
		case rest[0] == n.Value[i]:
			column, i = column+1, i+1
		default:
			return 0, 0, false
		}
	}
	return line, column, true
}

func indentation(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

func byteColumn(line string, column int) int {
	for i := range line {
		if column--; column == 0 {
			return i
		}
	}
	return len(line)
}
