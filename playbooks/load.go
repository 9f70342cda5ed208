package playbooks

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// Bounds of a playbook and of a set.
const (
	maxPlaybooks   = 1000
	maxSteps       = 100
	maxAtOnce      = 100 // items of one for_each
	maxConditions  = 100
	maxEnrichments = 20
	maxAttempts    = 20
	maxStepTimeout = 30 * 24 * time.Hour

	defaultStepTimeout = 10 * time.Minute
	defaultEnrichTTL   = 5 * time.Minute
	defaultEmptyTTL    = time.Minute
	defaultStale       = time.Hour
	maxLifetime        = 24 * time.Hour
)

var (
	playbookName  = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,79}$`)
	stepName      = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)
	techniqueName = regexp.MustCompile(`^T\d{4}(\.\d{3})?$`)
)

// LoadDir reads every playbook under a folder: all files that end in .yaml or
// .yml, except tests (_test.yaml) and hidden ones. With any problem, there is no
// set: the whole of it or nothing. Playbooks may call each other, and others that
// were loaded before.
func LoadDir(dir string, actions map[string]Action, others ...*Playbook) (*Set, registry.Problems) {
	return load(os.DirFS(dir), ".", func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }, actions, others)
}

// LoadFS is LoadDir for any file system.
func LoadFS(fsys fs.FS, root string, actions map[string]Action) (*Set, registry.Problems) {
	return load(fsys, root, func(name string) string { return name }, actions, nil)
}

func load(fsys fs.FS, root string, shown func(string) string, actions map[string]Action, others []*Playbook) (*Set, registry.Problems) {
	var problems registry.Problems
	var loaded []*Playbook
	first := map[string]*Playbook{}
	files, err := snapshot(fsys, root)
	for _, f := range files {
		name := shown(f.name)
		if f.err != nil {
			problems.Addf(registry.Position{File: name, Line: 1, Column: 1}, "unreadable", "", "playbooks: %v", f.err)
			continue
		}
		p, more := parse(name, f.data, f.lists, actions, time.Now)
		problems = append(problems, more...)
		if p == nil {
			continue
		}
		if other := first[p.Name]; other != nil {
			problems.Addf(nameAt(name, f.data), "repeated-name", "", "playbook %q stands in %s already", p.Name, other.File)
			continue
		}
		first[p.Name] = p
		loaded = append(loaded, p)
	}
	if err != nil {
		problems.Addf(registry.Position{File: shown(root), Line: 1, Column: 1}, "unreadable", "", "playbooks: %v", err)
	}
	if len(problems) == 0 { // a call of a playbook with mistakes is none of its own
		problems = Link(loaded, others...)
	}
	if len(problems) > 0 {
		_ = problems.Err() // sorts
		return nil, problems
	}
	return NewSet(loaded...), nil
}

func isPlaybookFile(base string) bool {
	stem, found := strings.CutSuffix(base, ".yaml")
	if !found {
		if stem, found = strings.CutSuffix(base, ".yml"); !found {
			return false
		}
	}
	return !strings.HasSuffix(stem, "_test")
}

// nameAt finds the value of the key playbook.
func nameAt(file string, data []byte) registry.Position {
	if root, problems := registry.Parse(file, data); problems == nil {
		for key, value := range registry.Pairs(root) {
			if key.Value == "playbook" {
				return registry.At(file, value)
			}
		}
	}
	return registry.Position{File: file, Line: 1, Column: 1}
}

// Parse reads one playbook and reports every mistake in it. The playbook is nil
// when there is any. A list that stands in a file of its own is a mistake here: see
// ParseIn.
func Parse(file string, data []byte, actions map[string]Action) (*Playbook, registry.Problems) {
	return parse(file, data, newListFiles(nil), actions, time.Now)
}

// ParseIn is Parse for a playbook in a folder, which may hold files of its lists.
func ParseIn(folder fs.FS, file string, data []byte, actions map[string]Action) (*Playbook, registry.Problems) {
	return parse(file, data, newListFiles(folder), actions, time.Now)
}

// ParseWithClock reads the Source of a playbook anew. Its expressions tell the time by
// now: those of jq's now, and of age.
func ParseWithClock(file string, source []byte, actions map[string]Action, now func() time.Time) (*Playbook, registry.Problems) {
	data, files := splitVersion(source)
	return parse(file, data, files, actions, now)
}

func parse(file string, data []byte, files *listFiles, actions map[string]Action, now func() time.Time) (*Playbook, registry.Problems) {
	root, problems := registry.Parse(file, data)
	if problems != nil {
		return nil, problems
	}
	l := &loader{
		file: file, source: newSource(data), actions: actions, now: now, files: files,
		pb: &Playbook{File: file, Mode: soar.ModeEnforce, On: []string{pendingAlert}},
	}
	var doc document
	l.problems = registry.Decode(file, root, &doc)
	l.head(&doc)
	l.variables(doc.Vars)
	l.lists(&doc.Lists.Node)
	l.enrichments(&doc.Enrich.Node)
	if doc.Count != nil {
		l.count(&doc.Count.By.Node, doc.Count.Window)
	}
	l.match(&doc.Match.Node)
	if doc.Cooldown != nil && doc.Cooldown.Key.Kind != 0 {
		l.pb.cooldown = &cooldownRule{l.expr(&doc.Cooldown.Key.Node, l.scope("cooldown.key")), doc.Cooldown.For}
		if doc.Cooldown.For <= 0 && len(l.problems) == 0 {
			l.problems.Addf(registry.At(file, &doc.Cooldown.Key.Node), "range", "", "a cool-down must be longer than nothing")
		}
	}
	if doc.Group != nil {
		l.group(&doc.Group.By.Node, doc.Group.Window)
	}
	l.pb.keysNeedHost = slices.ContainsFunc(l.pb.keys(), func(e *expr) bool { return e != nil && e.roots["host"] })
	l.steps(&doc.Steps.Node, &doc.Finally.Node)
	if len(l.problems) > 0 {
		_ = l.problems.Err() // sorts
		return nil, l.problems
	}
	l.pb.Source = versionSource(data, files)
	sum := sha256.Sum256(l.pb.Source)
	l.pb.Hash = hex.EncodeToString(sum[:16])
	return l.pb, nil
}

type loader struct {
	file     string
	source   *source
	actions  map[string]Action
	now      func() time.Time // of the expressions
	files    *listFiles
	pb       *Playbook
	problems registry.Problems
	ids      map[string]*step
}

func (l *loader) at(n *yaml.Node) registry.Position { return registry.At(l.file, n) }

func (l *loader) wrong(n *yaml.Node, want string) {
	l.problems.Addf(l.at(n), "wrong-type", "", "expected %s", want)
}

func (l *loader) head(doc *document) {
	p := l.pb
	p.Name, p.Description = doc.Playbook.Value, doc.Description
	if doc.Playbook.At.Line > 0 && !playbookName.MatchString(p.Name) {
		l.problems.Addf(doc.Playbook.At, "name", "small letters, digits, - and _", "%q is no name for a playbook", p.Name)
	}
	for _, t := range doc.Attack {
		if !techniqueName.MatchString(t.Value) {
			l.problems.Addf(t.At, "technique", "T1490 or T1059.001", "%q is no ATT&CK technique", t.Value)
		}
		p.Attack = append(p.Attack, t.Value)
	}
	switch mode := doc.Mode; {
	case slices.Contains(modeWords, mode.Value):
		p.Mode = soar.Mode(mode.Value)
	case mode.At.Line == 0: // not there
	case mode.Value == "":
		l.problems.Addf(mode.At, "mode", "write observe, approve or enforce", "the mode is empty")
	default:
		l.problems = append(l.problems, unknownWord(mode.At, "mode", mode.Value, modeWords...))
	}
	l.on(&doc.On.Node)
}

func unknownWord(at registry.Position, what, word string, allowed ...string) registry.Problem {
	problem := registry.Unknown(at, what, word, allowed)
	problem.Code = what
	if !strings.HasPrefix(problem.Hint, "did you mean") {
		problem.Hint = "allowed: " + strings.Join(allowed, ", ")
	}
	return problem
}

func (l *loader) variables(vars map[string]any) {
	if l.pb.vars = vars; vars == nil {
		l.pb.vars = map[string]any{}
	}
}

func (l *loader) enrichments(n *yaml.Node) {
	if n.Kind == 0 || n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		l.wrong(n, "a mapping of names to {do: ..., with: ...}")
		return
	}
	if len(n.Content)/2 > maxEnrichments {
		l.problems.Addf(l.at(n), "too-many", "", "%d enrichments, the limit is %d", len(n.Content)/2, maxEnrichments)
		return
	}
	seen := map[string]bool{"host": true}
	for key, value := range registry.Pairs(n) {
		switch {
		case !stepName.MatchString(key.Value):
			l.problems.Addf(l.at(key), "name", "small letters, digits and _, a letter first", "%q is no name for an enrichment", key.Value)
		case key.Value == "host":
			l.problems.Addf(l.at(key), "name", "read .host: it is fetched by itself", "the name host is taken")
		case seen[key.Value]:
			l.problems.Addf(l.at(key), "repeated-key", "", "%q stands here twice", key.Value)
		}
		seen[key.Value] = true
		var doc enrichDocument
		l.problems = append(l.problems, registry.Decode(l.file, value, &doc)...)
		e := &enrichment{name: key.Value, do: doc.Do.Value, life: lifetimes{found: defaultEnrichTTL, empty: defaultEmptyTTL, stale: defaultStale}}
		l.lifetime(value, "ttl", doc.TTL, &e.life.found)
		l.lifetime(value, "empty_ttl", doc.EmptyTTL, &e.life.empty)
		l.lifetime(value, "stale", doc.Stale, &e.life.stale)
		e.action = l.action(doc.Do.Text)
		e.with = l.arguments(&doc.With.Node, value, l.scope("enrich"), e.action)
		e.onHost = e.with.reads("host")
		if e.action != nil && e.action.Spec().Effect != Reads {
			l.problems.Addf(doc.Do.At, "effect", "make it a step", "enrichment %s must only read, and %s changes something", e.name, e.do)
		} else if e.action != nil && e.action.Spec().Waits {
			l.problems.Addf(doc.Do.At, "effect", "make it a step", "enrichment %s must read something, and %s lets time pass", e.name, e.do)
		}
		l.pb.enrich = append(l.pb.enrich, e)
	}
}

// lifetime takes a duration over, if it stands in the file.
func (l *loader) lifetime(n *yaml.Node, key string, given, to *time.Duration) {
	switch {
	case given == nil:
	case *given < 0 || *given > maxLifetime:
		l.problems.Addf(l.at(child(n, key)), "range", "", "%s must be between 0s and %s", key, maxLifetime)
	default:
		*to = *given
	}
}

// action finds the action that a do names. Nil when there is no such action; then
// there is a problem, or the key is missing, which has been said already.
func (l *loader) action(do registry.Text) Action {
	if do.At.Line == 0 {
		return nil
	}
	a, ok := l.actions[do.Value]
	if !ok {
		problem := registry.Unknown(do.At, "action", do.Value, sortedNames(l.actions))
		problem.Code = "unknown-action"
		l.problems = append(l.problems, problem)
	}
	return a
}

func sortedNames[T any](m map[string]T) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (l *loader) match(n *yaml.Node) {
	l.pb.match = &matcher{}
	if n.Kind == 0 {
		return
	}
	if n.Kind != yaml.MappingNode {
		l.wrong(n, "all, any or none, each with a list of conditions")
		return
	}
	var doc matchDocument
	l.problems = append(l.problems, registry.Decode(l.file, n, &doc)...)
	names := map[string]bool{}
	for _, list := range doc.inOrder() {
		for _, item := range list.Content {
			l.condition(list.block, item, names)
		}
	}
	if len(l.pb.match.conditions) > maxConditions {
		l.problems.Addf(l.at(n), "too-many", "", "%d conditions, the limit is %d", len(l.pb.match.conditions), maxConditions)
	}
	host, enrich := l.pb.match.needs()
	for _, e := range l.pb.enrich {
		host = host || e.onHost && slices.Contains(enrich, e.name)
	}
	l.pb.matchNeedsHost = host
	for _, c := range l.pb.match.conditions { // who asks for all look-ups asks for those that there are
		c.host = c.host || host && c.expr.asksFor("")
	}
}

func (l *loader) condition(block Block, item *yaml.Node, names map[string]bool) {
	if item.Kind != yaml.MappingNode || len(item.Content) != 2 {
		l.problems.Addf(l.at(item), "condition", "write - what it says: .alert.field == \"value\"", "expected a name, a colon and one jq expression")
		return
	}
	name, value := item.Content[0], item.Content[1]
	if names[name.Value] {
		l.problems.Addf(l.at(name), "repeated-name", "", "two conditions have the name %q", name.Value)
	}
	names[name.Value] = true
	e := l.expr(value, l.scope("match"))
	if e == nil {
		return
	}
	c := &condition{
		block: block, name: name.Value, expr: e, host: e.roots["host"] || e.asksFor("host"), count: e.roots[countName] || e.asksFor(countName) || e.asksFor(""),
		enrich: enrichmentsOf(e, l.pb.enrich), errorsToo: !e.whole && (e.roots["enrich_errors"] || e.roots[statusName]),
	}
	l.pb.match.conditions = append(l.pb.match.conditions, c)
}

// enrichmentsOf names the enrichments that an expression reads; all of them when
// it reads .enrich as a whole.
func enrichmentsOf(e *expr, all []*enrichment) []string {
	var names []string
	for _, fields := range e.reads {
		if fields[0] != "enrich" && fields[0] != "enrich_errors" && fields[0] != statusName {
			continue
		}
		for _, other := range all {
			if (len(fields) == 1 || fields[1] == other.name) && !slices.Contains(names, other.name) {
				names = append(names, other.name)
			}
		}
	}
	return names
}

// child finds the value of a key, or the mapping itself.
func child(n *yaml.Node, name string) *yaml.Node {
	for key, value := range registry.Pairs(n) {
		if key.Value == name {
			return value
		}
	}
	return n
}

// arguments reads a with block and lets the action check what stands in it.
func (l *loader) arguments(n, owner *yaml.Node, scope scope, action Action) *template {
	src := StepSource{
		At: l.at(owner), With: map[string]json.RawMessage{}, Dynamic: map[string]bool{}, Places: map[string]registry.Position{},
		Parts: map[string]map[string]json.RawMessage{},
	}
	t := &template{literal: map[string]any{}}
	before := len(l.problems)
	if n.Kind != 0 && n.Tag != "!!null" {
		if n.Kind != yaml.MappingNode {
			l.wrong(n, "a mapping of arguments")
			return t
		}
		t = l.template(n, scope)
		for key, value := range registry.Pairs(n) {
			src.Places[key.Value] = l.at(value)
			field := t.fields[key.Value]
			if field == nil {
				continue
			}
			if field.dynamic {
				src.Dynamic[key.Value] = true
				if field.fields != nil {
					src.Parts[key.Value] = field.items()
				}
			} else if raw, err := json.Marshal(field.literal); err == nil {
				src.With[key.Value] = raw
			}
		}
	}
	if action != nil && len(l.problems) == before {
		l.problems = append(l.problems, argumentProblems(action.Check(l.file, src))...)
	}
	return t
}

// items are the fields of a template: the literal ones as JSON, nil for the others.
func (t *template) items() map[string]json.RawMessage {
	items := map[string]json.RawMessage{}
	for name, field := range t.fields {
		items[name] = nil
		if !field.dynamic {
			if raw, err := json.Marshal(field.literal); err == nil {
				items[name] = raw
			}
		}
	}
	return items
}

func (l *loader) template(n *yaml.Node, scope scope) *template {
	t := &template{}
	switch n.Kind {
	case yaml.MappingNode:
		t.fields = map[string]*template{}
		literal := map[string]any{}
		for key, value := range registry.Pairs(n) {
			if key.Kind != yaml.ScalarNode {
				l.wrong(key, "a name")
				continue
			}
			if t.fields[key.Value] != nil {
				l.problems.Addf(l.at(key), "repeated-key", "", "%q stands here twice", key.Value)
				continue
			}
			field := l.template(value, scope)
			t.fields[key.Value], t.dynamic = field, t.dynamic || field.dynamic
			literal[key.Value] = field.literal
		}
		t.literal = literal
	case yaml.SequenceNode:
		literal := make([]any, len(n.Content))
		for i, value := range n.Content {
			item := l.template(value, scope)
			t.list, t.dynamic = append(t.list, item), t.dynamic || item.dynamic
			literal[i] = item.literal
		}
		t.literal = literal
	default:
		if n.Tag == "!!str" {
			l.text(t, n, scope)
			return t
		}
		l.problems = append(l.problems, registry.Decode(l.file, n, &t.literal)...)
	}
	return t
}

// text splits a text at ${{ and }}. $${{ stands for a literal ${{.
func (l *loader) text(t *template, n *yaml.Node, scope scope) {
	text, rest := "", n.Value
	var parts []part
	for {
		i := strings.Index(rest, "${{")
		if i < 0 {
			break
		}
		if i > 0 && rest[i-1] == '$' {
			text += rest[:i-1] + "${{"
			rest = rest[i+3:]
			continue
		}
		offset := len(n.Value) - len(rest) + i + 3
		e, length := l.embedded(n, offset, scope)
		if e == nil {
			t.dynamic = true // as far as the action's check goes
			return
		}
		text += rest[:i]
		if text != "" {
			parts = append(parts, part{text: text})
		}
		parts = append(parts, part{expr: e})
		text, rest = "", n.Value[offset+length+2:]
	}
	text += rest
	if len(parts) == 0 {
		t.literal = text
		return
	}
	t.dynamic = true
	if blank := strings.TrimSpace(text) == ""; blank && len(parts) == 1 {
		t.whole = parts[0].expr
		return
	} else if blank && len(parts) == 2 && parts[0].expr == nil && strings.TrimSpace(parts[0].text) == "" {
		t.whole = parts[1].expr
		return
	}
	if text != "" {
		parts = append(parts, part{text: text})
	}
	t.parts = parts
}

// embedded compiles the expression that starts at offset. It ends at the first }}
// that leaves something which compiles, since }} may stand inside jq too.
func (l *loader) embedded(n *yaml.Node, offset int, scope scope) (*expr, int) {
	rest := n.Value[offset:]
	var firstErr error
	var firstEnd int
	for from, tries := 0, 0; tries < 50; tries++ {
		i := strings.Index(rest[from:], "}}")
		if i < 0 {
			break
		}
		end := from + i
		e, err := compileExpr(rest[:end], l.world())
		if err == nil {
			l.references(e, n, offset, scope)
			return e, end
		}
		if firstErr == nil {
			firstErr, firstEnd = err, end
		}
		from = end + 1
	}
	if firstErr == nil {
		l.problems.Addf(l.source.place(l.file, n, offset-3), "expression", "", "${{ without }}")
		return nil, 0
	}
	l.syntax(firstErr, n, offset, rest[:firstEnd])
	return nil, 0
}

// expr compiles a scalar that is one bare expression.
func (l *loader) expr(n *yaml.Node, scope scope) *expr {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		l.wrong(n, "a jq expression")
		return nil
	}
	e, err := compileExpr(n.Value, l.world())
	if err != nil {
		l.syntax(err, n, 0, n.Value)
		return nil
	}
	l.references(e, n, 0, scope)
	return e
}
