// Package lint judges playbooks beyond what the engine refuses. It reports all
// that the loader says, under stable codes and with better places, and adds what
// loads and is a mistake all the same: steps that are never reached, actions on
// endpoints without a scope, secrets in plain text, playbooks in each other's way.
//
// Every code is explained in Rules, from which erbridge docs CODE and the
// reference page are made.
package lint

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/itchyny/gojq"
	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks"
)

// Level says how much a finding counts.
type Level string

// The levels. With an Error, lint fails; the engine refuses only some of these. A
// Warning is worth a look and no more.
const (
	Error   Level = "error"
	Warning Level = "warning"
)

// File is a playbook to check, under the name that findings show.
type File struct {
	Name string
	Data []byte
	// Folder is where the file lies, and the files of its lists; nil when it lies nowhere.
	Folder fs.FS
	// Err is why there is no Data.
	Err error
}

// Finding is one thing that lint has to say about a place in a file.
type Finding struct {
	registry.Position
	Code    string `json:"code"`
	Level   Level  `json:"level"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
	// Source is the line of the file, without its end.
	Source string `json:"-"`
	// Fixable is set when Fix puts it right.
	Fixable bool `json:"fixable,omitempty"`

	edits  []edit
	engine bool // the loader refuses the playbook for it
}

// String is the finding on one line: file:line:column CODE message.
func (f Finding) String() string { return f.Position.String() + " " + f.Code + " " + f.Message }

// Run checks files as one set: what one playbook does is judged with the others
// in mind. known are files that they may call and that nothing is said about.
// Findings come out by file, line and column.
func Run(files, known []File, actions map[string]playbooks.Action) []Finding {
	books := readAll(files, actions)
	all := &set{books: books}
	all.link(known, actions)
	for _, rule := range setRules {
		rule(all)
	}
	var findings []Finding
	for _, b := range books {
		b.suppress()
		findings = append(findings, b.found...)
	}
	for i := range findings {
		findings[i].Fixable = len(findings[i].edits) > 0
	}
	hideSecrets(findings)
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Code, b.Code))
	})
	return slices.CompactFunc(findings, func(a, b Finding) bool {
		return a.Position == b.Position && a.Code == b.Code && a.Message == b.Message
	})
}

// readAll reads files and looks at each by itself, on all processors.
func readAll(files []File, actions map[string]playbooks.Action) []*book {
	books := make([]*book, len(files))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(files)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(files)); i = next.Add(1) - 1 {
				b := read(files[i], actions)
				for _, rule := range bookRules {
					if b.root != nil {
						rule(b)
					}
				}
				books[i] = b
			}
		})
	}
	workers.Wait()
	return books
}

// hideSecrets cuts lines off where a secret begins: what lint prints is kept by CI
// servers and read by more people than the file.
func hideSecrets(findings []Finding) {
	type line struct {
		file string
		n    int
	}
	secret := map[line]int{}
	for _, f := range findings {
		at := line{f.File, f.Line}
		if f.Code == "PB504" && (secret[at] == 0 || f.Column < secret[at]) {
			secret[at] = f.Column
		}
	}
	for i, f := range findings {
		if column := secret[line{f.File, f.Line}]; column > 0 {
			runes := []rune(f.Source)
			findings[i].Source = string(runes[:min(column-1, len(runes))]) + "[redacted]"
		}
	}
}

// bookRules look at one playbook whose YAML can be read, whether it loads or not.
var bookRules = []func(*book){expressions, slipped, comparisons, outputs, computed, reachability, kills, approvals, waits, secrets, unusedLists, networksInLists, constants}

// setRules look at all playbooks together.
var setRules = []func(*set){repeatedNames, scopes, releases, overlaps}

// Failed reports whether a finding among them counts as an error.
func Failed(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Level == Error })
}

// Collect reads the playbooks below a folder of a file system: the files that the
// engine would take from there. shown makes the names that findings show. A file or
// folder that cannot be read is among them, with the reason.
func Collect(fsys fs.FS, root string, shown func(string) string) ([]File, error) {
	var files []File
	err := playbooks.EachFile(fsys, root, func(name string, data []byte, err error) {
		folder, _ := fs.Sub(fsys, path.Dir(name)) // no file has a name that it refuses
		files = append(files, File{Name: shown(name), Data: data, Folder: folder, Err: err})
	})
	return files, err
}

// book is a playbook file as lint sees it: YAML nodes, the engine's playbook when
// there is one, and the text around them.
type book struct {
	file    string
	text    *text
	actions map[string]playbooks.Action
	root    *yaml.Node          // nil when the YAML cannot be read
	loaded  *playbooks.Playbook // nil when the engine refuses it
	steps   []*step             // all of them, in the order of the file
	found   []Finding

	entries map[[2]int]entry      // see readPlaces
	scalars map[[2]int]*yaml.Node // see readPlaces
	places  func(n *yaml.Node, offset int) registry.Position
	blocks  map[int][2]int         // see blockAfter
	below   int                    // the line that the last comment is about
	jq      []expression           // see expressions
	queries map[string]*gojq.Query // see query
}

func read(f File, actions map[string]playbooks.Action) *book {
	b := &book{
		file: f.Name, text: newText(f.Data), actions: actions, places: playbooks.Places(f.Name, f.Data),
		blocks: map[int][2]int{}, queries: map[string]*gojq.Query{},
	}
	if f.Err != nil {
		var problems registry.Problems
		problems.Addf(registry.Position{File: f.Name, Line: 1, Column: 1}, "unreadable", "", "%v", f.Err)
		b.problem(problems[0])
		return b
	}
	if b.unreadable() {
		return b
	}
	b.root, _ = registry.Parse(f.Name, f.Data)
	b.readSteps()
	var problems registry.Problems
	b.loaded, problems = playbooks.ParseIn(f.Folder, f.Name, f.Data, actions)
	for _, p := range problems[:min(len(problems), maxFindings+1)] {
		b.problem(p)
	}
	b.found = slices.DeleteFunc(b.found, b.follows)
	return b
}

// follows reports whether a finding says no more than another at the same place: a
// value of a wrong type, or none, is out of range too.
func (b *book) follows(f Finding) bool {
	return f.Code == "PB207" && slices.ContainsFunc(b.found, func(other Finding) bool {
		return other.Position == f.Position && (other.Code == "PB202" || other.Code == "PB203")
	})
}

// maxFindings bounds what is said of one file: nobody reads more.
const maxFindings = 1000

// add reports a finding of a rule at a node.
func (b *book) add(n *yaml.Node, code, message, hint string, edits ...edit) {
	b.addAt(registry.At(b.file, n), code, message, hint, edits...)
}

func (b *book) addAt(at registry.Position, code, message, hint string, edits ...edit) {
	switch {
	case len(b.found) == maxFindings:
		at = registry.Position{File: b.file, Line: 1, Column: 1}
		code, message, hint, edits = "PB208", fmt.Sprintf("more than %d findings; the others are left out", maxFindings), "", nil
	case len(b.found) > maxFindings:
		return
	}
	rule, _ := Lookup(code)
	b.found = append(b.found, Finding{
		Position: at, Code: code, Level: rule.Level, Message: message, Hint: hint, Source: b.text.line(at.Line), edits: edits,
	})
}

// problem takes over what the loader says.
func (b *book) problem(p registry.Problem) {
	at := p.Position
	if p.Code == "unknown-argument" {
		if _, key := b.keyAt(at); key != nil {
			at = registry.At(b.file, key)
		}
	}
	b.addAt(at, b.codeOf(p), p.Message, p.Hint, b.mechanical(p)...)
	b.found[len(b.found)-1].engine = true
}

// codeOf finds the code for a problem of the loader.
func (b *book) codeOf(p registry.Problem) string {
	if p.Code == "unknown-step" && b.hasStep(b.text.word(p.Position)) {
		return "PB306"
	}
	for _, rule := range rules {
		if slices.Contains(rule.words, p.Code) {
			return rule.Code
		}
	}
	return "PB200"
}
