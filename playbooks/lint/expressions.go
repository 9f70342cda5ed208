package lint

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/itchyny/gojq"
	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// expression is jq at some place of a playbook.
type expression struct {
	node   *yaml.Node
	offset int // in the value of node
	src    string
	bare   bool // the whole value is jq, not a text with ${{ }}
	// condition is set when all that counts is whether it is true.
	condition bool
}

// bareKeys are the keys of a step that take bare jq.
var bareKeys = []string{"if", "for_each"}

func (b *book) expressions() []expression {
	if b.jq == nil {
		b.jq = b.readExpressions()
	}
	return b.jq
}

func (b *book) readExpressions() []expression {
	var all []expression
	bare := func(n *yaml.Node, condition bool) {
		if n != nil && n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
			all = append(all, expression{n, 0, n.Value, true, condition})
		}
	}
	for _, c := range b.conditions() {
		bare(c.node, true)
	}
	bare(get(get(b.root, "cooldown"), "key"), false)
	for _, key := range []string{"group", "count"} {
		if by := get(get(b.root, key), "by"); by != nil {
			scalars(by, func(n *yaml.Node) { bare(n, false) })
		}
	}
	var texts func(n *yaml.Node)
	texts = func(n *yaml.Node) {
		if n == nil {
			return
		}
		if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
			all = append(all, b.embedded(n)...)
		}
		for _, c := range n.Content {
			texts(c)
		}
	}
	if enrich := get(b.root, "enrich"); enrich != nil && enrich.Kind == yaml.MappingNode {
		for _, e := range registry.Pairs(enrich) {
			texts(get(e, "with"))
		}
	}
	for _, s := range b.steps {
		for _, key := range bareKeys {
			bare(get(s.node, key), key == "if")
		}
		texts(get(s.node, "with"))
	}
	return all
}

// embedded are the expressions between ${{ and }}: each ends at the first }} that
// leaves something which parses. Behind one that does not, as in the loader, nothing
// is looked at: where it ends is not known.
func (b *book) embedded(n *yaml.Node) []expression {
	var all []expression
	last := strings.LastIndex(n.Value, "}}")
	for from := 0; ; {
		i := strings.Index(n.Value[from:], "${{")
		if i < 0 || from+i > last {
			return all
		}
		start := from + i + 3
		from = start
		if i := start - 4; i >= 0 && n.Value[i] == '$' {
			continue // $${{ is a literal ${{
		}
		for end, tries := start, 0; ; tries++ {
			i := strings.Index(n.Value[end:], "}}")
			if i < 0 || tries == 50 {
				return all
			}
			end += i
			if src := n.Value[start:end]; b.query(src) != nil {
				all = append(all, expression{n, start, src, false, false})
				from = end + 2
				break
			}
			end++
		}
	}
}

var (
	wrapped  = regexp.MustCompile(`^\s*\$\{\{([^{}]*)\}\}\s*$`)
	barePath = regexp.MustCompile(`^\s*\.(alert|alerts|group|host|enrich|steps|vars|run|item)(\.[a-z_][A-Za-z0-9_]*|\[[^\]]*\])+\s*(\|.*|//.*)?$`)
)

// expressions finds ${{ }} where bare jq belongs, and bare jq where ${{ }} belongs.
func expressions(b *book) {
	for _, e := range b.expressions() {
		if !e.bare {
			continue
		}
		m := wrapped.FindStringSubmatch(e.src)
		if m == nil {
			continue
		}
		b.found = slices.DeleteFunc(b.found, func(f Finding) bool { return f.Code == "PB301" && f.Line == e.node.Line })
		b.add(e.node, "PB311", "jq stands here by itself, without ${{ }}", "write "+strings.TrimSpace(m[1]), b.replace(e.node, strings.TrimSpace(m[1]))...)
		b.found[len(b.found)-1].engine = true
	}
	for _, with := range b.withs() {
		scalars(with, func(n *yaml.Node) {
			if n.Tag == "!!str" && barePath.MatchString(n.Value) && b.query(n.Value) != nil {
				src := strings.TrimSpace(n.Value)
				b.add(n, "PB312", fmt.Sprintf("this is the text %q, not what stands there in the alert", short(src)), "write ${{ "+short(src)+" }}", b.replace(n, "${{ "+src+" }}")...)
			} else if n.Tag == "!!str" {
				b.foreign(n)
			}
		})
	}
}

// templates are ways to write an expression in other tools.
var templates = regexp.MustCompile(`(?:^|[^$])(\{\{)\s*\.(?:alert|alerts|group|host|enrich|steps|vars|run|item)\b[^{}]*\}\}`)

