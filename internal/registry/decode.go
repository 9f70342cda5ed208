package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/soar"
)

// Bounds on what a configuration file or playbook may be.
const (
	maxFileBytes = 1 << 20
	maxDepth     = 64
	maxNodes     = 100_000
)

// NodeDecoder lets a type read its own YAML.
type NodeDecoder interface {
	DecodeYAML(file string, n *yaml.Node) Problems
}

// Defaulter lets a type that stands behind a pointer, in a list or in a mapping
// say its defaults; elsewhere they are what the value held before.
type Defaulter interface {
	SetDefaults()
}

// fresh makes a value with its type's defaults.
func fresh(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	if d, ok := v.Interface().(Defaulter); ok {
		d.SetDefaults()
	}
	return v.Elem()
}

// Text is a text setting that remembers where it stands, for messages about
// what is inside it.
type Text struct {
	Value string
	At    Position
}

// DecodeYAML reads any scalar as text.
func (t *Text) DecodeYAML(file string, n *yaml.Node) Problems {
	t.At = At(file, n)
	if n.Kind != yaml.ScalarNode {
		return Problems{wrongType(file, n, "a text")}
	}
	t.Value = n.Value
	return nil
}

// Parse reads one YAML document into nodes, bounded in size and depth. Aliases
// are refused, because a handful of them can expand to gigabytes.
func Parse(file string, data []byte) (*yaml.Node, Problems) {
	start := Position{File: file, Line: 1, Column: 1}
	if len(data) > maxFileBytes {
		return nil, Problems{{Position: start, Code: "too-large", Message: fmt.Sprintf("the file has %d bytes, the limit is %d", len(data), maxFileBytes)}}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := decoder.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, Problems{{Position: start, Code: "empty", Message: "the file is empty"}}
		}
		return nil, Problems{syntaxProblem(file, err)}
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, Problems{{Position: start, Code: "yaml", Message: "more than one YAML document in a file", Hint: "split it at the line ---"}}
	}
	root := doc.Content[0]
	nodes := 0
	var problems Problems
	var walk func(n *yaml.Node, depth int) bool
	walk = func(n *yaml.Node, depth int) bool {
		nodes++
		switch {
		case n.Kind == yaml.AliasNode:
			problems.Addf(At(file, n), "alias", "write the value out", "YAML aliases are not supported")
			return true
		case depth > maxDepth:
			problems.Addf(At(file, n), "too-deep", "", "nested deeper than %d levels", maxDepth)
			return false
		case nodes > maxNodes:
			problems.Addf(At(file, n), "too-large", "", "more than %d values", maxNodes)
			return false
		}
		for _, c := range n.Content {
			if !walk(c, depth+1) {
				return false
			}
		}
		return true
	}
	walk(root, 0)
	if len(problems) > 0 {
		return nil, problems
	}
	return root, nil
}

var yamlLine = regexp.MustCompile(`line (\d+): (.*)`)

// syntaxProblem reads the line out of the library's error text, which is the only
// place where it has it.
func syntaxProblem(file string, err error) Problem {
	at, message := Position{File: file, Line: 1, Column: 1}, strings.TrimPrefix(err.Error(), "yaml: ")
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		at.Line, _ = strconv.Atoi(m[1])
		message = m[2]
	}
	return Problem{Position: at, Code: "yaml", Message: "not valid YAML: " + message, Hint: "check indentation, and put quotes around texts with : or #"}
}

// Decode reads a node into dst, a pointer, strictly: unknown keys, wrong types,
// repeated keys, missing required settings and words outside an enum are all
// reported at once, each with its place. What dst held before are the defaults.
//
// Struct tags: `yaml:"name"` (a struct without the tag on a field ignores that
// field; ",inline" embeds), `required:"true"`, `enum:"a,b"`, `path:"true"` (a path
// in the file is relative to the file, not to where erbridge was started). Schema
// also takes `example:"text"`, for editors.
func Decode(file string, n *yaml.Node, dst any) Problems {
	d := decoder{file: file}
	d.value(n, reflect.ValueOf(dst).Elem(), "")
	return d.problems
}

type decoder struct {
	file     string
	problems Problems
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	timeType     = reflect.TypeFor[time.Time]()
	secretType   = reflect.TypeFor[soar.Secret]()
	nodeType     = reflect.TypeFor[yaml.Node]()
	decoderType  = reflect.TypeFor[NodeDecoder]()
)

