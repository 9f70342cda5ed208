package gendocs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

const module = "github.com/erbridge/erbridge"

// sources are the parsed Go files of the module, tests aside.
type sources struct {
	root string
	docs map[string]string // "dir.Type.Field" and "dir.Type" to doc comment
	all  []*ast.File
}

// readSources parses every package of the module.
func readSources(root string) (*sources, error) {
	s := &sources{root: root, docs: map[string]string{}}
	files := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if path != root && (name == "testdata" || name == "tools" || name == "bin" || strings.HasPrefix(name, ".")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		s.all = append(s.all, file)
		s.readTypes(filepath.ToSlash(dir), file)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the sources: %w", err)
	}
	return s, nil
}

func (s *sources) readTypes(dir string, file *ast.File) {
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE {
			continue
		}
		for _, spec := range gen.Specs {
			t := spec.(*ast.TypeSpec)
			key := dir + "." + t.Name.Name
			s.docs[key] = text(gen.Doc, t.Doc)
			if body, ok := t.Type.(*ast.StructType); ok {
				s.readFields(key, body)
			}
		}
	}
}

func (s *sources) readFields(key string, body *ast.StructType) {
	for _, field := range body.Fields.List {
		doc := text(field.Doc, field.Comment)
		for _, name := range field.Names {
			s.docs[key+"."+name.Name] = doc
		}
	}
}

// text is the first comment there is, on one line a paragraph.
func text(groups ...*ast.CommentGroup) string {
	for _, g := range groups {
		if g == nil {
			continue
		}
		paragraphs := strings.Split(strings.TrimSpace(g.Text()), "\n\n")
		for i, p := range paragraphs {
			paragraphs[i] = strings.Join(strings.Fields(p), " ")
		}
		return strings.Join(paragraphs, "\n\n")
	}
	return ""
}

// doc is the DocFunc of the sources. The name of a field in front of its comment
// becomes no part of the text, because users know the name in YAML only.
func (s *sources) doc(t reflect.Type, field string) string {
	dir := strings.TrimPrefix(strings.TrimPrefix(t.PkgPath(), module), "/")
	name, _, _ := strings.Cut(t.Name(), "[") // of a generic type
	key := dir + "." + name
	if field == "" {
		return describeType(s.docs[key], name)
	}
	return describeField(s.docs[key+"."+field], field)
}

// describeField turns "Address is the collector" into "The collector".
func describeField(doc, field string) string {
	for _, verb := range []string{" is ", " are "} {
		if rest, ok := strings.CutPrefix(doc, field+verb); ok {
			return upper(rest)
		}
	}
	if rest, ok := strings.CutPrefix(doc, field+" "); ok {
		return upper(rest)
	}
	return doc
}

func describeType(doc, name string) string {
	rest, ok := strings.CutPrefix(doc, name+" ")
	if !ok {
		return doc
	}
	return upper(strings.TrimPrefix(strings.TrimPrefix(rest, "are "), "is "))
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// metric is one metric that the sources register.
type metric struct {
	name, kind, help string
	labels           []string
}

// metrics finds every metric in the sources: the options of a constructor of
// client_golang, a prometheus.NewDesc, or a call of a local function around it.
func (s *sources) metrics() ([]metric, error) {
	var found []metric
	var problem error
	for _, file := range s.all {
		locals := readLocals(file)
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			m, ok, err := locals.metric(call)
			if err != nil && problem == nil {
				problem = fmt.Errorf("package %s: %w", file.Name, err)
			}
			if ok && strings.HasPrefix(m.name, "erbridge_") {
				found = append(found, m)
			}
			return true
		})
	}
	slices.SortFunc(found, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	found = slices.CompactFunc(found, func(a, b metric) bool { return a.name == b.name })
	return found, problem
}

// locals are the variables of a file that matter here: sets of labels, and
// functions that make descriptions which share their labels.
type locals struct {
	values map[string]*ast.CompositeLit
	makers map[string][]string // name to labels
}