// foreign finds {{ .alert.id }}, which stays as it is.
func (b *book) foreign(n *yaml.Node) {
	for _, m := range templates.FindAllStringSubmatchIndex(n.Value, -1) {
		at := b.placeIn(n, m[2])
		offset := b.text.offset(at)
		var edits []edit
		if strings.HasPrefix(string(b.text.data[offset:]), "{{") {
			edits = []edit{{offset, offset, "$"}}
		}
		b.addAt(at, "PB312", "this stays as it is: an expression begins with ${{", "write $"+short(n.Value[m[2]:m[1]]), edits...)
	}
}

// slipped finds operators that do something else than is meant.
func slipped(b *book) {
	for _, e := range b.expressions() {
		if !e.condition {
			continue
		}
		for _, s := range slips(b.query(e.src)) {
			b.add(e.node, s.code, s.message, s.hint)
		}
	}
}

func short(text string) string {
	if r := []rune(text); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return text
}

// withs are the arguments of all steps and enrichments.
func (b *book) withs() []*yaml.Node {
	var all []*yaml.Node
	if enrich := get(b.root, "enrich"); enrich != nil && enrich.Kind == yaml.MappingNode {
		for _, e := range registry.Pairs(enrich) {
			all = append(all, get(e, "with"))
		}
	}
	for _, s := range b.steps {
		all = append(all, get(s.node, "with"))
	}
	return slices.DeleteFunc(all, func(n *yaml.Node) bool { return n == nil })
}

// scalars calls f for all scalars that are values.
func scalars(n *yaml.Node, f func(*yaml.Node)) {
	switch n.Kind {
	case yaml.ScalarNode:
		f(n)
	case yaml.SequenceNode:
		for _, item := range n.Content {
			scalars(item, f)
		}
	case yaml.MappingNode:
		for _, item := range registry.Pairs(n) {
			scalars(item, f)
		}
	}
}

// comparisons finds comparisons that come out the same for every alert.
func comparisons(b *book) {
	for _, e := range b.expressions() {
		q := b.query(e.src)
		compares(q, func(c comparison) {
			code, message, hint := wrongComparison(c)
			if code == "" {
				return
			}
			literal := literalText(c.constant)
			offset := literalOffset(e.src, c.path, literal)
			at := b.placeIn(e.node, e.offset+max(offset, 0))
			b.addAt(at, code, message, hint, b.quoted(e, offset, at, c, literal)...)
		})
	}
}

// quoted puts quotes around a number in an expression that is held against a text.
func (b *book) quoted(e expression, offset int, at registry.Position, c comparison, literal string) []edit {
	start := b.text.offset(at)
	_, isNumber := c.constant.(float64)
	if offset < 0 || !isNumber || query(e.src[:offset]+`"`+literal+`"`+e.src[offset+len(literal):]) == nil || c.op != gojq.OpEq || !strings.HasPrefix(string(b.text.data[start:]), literal) {
		return nil
	}
	quote := `"`
	if e.node.Style == yaml.DoubleQuotedStyle {
		quote = `\"`
	}
	return []edit{{start, start + len(literal), quote + literal + quote}}
}

// literalOffset finds a literal that a path is held against: by itself, not in a name
// or in quotes of its own, and behind the path rather than before it; or -1.
func literalOffset(src string, path []string, literal string) int {
	search := func(from int) int {
		for {
			i := strings.Index(src[from:], literal)
			if i < 0 {
				return -1
			}
			start, end := from+i, from+i+len(literal)
			if (start == 0 || !partOfLiteral(src[start-1])) && (end == len(src) || !partOfLiteral(src[end])) {
				return start
			}
			from = end
		}
	}
	whole := "." + strings.Join(path, ".")
	for from := 0; ; {
		i := strings.Index(src[from:], whole)
		if i < 0 {
			return search(0)
		}
		from += i + len(whole)
		if from == len(src) || !partOfLiteral(src[from]) {
			if at := search(from); at >= 0 {
				return at
			}
			return search(0)
		}
	}
}

