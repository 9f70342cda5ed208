package playtest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
)

// ErrReadOnly means that a test file does not lie on the disk.
var ErrReadOnly = errors.New("the tests of the library cannot be rewritten")

// Update rewrites what failed tests expect to what happened, and counts them. Only
// the expectations change, and comments stay. A test that lacks an answer is left to a
// person: what happened in it would not happen in earnest.
func (r *Report) Update() (updated int, err error) {
	return r.rewrite(func(one *Result) bool {
		return !one.lacking && slices.ContainsFunc(one.Failures, func(f Failure) bool { return f.expectation })
	})
}

// Complete is Update for tests that were just written: what they do not look at yet,
// they expect as it is.
func (r *Report) Complete() error {
	_, err := r.rewrite(func(one *Result) bool {
		one.complete = true
		return true
	})
	return err
}

// rewrite makes all texts before it writes the first one: with an error from making
// them, no file has changed.
func (r *Report) rewrite(wanted func(*Result) bool) (updated int, err error) {
	type text struct {
		path string
		data []byte
	}
	var texts []text
	for _, f := range r.Files {
		data, n, err := f.rewritten(wanted)
		if err != nil {
			return 0, err
		}
		if n > 0 {
			texts, updated = append(texts, text{f.suite.place.shown(f.suite.name), data}), updated+n
		}
	}
	for _, t := range texts {
		if err := replaceFile(t.path, t.data); err != nil {
			return 0, err
		}
	}
	return updated, nil
}

func (f *FileReport) rewritten(wanted func(*Result) bool) (data []byte, n int, err error) {
	var edits []edit
	for _, one := range f.Results {
		if !wanted(one) {
			continue
		}
		e, err := one.rewrite()
		if err != nil {
			return nil, 0, fmt.Errorf("%s: test %q: %w", one.Position, one.Name, err)
		}
		edits = append(edits, e)
	}
	if len(edits) == 0 {
		return nil, 0, nil
	}
	if f.suite.place.Dir == "" {
		return nil, 0, fmt.Errorf("%s: %w", f.File, ErrReadOnly)
	}
	data = applied(f.suite.doc.data, edits)
	if f.suite.doc.crlf {
		data = bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
	}
	if _, problems := parse(f.File, data); problems != nil {
		return nil, 0, fmt.Errorf("%s cannot be rewritten, do it by hand: %w", f.File, problems)
	}
	return data, len(edits), nil
}

// replaceFile writes a file beside the old one first, so that there is always one. A
// link still leads to it.
func replaceFile(path string, data []byte) (err error) {
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	next := path + ".new"
	defer func() {
		if err != nil {
			_ = os.Remove(next)
		}
	}()
	if err := os.WriteFile(next, data, info.Mode().Perm()); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// edit puts other lines in the place of those from first up to end, which counts
// no longer.
type edit struct {
	first, end int // from 1
	lines      []string
}

func applied(data []byte, edits []edit) []byte {
	lines := strings.SplitAfter(string(data), "\n")
	slices.SortFunc(edits, func(a, b edit) int { return b.first - a.first }) // from the end, so that numbers stay true
	for _, e := range edits {
		lines = slices.Replace(lines, e.first-1, e.end-1, e.lines...)
	}
	return []byte(strings.Join(lines, ""))
}

// rewrite makes the lines of an expectation anew.
func (r *Result) rewrite() (edit, error) {
	d := r.play.doc
	test := d.node("tests", r.play.index)
	if test.Style&yaml.FlowStyle != 0 {
		return edit{}, errors.New("the test stands between braces; write it out to have it updated")
	}
	i := keyIndex(test, "expect")
	key, want := test.Content[i], test.Content[i+1]
	r.rewriteExpect(want)

	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if want.Style&yaml.FlowStyle != 0 && !fitsOneLine(want) {
		want.Style &^= yaml.FlowStyle
	}
	name := &yaml.Node{Kind: yaml.ScalarNode, Value: key.Value, LineComment: key.LineComment}
	if err := e.Encode(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{name, want}}); err != nil {
		return edit{}, err
	}
	source := strings.SplitAfter(string(d.data), "\n")
	out := edit{first: key.Line, end: r.endOf(test, i, source)}
	prefix := source[key.Line-1][:key.Column-1] // "  - " when it is the first key
	for line := range strings.Lines(b.String()) {
		if strings.TrimSpace(line) != "" {
			line = prefix + line
		}
		out.lines, prefix = append(out.lines, line), strings.Repeat(" ", key.Column-1)
	}
	return out, nil
}

// endOf is the line where something else begins. Comments and empty lines before
// that belong to it.
func (r *Result) endOf(test *yaml.Node, i int, source []string) int {
	end := len(source) + 1
	d := r.play.doc
	tests := d.node("tests")
	switch {
	case i+2 < len(test.Content):
		end = test.Content[i+2].Line
	case r.play.index+1 < len(tests.Content):
		end = tests.Content[r.play.index+1].Line
	default:
		for key := range registry.Pairs(d.root) {
			if key.Line > test.Line && key.Line < end {
				end = key.Line
			}
		}
	}
	for end-2 >= 0 && end-2 < len(source) {
		if text := strings.TrimSpace(source[end-2]); text != "" && !strings.HasPrefix(text, "#") {
			break
		}
		end--
	}
	return end
}