func (d *decoder) value(n *yaml.Node, v reflect.Value, enum string) {
	if v.CanAddr() && v.Addr().Type().Implements(decoderType) {
		d.problems = append(d.problems, v.Addr().Interface().(NodeDecoder).DecodeYAML(d.file, n)...)
		return
	}
	switch v.Type() {
	case nodeType:
		v.Set(reflect.ValueOf(*n))
		return
	case secretType:
		d.secret(n, v)
		return
	case durationType:
		if dur, err := ParseDuration(n.Value); n.Kind != yaml.ScalarNode || err != nil {
			d.wrong(n, "a duration such as 30s, 5m, 4h or 7d")
		} else {
			v.SetInt(int64(dur))
		}
		return
	case timeType:
		if t, err := time.Parse(time.RFC3339, n.Value); err != nil {
			d.wrong(n, "a time such as 2026-11-22T03:22:30Z")
		} else {
			v.Set(reflect.ValueOf(t))
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if n.Tag == "!!null" {
			v.SetZero()
			return
		}
		inner := fresh(v.Type().Elem())
		if !v.IsNil() {
			inner.Set(v.Elem())
		}
		d.value(n, inner, enum)
		v.Set(inner.Addr())
	case reflect.Interface:
		d.any(n, v)
	case reflect.Struct:
		d.structure(n, v)
	case reflect.Map:
		d.mapping(n, v)
	case reflect.Slice:
		d.list(n, v, enum)
	default:
		d.scalar(n, v, enum)
	}
}

func (d *decoder) any(n *yaml.Node, v reflect.Value) {
	var value any
	if err := n.Decode(&value); err != nil {
		d.wrong(n, "a plain value")
		return
	}
	plain, err := soar.Plain(value)
	if err != nil {
		d.wrong(n, "a plain value with text keys")
		return
	}
	if plain == nil {
		v.SetZero()
		return
	}
	v.Set(reflect.ValueOf(plain))
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, enum string) {
	if n.Kind != yaml.ScalarNode {
		d.wrong(n, describeKind(v.Kind()))
		return
	}
	switch v.Kind() {
	case reflect.String:
		if n.Tag != "!!str" {
			p := wrongType(d.file, n, "a text")
			p.Hint, p.Instead = fmt.Sprintf("put quotes around it: %q", n.Value), strconv.Quote(n.Value)
			d.problems = append(d.problems, p)
			return
		}
		if enum != "" {
			if allowed := strings.Split(enum, ","); !slices.Contains(allowed, n.Value) {
				p := Unknown(At(d.file, n), "value", n.Value, allowed)
				p.Hint = "allowed: " + strings.Join(allowed, ", ")
				d.problems = append(d.problems, p)
				return
			}
		}
		v.SetString(n.Value)
	case reflect.Bool:
		if n.Tag != "!!bool" {
			d.wrong(n, "true or false")
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	case reflect.Int, reflect.Int64, reflect.Int32:
		i, err := strconv.ParseInt(n.Value, 0, v.Type().Bits())
		if n.Tag != "!!int" || err != nil {
			d.wrong(n, "a whole number")
			return
		}
		v.SetInt(i)
	case reflect.Float64:
		f, err := strconv.ParseFloat(n.Value, 64)
		if (n.Tag != "!!int" && n.Tag != "!!float") || err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			d.wrong(n, "a number")
			return
		}
		v.SetFloat(f)
	default:
		panic(fmt.Sprintf("registry: cannot decode into %s", v.Type()))
	}
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value) {
	fields := map[string]Field{}
	for _, f := range Fields(v) {
		fields[f.Name] = f
	}
	if n.Kind != yaml.MappingNode {
		if n.Tag == "!!null" {
			n = &yaml.Node{Kind: yaml.MappingNode, Line: n.Line, Column: n.Column}
		} else {
			d.wrong(n, "a mapping of settings")
			return
		}
	}
	seen := map[string]bool{}
	for key, value := range Pairs(n) {
		if !d.first(key, seen) {
			continue
		}
		f, ok := fields[key.Value]
		if !ok {
			p := Unknown(At(d.file, key), "setting", key.Value, sortedKeys(fields))
			p.Code = "unknown-key"
			d.problems = append(d.problems, p)
			continue
		}
		d.value(value, f.Value, f.Enum)
		if f.Path {
			f.Value.SetString(d.path(f.Value.String()))
		}
	}
	for _, name := range sortedKeys(fields) {
		if fields[name].Required && !seen[name] {
			d.problems.Addf(At(d.file, n), "missing", "", "setting %q is required", name)
		}
	}
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value) {
	if n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.wrong(n, "a mapping")
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(n.Content)/2)
	seen := map[string]bool{}
	for key, value := range Pairs(n) {
		if !d.first(key, seen) {
			continue
		}
		item := fresh(v.Type().Elem())
		d.value(value, item, "")
		out.SetMapIndex(reflect.ValueOf(key.Value).Convert(v.Type().Key()), item)
	}
	v.Set(out)
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, enum string) {
	if n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.wrong(n, "a list")
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, c := range n.Content {
		out.Index(i).Set(fresh(v.Type().Elem()))
		d.value(c, out.Index(i), enum)
	}
	v.Set(out)
}