func readLocals(file *ast.File) *locals {
	l := &locals{values: map[string]*ast.CompositeLit{}, makers: map[string][]string{}}
	ast.Inspect(file, func(n ast.Node) bool {
		assign, ok := n.(*ast.AssignStmt)
		if !ok || len(assign.Lhs) != 1 || len(assign.Rhs) != 1 {
			return true
		}
		name, ok := assign.Lhs[0].(*ast.Ident)
		if !ok {
			return true
		}
		switch value := assign.Rhs[0].(type) {
		case *ast.CompositeLit:
			l.values[name.Name] = value
		case *ast.FuncLit:
			ast.Inspect(value, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok && constructor(call) == "NewDesc" && len(call.Args) == 4 {
					l.makers[name.Name] = append(l.literals(call.Args[2]), l.labelKeys(call.Args[3])...)
				}
				return true
			})
		}
		return true
	})
	return l
}

// constructor is the name of the function of client_golang that a call calls.
func constructor(call *ast.CallExpr) string {
	fun, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if pkg, ok := fun.X.(*ast.Ident); !ok || pkg.Name != "prometheus" || constructors[fun.Sel.Name] == "" {
		return ""
	}
	return fun.Sel.Name
}

var constructors = map[string]string{
	"NewCounter": "counter", "NewCounterVec": "counter", "NewCounterFunc": "counter",
	"NewGauge": "gauge", "NewGaugeVec": "gauge", "NewGaugeFunc": "gauge",
	"NewHistogram": "histogram", "NewHistogramVec": "histogram", "NewDesc": "gauge",
}

func (l *locals) metric(call *ast.CallExpr) (m metric, ok bool, err error) {
	if maker, isIdent := call.Fun.(*ast.Ident); isIdent && len(call.Args) == 2 {
		if labels, known := l.makers[maker.Name]; known {
			return metric{literal(call.Args[0]), "gauge", literal(call.Args[1]), labels}, true, nil
		}
	}
	name := constructor(call)
	if name == "" || len(call.Args) == 0 {
		return m, false, nil
	}
	m.kind = constructors[name]
	opts, isLit := call.Args[0].(*ast.CompositeLit)
	switch {
	case name == "NewDesc" && len(call.Args) == 4:
		m.name, m.help = literal(call.Args[0]), literal(call.Args[1])
		m.labels = append(l.literals(call.Args[2]), l.labelKeys(call.Args[3])...)
	case isLit:
		for _, element := range opts.Elts {
			l.option(&m, element)
		}
		if strings.HasSuffix(name, "Vec") && len(call.Args) > 1 {
			m.labels = append(m.labels, l.literals(call.Args[1])...)
		}
	}
	if m.name != "" && m.help == "" {
		return m, false, fmt.Errorf("metric %s: its help is not a literal, so it cannot be documented", m.name)
	}
	return m, m.name != "", nil
}

func (l *locals) option(m *metric, element ast.Expr) {
	pair, ok := element.(*ast.KeyValueExpr)
	if !ok {
		return
	}
	key, ok := pair.Key.(*ast.Ident)
	if !ok {
		return
	}
	switch key.Name {
	case "Name":
		m.name = literal(pair.Value)
	case "Help":
		m.help = literal(pair.Value)
	case "ConstLabels":
		m.labels = append(m.labels, l.labelKeys(pair.Value)...)
	}
}

func literal(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil {
			return text
		}
	case *ast.BinaryExpr:
		if left, right := literal(e.X), literal(e.Y); left != "" && right != "" {
			return left + right
		}
	}
	return ""
}

func (l *locals) literals(e ast.Expr) []string {
	list, ok := l.composite(e)
	if !ok {
		return nil
	}
	var all []string
	for _, element := range list.Elts {
		if text := literal(element); text != "" {
			all = append(all, text)
		}
	}
	return all
}

func (l *locals) labelKeys(e ast.Expr) []string {
	list, ok := l.composite(e)
	if !ok {
		return nil
	}
	var keys []string
	for _, element := range list.Elts {
		if pair, ok := element.(*ast.KeyValueExpr); ok {
			keys = append(keys, literal(pair.Key))
		}
	}
	return keys
}

// composite is a composite literal, or the one that a variable was made from.
func (l *locals) composite(e ast.Expr) (*ast.CompositeLit, bool) {
	if name, ok := e.(*ast.Ident); ok {
		list, known := l.values[name.Name]
		return list, known
	}
	list, ok := e.(*ast.CompositeLit)
	return list, ok
}