const longestLine = 120

// fitsOneLine reports whether a node between braces is still good to read.
func fitsOneLine(n *yaml.Node) bool {
	data, err := yaml.Marshal(n)
	return err == nil && len(data) <= longestLine && bytes.Count(data, []byte("\n")) <= 1
}

// rewriteExpect changes the node of an expectation to what happened. What it does
// not look at is added only when the verdict has become a match.
func (r *Result) rewriteExpect(n *yaml.Node) {
	dropFeet(n)
	want, got := &r.play.test().Expect, r.got
	became := r.complete || want.Verdict != got.verdict
	set(n, "verdict", got.verdict)
	reasons := against(got.verdict, r.Explanation.Conditions)
	switch {
	case len(reasons) == 0:
		drop(n, "reason")
	case became || want.Reason != "" && !slices.Contains(reasons, want.Reason):
		set(n, "reason", reasons[0])
	}
	outcome, words := "", got.words
	if got.run != nil {
		outcome, words = string(got.run.State), got.run.Error
	}
	if want.Error != "" && !strings.Contains(words, want.Error) {
		if words == "" {
			drop(n, "error")
		} else {
			set(n, "error", words)
		}
	}
	if want.Actions != nil || became && outcome != "" {
		r.rewriteActions(n)
	}
	switch {
	case outcome == "":
		drop(n, "outcome")
		drop(n, "steps")
		return
	case want.Outcome != "" || became:
		set(n, "outcome", outcome)
	}
	if steps := under(n, "steps"); steps != nil {
		for id := range want.Steps {
			set(steps, id, cmp.Or(got.steps[id], "none"))
		}
	}
}

func (r *Result) rewriteActions(n *yaml.Node) {
	list := under(n, "actions")
	if list == nil || list.Kind != yaml.SequenceNode {
		set(n, "actions", []any{})
		list = under(n, "actions")
		list.Style = 0
	}
	got := r.got.actions
	var want []ExpectedAction
	if r.play.test().Expect.Actions != nil {
		want = *r.play.test().Expect.Actions
	}
	for i, call := range got {
		if i >= len(list.Content) {
			list.Content = append(list.Content, toNode(map[string]any{"do": call.Do, "step": call.Step, "with": call.With}))
			continue
		}
		item := list.Content[i]
		set(item, "do", call.Do)
		if want[i].Step != "" && !isStep(call.Step, want[i].Step) {
			set(item, "step", call.Step)
		}
		with := under(item, "with")
		for name, value := range want[i].With {
			if have, ok := call.With[name]; !ok {
				drop(with, name)
			} else if !reflect.DeepEqual(have, value) {
				set(with, name, have)
			}
		}
	}
	list.Content = list.Content[:len(got)]
	if len(got) == 0 {
		list.Style = yaml.FlowStyle
	} else if list.Style&yaml.FlowStyle != 0 && !fitsOneLine(list) {
		list.Style &^= yaml.FlowStyle
	}
}

// set puts a value under a key. The comments of the old value stay.
func set(n *yaml.Node, key string, value any) {
	fresh := toNode(value)
	i := keyIndex(n, key)
	if i < 0 {
		n.Content = append(n.Content, toNode(key), fresh)
		return
	}
	old := n.Content[i+1]
	if old.Kind == yaml.ScalarNode && fresh.Kind == yaml.ScalarNode {
		if old.Value == fresh.Value && old.Tag == fresh.Tag {
			return // as it was written
		}
		if fresh.Style == 0 && old.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			fresh.Style = old.Style
		}
	}
	fresh.HeadComment, fresh.LineComment = old.HeadComment, old.LineComment
	n.Content[i+1] = fresh
}

func drop(n *yaml.Node, key string) {
	if i := keyIndex(n, key); i >= 0 {
		n.Content = slices.Delete(n.Content, i, i+2)
	}
}

func keyIndex(n *yaml.Node, key string) int {
	if n == nil || n.Kind != yaml.MappingNode {
		return -1
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return i
		}
	}
	return -1
}

// toNode is a value as it would be written by hand.
func toNode(value any) *yaml.Node {
	n := &yaml.Node{}
	if err := n.Encode(value); err != nil { // plain values only
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: fmt.Sprint(value)}
	}
	return n
}

// dropFeet forgets comments that follow something: they are left where they stand
// when they are at the end, and read as belonging to what comes next otherwise.
func dropFeet(n *yaml.Node) {
	for i, child := range n.Content {
		if foot := child.FootComment; foot != "" {
			child.FootComment = ""
			if i+1 < len(n.Content) {
				next := n.Content[i+1]
				next.HeadComment = strings.TrimPrefix(next.HeadComment+"\n"+foot, "\n")
			}
		}
		dropFeet(child)
	}
}
