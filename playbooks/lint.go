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
	if l.pb.count != nil && s.where != "enrich" {
		roots = append(roots, countName)
	}
	if l.pb.Takes(onRunFailed) && s.where != "step" {
		roots = append(roots, "run")
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
	for _, fields := range e.Fields() {
		depth, message, hint := l.field(fields, scope)
		if message == "" {
			continue
		}
		place := l.source.place(l.file, n, offset+fieldOffset(e.String(), fields[:depth+1]))
		problem := registry.Problem{Position: place, Code: referenceCode(fields, depth), Message: message, Hint: hint}
		if !slices.Contains(l.problems, problem) {
			l.problems = append(l.problems, problem)
		}
	}
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
			return i + 1, fmt.Sprintf("there is no field .%s", strings.Join(fields[:i+2], ".")), nearHint(field, sortedNames(s.fields))
		}
	}
	return 0, "", ""
}

// rootNeeds says what brings a field of the input that is not always there.
var rootNeeds = map[string]string{
	"schedule": "it is there with on: {schedule: ...}",
	"input":    "it is there with on: manual",
	countName:  "it is there with count: {by: ..., window: ...}",
	"alerts":   "steps see it, with group",
	"group":    "steps see it, with group",
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

var shapes = sync.OnceValue(func() map[string]*shape {
	return map[string]*shape{
		"alert": shapeOf(reflect.TypeFor[soar.Alert]()),
		"host":  shapeOf(reflect.TypeFor[soar.Host]()),
		"run":   {fields: map[string]*shape{"id": leaf, "playbook": leaf, "mode": leaf, "started_at": leaf, "error": leaf}},
		onRunFailed: {fields: map[string]*shape{
			"id": leaf, "playbook": leaf, "mode": leaf, "started_at": leaf, "error": leaf, "state": leaf, "ended_at": leaf, "alert": leaf,
		}},
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
// then for its last name.
func fieldOffset(src string, fields []string) int {
	last := fields[len(fields)-1]
	whole := "." + strings.Join(fields, ".")
	for from := 0; ; {
		i := strings.Index(src[from:], whole)
		if i < 0 {
			break
		}
		end := from + i + len(whole)
		if end == len(src) || !isWord(src[end]) {
			return end - len(last) - 1
		}
		from = end
	}
	for from := 0; ; {
		i := strings.Index(src[from:], last)
		if i < 0 {
			return 0
		}
		start, end := from+i, from+i+len(last)
		if (start == 0 || !isWord(src[start-1])) && (end == len(src) || !isWord(src[end])) {
			if start > 0 && src[start-1] == '.' {
				return start - 1
			}
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
	lines []string
}

func newSource(data []byte) *source { return &source{strings.Split(string(data), "\n")} }

// place is where byte offset of a scalar's value stands in the file. It walks the
// value along the file's text, through escapes, doubled quotes and folded lines;
// where they part, the place is the start of the scalar.
func (s *source) place(file string, n *yaml.Node, offset int) registry.Position {
	start := registry.At(file, n)
	line := start.Line - 1
	if line >= len(s.lines) {
		return start
	}
	column := byteColumn(s.lines[line], start.Column)
	switch n.Style {
	case yaml.LiteralStyle, yaml.FoldedStyle:
		line++
		for line < len(s.lines) && strings.TrimSpace(s.lines[line]) == "" && !strings.HasPrefix(n.Value, "\n") {
			line++
		}
		if line >= len(s.lines) {
			return start
		}
		column = indentation(s.lines[line])
	case yaml.SingleQuotedStyle, yaml.DoubleQuotedStyle:
		column++
	}
	for i := 0; i < offset && i < len(n.Value); {
		text := s.lines[line]
		c := n.Value[i]
		switch {
		case column >= len(text) || strings.TrimRight(text[column:], " \r") == "" && (c == ' ' || c == '\n'):
			// The end of a line of the file is a line break or, folded, a space.
			if c != ' ' && c != '\n' {
				return start
			}
			i++
			for line++; line < len(s.lines) && strings.TrimSpace(s.lines[line]) == "" && (i >= len(n.Value) || n.Value[i] != '\n'); {
				line++
			}
			if line >= len(s.lines) {
				return start
			}
			column = min(indentation(s.lines[line]), len(s.lines[line]))
			if n.Style == yaml.LiteralStyle {
				for column > 0 && i < len(n.Value) && n.Value[i] == ' ' && column > s.indentOf(n) {
					column = s.indentOf(n)
				}
			}
		case n.Style == yaml.DoubleQuotedStyle && text[column] == '\\':
			width := 2
			if column+1 < len(text) {
				width = map[byte]int{'x': 4, 'u': 6, 'U': 10}[text[column+1]]
			}
			column += max(width, 2)
			_, size := utf8.DecodeRuneInString(n.Value[i:])
			i += size
		case n.Style == yaml.SingleQuotedStyle && strings.HasPrefix(text[column:], "''"):
			column, i = column+2, i+1
		case text[column] == c:
			column, i = column+1, i+1
		default:
			return start
		}
	}
	if line >= len(s.lines) || column > len(s.lines[line]) {
		return start
	}
	return registry.Position{File: file, Line: line + 1, Column: utf8.RuneCountInString(s.lines[line][:column]) + 1}
}

// indentOf is the indentation of a block scalar: that of its first line.
func (s *source) indentOf(n *yaml.Node) int {
	for line := n.Line; line < len(s.lines); line++ {
		if strings.TrimSpace(s.lines[line]) != "" {
			return indentation(s.lines[line])
		}
	}
	return 0
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