// secret reads {env: NAME}, {file: path} or {credential: name}. A plain text is
// refused, so that no secret ever stands in a file that is committed somewhere.
func (d *decoder) secret(n *yaml.Node, v reflect.Value) {
	const want = "a secret: {env: NAME}, {file: path} or {credential: name}"
	if n.Kind == yaml.ScalarNode {
		d.problems.Addf(At(d.file, n), "plain-secret", "put the value into a file or the environment and name that here", "expected %s, not the value itself", want)
		return
	}
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 || n.Content[1].Tag != "!!str" || n.Content[1].Value == "" {
		d.wrong(n, want)
		return
	}
	makers := map[string]func(string) soar.Secret{"env": soar.SecretFromEnv, "file": soar.SecretFromFile, "credential": soar.SecretFromCredential}
	make, ok := makers[n.Content[0].Value]
	if !ok {
		d.wrong(n.Content[0], want)
		return
	}
	where := n.Content[1].Value
	if n.Content[0].Value == "file" {
		where = d.path(where)
	}
	v.Set(reflect.ValueOf(make(where)))
}

// path makes a path that stands in the file relative to the file.
func (d *decoder) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(filepath.Dir(d.file), p)
}

func (d *decoder) first(key *yaml.Node, seen map[string]bool) bool {
	if key.Kind != yaml.ScalarNode {
		d.wrong(key, "a name")
		return false
	}
	if seen[key.Value] {
		d.problems.Addf(At(d.file, key), "repeated-key", "", "%q stands here twice", key.Value)
		return false
	}
	seen[key.Value] = true
	return true
}

func (d *decoder) wrong(n *yaml.Node, want string) {
	d.problems = append(d.problems, wrongType(d.file, n, want))
}

func wrongType(file string, n *yaml.Node, want string) Problem {
	return Problem{Position: At(file, n), Code: "wrong-type", Message: fmt.Sprintf("expected %s, found %s", want, describe(n))}
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		switch n.Tag {
		case "!!null":
			return "nothing"
		case "!!int", "!!float":
			return "the number " + n.Value
		case "!!bool":
			return n.Value
		}
		text := []rune(n.Value)
		if len(text) > 40 {
			text = append(text[:40], '…')
		}
		return fmt.Sprintf("the text %q", string(text))
	}
	return "something else"
}

func describeKind(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

// Pairs walks the keys and values of a mapping node, in the order of the file.
func Pairs(n *yaml.Node) func(yield func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i], n.Content[i+1]) {
				return
			}
		}
	}
}

func sortedKeys[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// ParseDuration reads Go's durations and, in front of them or alone, whole days: 7d, 1d12h.
func ParseDuration(text string) (time.Duration, error) {
	days, rest, found := strings.Cut(text, "d")
	if !found {
		return positive(time.ParseDuration(text))
	}
	n, err := strconv.Atoi(days)
	if err != nil || n < 0 || n > 36500 {
		return 0, fmt.Errorf("duration %q: days must be a whole number", text)
	}
	total := time.Duration(n) * 24 * time.Hour
	if rest == "" {
		return total, nil
	}
	more, err := positive(time.ParseDuration(rest))
	if err != nil {
		return 0, err
	}
	return positive(total+more, nil) // beyond 292 years the sum wraps round
}

func positive(d time.Duration, err error) (time.Duration, error) {
	if err == nil && d < 0 {
		err = errors.New("duration is negative")
	}
	return d, err
}
