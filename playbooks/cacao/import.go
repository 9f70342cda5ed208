package cacao

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// Bounds of what is imported: a file may come from anywhere.
const (
	maxBytes    = 1 << 20
	maxDepth    = 64
	maxWorkflow = 500
	maxSteps    = 100 // of the playbook that comes out; as the engine has it
	maxVisits   = 2000
	maxText     = 2000 // bytes of a text that is taken over
)

// ErrInvalid is wrapped by errors about a file that is no CACAO 2.0 playbook, or one
// beyond the bounds.
var ErrInvalid = errors.New("not a CACAO playbook that can be imported")

// Kind says what became of a part of a playbook.
type Kind string

// The kinds of notes.
const (
	Converted    Kind = "converted"
	Approximated Kind = "approximated"
	NotConverted Kind = "not convertible"
)

// Note is a line of the conversion report.
type Note struct {
	Step string `json:"step"` // the CACAO id: of a step, or of the playbook
	Name string `json:"name,omitempty"`
	Kind Kind   `json:"kind"`
	What string `json:"what"`
}

// Imported is a playbook that was imported.
type Imported struct {
	Name  string
	YAML  []byte
	Notes []Note // in the order of the workflow
}

var (
	identifierForm = regexp.MustCompile(`^([a-z-]+)--(?i:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$`)
	bookName       = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,79}$`)
	techniqueForm  = regexp.MustCompile(`^T\d{4}(\.\d{3})?$`)
)

// Import makes a playbook of ours. It always only observes, and is started by hand
// unless it was exported from one of ours with other triggers. An error wraps
// ErrInvalid.
func Import(data []byte) (*Imported, error) {
	in, err := read(data)
	if err != nil {
		return nil, fmt.Errorf("cacao: %w: %w", ErrInvalid, err)
	}
	c := &converter{in: in, ids: map[string]bool{}, enrich: mapping{}, vars: mapping{}, names: map[string]string{}, active: map[string]bool{}}
	book := c.head()
	until := map[string]bool{}
	if c.finally != "" {
		until[c.finally] = true
	}
	steps := c.chain(in.WorkflowStart, surroundings{until: until})
	if c.finally != "" {
		if finally := c.chain(c.finally, surroundings{}); len(finally) > 0 {
			book["finally"] = finally
		}
	}
	if e := in.WorkflowException; e != "" {
		c.note(e, NotConverted, "workflow_exception: write what is to be done after failures under on_error or finally")
	}
	c.unreached()
	if c.err != nil {
		return nil, fmt.Errorf("cacao: %w: %w", ErrInvalid, c.err)
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("cacao: %w: its workflow has no step that does anything", ErrInvalid)
	}
	book["steps"] = steps
	if len(c.enrich) > 0 {
		book["enrich"] = c.enrich
	}
	if len(c.vars) > 0 {
		book["vars"] = c.vars
	}
	out, err := render(book)
	if err != nil {
		return nil, fmt.Errorf("cacao: %w", err)
	}
	return &Imported{Name: text(book["playbook"]), YAML: out, Notes: c.notes}, nil
}

// read decodes and checks what the conversion relies on.
func read(data []byte) (*Playbook, error) {
	if len(data) > maxBytes {
		return nil, fmt.Errorf("it has more than %d bytes", maxBytes)
	}
	data = bytes.TrimPrefix(data, []byte("\uFEFF")) // some editors put it there
	if err := checkDepth(data); err != nil {
		return nil, err
	}
	var p Playbook
	if err := json.Unmarshal(data, &p); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return nil, fmt.Errorf("%s is of the wrong type (%s), at byte %d", cmp.Or(shorten(wrong.Field, 80), "the file"), wrong.Value, wrong.Offset)
		}
		return nil, err
	}
	switch {
	case p.Type != "playbook":
		return nil, fmt.Errorf("type is %q, not playbook", shorten(p.Type, 40))
	case p.SpecVersion != specVersion:
		return nil, fmt.Errorf("spec_version is %q, and only %s is read", shorten(p.SpecVersion, 40), specVersion)
	case !identifierForm.MatchString(p.ID) || !strings.HasPrefix(p.ID, "playbook--"):
		return nil, fmt.Errorf("id %q is not of the form playbook--UUID", shorten(p.ID, 80))
	case p.Name == "":
		return nil, errors.New("name is missing")
	case len(p.Workflow) > maxWorkflow:
		return nil, fmt.Errorf("its workflow has %d steps, the limit is %d", len(p.Workflow), maxWorkflow)
	case p.Workflow[p.WorkflowStart] == nil:
		return nil, fmt.Errorf("workflow_start %q is no step of the workflow", shorten(p.WorkflowStart, 80))
	case p.Workflow[p.WorkflowStart].Type != typeStart:
		return nil, fmt.Errorf("workflow_start %q is not a start step", shorten(p.WorkflowStart, 80))
	}
	for id, step := range p.Workflow {
		kind := identifierForm.FindStringSubmatch(id)
		switch {
		case kind == nil:
			return nil, fmt.Errorf("%q is no id of a step", shorten(id, 80))
		case step == nil:
			return nil, fmt.Errorf("step %s is null", id)
		case step.Type != kind[1]:
			return nil, fmt.Errorf("step %s has the type %q", id, shorten(step.Type, 40))
		}
	}
	return &p, nil
}

func checkDepth(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	depth := 0
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth > maxDepth {
			return fmt.Errorf("it is nested deeper than %d levels", maxDepth)
		}
	}
}

// head takes over what stands beside the workflow.
func (c *converter) head() mapping {
	p := c.in
	book := mapping{"on": "manual"}
	ours := mapping{}
	if raw := p.PlaybookExtensions[extensionID]; raw != nil {
		var err error
		if ours, err = decodeMapping(raw); err != nil {
			c.note(p.ID, NotConverted, "playbook_extensions: the extension of erbridge is no object")
		}
		ours, _ = ours["playbook"].(mapping)
	}
	for key, v := range ours { // what the language does not know, lint tells
		if v != nil && key != "steps" && key != "enrich" && key != "finally" && key != "vars" {
			book[key] = v
		}
	}
	if len(ours) > 0 && ours["on"] == nil {
		delete(book, "on")
	}
	if id := text(ours["finally"]); p.Workflow[id] != nil {
		c.finally = id
	}
	if name := text(book["playbook"]); !bookName.MatchString(name) || strings.HasSuffix(name, "_test") { // such a file would be a test
		book["playbook"] = slug(p.Name, '-', 60)
	}
	if p.Description != "" && book["description"] == nil {
		book["description"] = shorten(p.Description, maxText)
	}
	if vars, ok := ours["vars"].(mapping); ok {
		c.vars = vars
	}
	c.variables(p.ID, p.PlaybookVariables, len(ours) > 0)
	if book["attack"] == nil {
		c.techniques(book)
	}
	switch mode := text(ours["mode"]); {
	case len(ours) == 0:
		c.note(p.ID, Converted, "the playbook only observes, and is started by hand: CACAO does not tell which alerts it is about")
	case mode == "observe":
		c.note(p.ID, Converted, "the playbook only observes, as before")
	default:
		c.note(p.ID, Approximated, "the playbook only observes; take mode: observe away when it is what you want")
	}
	book["mode"] = "observe"
	c.terms()
	return book
}

// terms notes what is said of the playbook as a whole, and has no place in ours.
func (c *converter) terms() {
	p := c.in
	if p.Revoked {
		c.note(p.ID, NotConverted, "revoked: its author says that it is no longer to be used")
	}
	if p.ValidUntil != "" {
		c.note(p.ID, NotConverted, "valid_until %s: ours do not run out", shorten(p.ValidUntil, 40))
	}
	if len(p.Markings) > 0 {
		c.note(p.ID, NotConverted, "markings: who may see it stands in the file that was imported")
	}
	if len(p.Signatures) > 0 {
		c.note(p.ID, NotConverted, "signatures: they were not checked, and do not hold for what came out")
	}
}

func (c *converter) techniques(book mapping) {
	var found []any
	for _, ref := range c.in.ExternalReferences {
		if techniqueForm.MatchString(ref.ExternalID) && !slices.Contains(found, any(ref.ExternalID)) && len(found) < 50 {
			found = append(found, ref.ExternalID)
		}
	}
	if len(found) > 0 {
		book["attack"] = found
	}
}

// unreached notes the steps that no way through the workflow came to.
func (c *converter) unreached() {
	var rest []string
	for id, step := range c.in.Workflow {
		if !c.seen[id] && step.Type != typeEnd && step.Type != typeStart && id != c.in.WorkflowException {
			rest = append(rest, id)
		}
	}
	slices.Sort(rest)
	for _, id := range rest {
		c.note(id, NotConverted, "the workflow does not come here")
	}
}

func (c *converter) note(id string, kind Kind, format string, args ...any) {
	name := ""
	if step := c.in.Workflow[id]; step != nil {
		name = shorten(step.Name, 80)
	}
	n := Note{Step: shorten(id, 80), Name: name, Kind: kind, What: fmt.Sprintf(format, args...)}
	if len(c.notes) < 5*maxWorkflow && !slices.Contains(c.notes, n) {
		c.notes = append(c.notes, n)
	}
}

// shorten cuts a text at whole characters.
func shorten(s string, most int) string {
	if len(s) <= most {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// slug makes a name of a title.
func slug(title string, separator byte, most int) string {
	var b strings.Builder
	for _, c := range []byte(strings.ToLower(title)) {
		switch {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
			b.WriteByte(c)
		case b.Len() > 0 && b.String()[b.Len()-1] != separator:
			b.WriteByte(separator)
		}
		if b.Len() >= most {
			break
		}
	}
	if name := strings.Trim(b.String(), string(separator)); name != "" {
		return name
	}
	return "imported"
}