func partOfLiteral(c byte) bool {
	return strings.IndexByte("_.\"\\", c) >= 0 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func literalText(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// wrongComparison says what is wrong with a comparison, if anything.
func wrongComparison(c comparison) (code, message, hint string) {
	kind, words := typeOf(c.path)
	path := "." + strings.Join(c.path, ".")
	equality := c.op == gojq.OpEq || c.op == gojq.OpNe
	if what, known := compounds[kind]; known && equality && isScalar(c.constant) {
		return "PB310", fmt.Sprintf("%s is %s, and never %s", path, what.word, short(literalText(c.constant))), what.hint
	}
	switch constant := c.constant.(type) {
	case float64:
		switch {
		case kind != reflect.String:
		case equality:
			return "PB313", path + " is a text, and a text never equals a number", fmt.Sprintf("write %q", literalText(constant))
		default:
			return "PB313", path + " is a text, and a text is greater than every number", fmt.Sprintf("write (%s | tonumber)", path)
		}
	case string:
		switch {
		case kind == reflect.Float64:
			return "PB313", path + " is a number, and a number never equals a text", "write the number without quotes"
		case kind == reflect.Bool:
			return "PB310", path + " is true or false, never a text", "write the word without quotes"
		case words != nil && equality && !slices.ContainsFunc(words, func(w string) bool { return w == constant || c.anyCase && strings.EqualFold(w, constant) }):
			return "PB310", fmt.Sprintf("%s is never %q", path, short(constant)), oneOf(constant, words)
		case path == ".alert.severity" && !equality:
			return "PB310", "severities compared as texts go by the alphabet: high is less than low", fmt.Sprintf("write .alert.severity | at_least(%q)", short(constant))
		}
	case bool:
		if kind == reflect.String || kind == reflect.Float64 {
			return "PB310", fmt.Sprintf("%s is never %v", path, constant), "osquery writes 1 and 0, as texts"
		}
	}
	return "", "", ""
}

// compounds are the kinds of values that never equal a text, number or truth value.
var compounds = map[reflect.Kind]struct{ word, hint string }{
	reflect.Map:   {"an object", "name a field of it"},
	reflect.Slice: {"a list", `write any(.[]; . == "x"), or | index("x")`},
}

func isScalar(v any) bool {
	switch v.(type) {
	case string, float64, bool:
		return true
	}
	return false
}

func oneOf(word string, words []string) string {
	if near := registry.Nearest(word, words); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "it is one of " + strings.Join(slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "" }), ", ")
}

// vocabularies are the fields that hold one of a few words.
var vocabularies = map[string][]string{
	"alert.severity": {"info", "low", "medium", "high", "critical"},
	"alert.status":   {soar.StatusOpen, soar.StatusResolved},
	"alert.verdict":  {soar.VerdictTruePositive, soar.VerdictFalsePositive, ""},
	"run.mode":       {string(soar.ModeObserve), string(soar.ModeApprove), string(soar.ModeEnforce)},
}

// stepStates are the states in which later steps can find a step.
var stepStates = []string{
	string(soar.StepExecuted), string(soar.StepVerified), string(soar.StepFailed), string(soar.StepRefused), string(soar.StepExpired),
	string(soar.StepCancelled), string(soar.StepSuppressed), string(soar.StepObserved), string(soar.StepSkipped), string(soar.StepUnknown),
}

// typeOf is what is known of the value at a path: text, number (Float64), truth
// value, or Invalid for what nobody knows. words are all that it can be.
func typeOf(path []string) (kind reflect.Kind, words []string) {
	if len(path) < 2 {
		return reflect.Invalid, nil
	}
	if path[0] == "steps" {
		switch {
		case len(path) == 3 && path[2] == "state":
			return reflect.String, stepStates
		case len(path) == 3 && slices.Contains([]string{"error", "summary", "ref"}, path[2]):
			return reflect.String, nil
		}
		return reflect.Invalid, nil
	}
	words = vocabularies[strings.Join(path, ".")]
	if path[0] == "run" && words != nil {
		return reflect.String, words
	}
	return jsonKind(typeAt(path)), words
}

// typeAt is the Go type of what stands at a path of an alert or a host; nil when
// nobody knows.
func typeAt(path []string) reflect.Type {
	if len(path) == 0 {
		return nil
	}
	root, ok := map[string]reflect.Type{"alert": reflect.TypeFor[soar.Alert](), "host": reflect.TypeFor[soar.Host]()}[path[0]]
	if !ok {
		return nil
	}
	return jsonType(root, path[1:])
}

// jsonKind is how a type stands in JSON: as a text, a number (Float64), a truth
// value, an object (Map) or a list (Slice); Invalid when that is not known.
func jsonKind(t reflect.Type) reflect.Kind {
	switch {
	case t == nil || t == reflect.TypeFor[json.RawMessage]():
		return reflect.Invalid
	case t == reflect.TypeFor[time.Time]():
		return reflect.String
	case t.Kind() == reflect.Int || t.Kind() == reflect.Int64:
		return reflect.Float64
	case t.Kind() == reflect.Struct:
		return reflect.Map
	case slices.Contains([]reflect.Kind{reflect.String, reflect.Bool, reflect.Map, reflect.Slice}, t.Kind()):
		return t.Kind()
	}
	return reflect.Invalid
}

func jsonType(t reflect.Type, path []string) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if len(path) == 0 {
		return t
	}
	switch {
	case t == reflect.TypeFor[json.RawMessage]():
	case t.Kind() == reflect.Map:
		return jsonType(t.Elem(), path[1:])
	case t.Kind() == reflect.Slice && path[0] == "[]":
		return jsonType(t.Elem(), path[1:])
	case t.Kind() == reflect.Struct:
		if field, ok := jsonFields(t)[path[0]]; ok {
			return jsonType(field, path[1:])
		}
	}
	return nil
}
