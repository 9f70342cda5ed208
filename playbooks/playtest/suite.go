package playtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks"
)

// Place is a folder with playbooks and their tests.
type Place struct {
	// FS is the folder. It may be left out when Dir is set.
	FS fs.FS
	// Dir is the folder on the disk; without it, nothing can be rewritten.
	Dir string
	// Shown stands before the names of files in messages.
	Shown string
	// Names are the playbooks and test files to take; empty takes all there are.
	Names []string
}

func (p *Place) read(name string) ([]byte, error) {
	if p.Dir != "" {
		return os.ReadFile(filepath.Join(p.Dir, filepath.FromSlash(name)))
	}
	return fs.ReadFile(p.FS, path.Clean(name))
}

func (p *Place) shown(name string) string {
	if p.Dir != "" {
		return filepath.Join(p.Dir, filepath.FromSlash(name))
	}
	return path.Join(p.Shown, name)
}

// key is a name for a file that no other file has.
func (p *Place) key(name string) string {
	if p.Dir == "" {
		return "shipped " + p.shown(name)
	}
	if whole, err := filepath.Abs(p.shown(name)); err == nil {
		return whole
	}
	return p.shown(name)
}

func (p *Place) fs() fs.FS {
	if p.Dir != "" {
		return os.DirFS(p.Dir)
	}
	return p.FS
}

// folder is that of a file, where the lists of a playbook are.
func (p *Place) folder(name string) fs.FS {
	if p.Dir != "" {
		return os.DirFS(filepath.Dir(p.shown(name)))
	}
	folder, err := fs.Sub(p.FS, path.Dir(path.Clean(name)))
	if err != nil {
		return nil // of a name that cannot be read either
	}
	return folder
}

// names lists the test files of the place, and the playbooks that have none.
func (p *Place) names() (tests, untested []string, err error) {
	all := p.Names
	if len(all) == 0 {
		if all, err = p.all(); err != nil {
			return nil, nil, err
		}
	}
	for _, name := range all {
		if isTest(name) {
			tests = append(tests, name)
			continue
		}
		test := TestName(name)
		switch _, err := p.read(test); {
		case err == nil:
			tests = append(tests, test)
		case errors.Is(err, fs.ErrNotExist):
			untested = append(untested, name)
		default:
			return nil, nil, fmt.Errorf("playbook tests: %w", err)
		}
	}
	slices.Sort(tests)
	return slices.Compact(tests), untested, nil
}

// discovery are the files of several places, each of them once.
type discovery struct{ tests, untested []discovered }

type discovered struct {
	place *Place
	name  string // below the place
}

func find(places []Place) (d discovery, err error) {
	seen := map[string]bool{}
	taken := func(p *Place, names []string) (fresh []discovered) {
		for _, name := range names {
			if key := p.key(name); !seen[key] {
				seen[key] = true
				fresh = append(fresh, discovered{p, name})
			}
		}
		return fresh
	}
	for i := range places {
		p := &places[i]
		tests, untested, err := p.names()
		if err != nil {
			return d, err
		}
		d.tests, d.untested = append(d.tests, taken(p, tests)...), append(d.untested, taken(p, untested)...)
	}
	return d, nil
}

// fixtureAt is where a test names a file, by its key, as an alert; nil when none does.
func fixtureAt(suites []*suite, key string) *registry.Position {
	for _, s := range suites {
		if s == nil {
			continue // it has mistakes
		}
		for _, f := range s.doc.fixtures() {
			if f.Path != "" && s.place.key(path.Join(path.Dir(s.name), f.Path)) == key {
				return &f.At
			}
		}
	}
	return nil
}

// all lists the YAML files of the place.
func (p *Place) all() (all []string, err error) {
	err = fs.WalkDir(p.fs(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(entry.Name(), ".") && name != "."
		switch {
		case entry.IsDir() && hidden:
			return fs.SkipDir
		case !entry.IsDir() && !hidden && isYAML(name):
			all = append(all, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("playbook tests: %w", err)
	}
	return all, nil
}

func isYAML(name string) bool {
	return strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

func isTest(name string) bool {
	return strings.HasSuffix(strings.TrimSuffix(strings.TrimSuffix(name, ".yaml"), ".yml"), "_test")
}

// TestName is the test file of a playbook's file.
func TestName(playbook string) string {
	ext := path.Ext(playbook)
	return strings.TrimSuffix(playbook, ext) + "_test" + ext
}

// suite is a test file and the playbook that it is about.
type suite struct {
	place *Place
	name  string // of the test file, below the place
	doc   *document
	file  string // of the playbook, as it is shown
	key   string // of the playbook's file
	data  []byte // of the playbook
	pb    *playbooks.Playbook
	calls []source // the playbooks that it calls, and those that they call
	plays []*play
}

// source is a playbook as it was read.
type source struct {
	file   string // as it is shown
	data   []byte
	folder fs.FS // of the file; nil: data is the Source of a playbook, with its lists
}

// parse reads the playbook, and those that it calls, for expressions that tell the
// time by now.
func (s *suite) parse(actions map[string]playbooks.Action, now func() time.Time) (*playbooks.Playbook, registry.Problems) {
	pb, problems := playbooks.ParseWithClock(s.file, s.pb.Source, actions, now)
	if problems != nil {
		return nil, problems
	}
	loaded := []*playbooks.Playbook{pb}
	for _, called := range s.calls {
		other, more := playbooks.ParseWithClock(called.file, called.data, actions, now)
		if problems = append(problems, more...); other != nil {
			loaded = append(loaded, other)
		}
	}
	if problems == nil {
		problems = playbooks.Link(loaded)
	}
	return pb, problems
}

// catalogue finds playbooks by name, for those that call them.
type catalogue struct {
	places []Place
	byName map[string]source // nil: not read yet
}

func (c *catalogue) read() error {
	if c.byName != nil {
		return nil
	}
	c.byName = map[string]source{}
	for i := range c.places {
		p := &c.places[i]
		names, err := p.all()
		if err != nil {
			return err
		}
		for _, name := range names {
			if isTest(name) {
				continue
			}
			data, err := p.read(name)
			if err != nil {
				return fmt.Errorf("playbook %w", err)
			}
			root, problems := registry.Parse(name, data)
			if problems != nil {
				continue // it is told when somebody needs it
			}
			if n := under(root, "playbook"); n != nil && c.byName[n.Value].file == "" {
				c.byName[n.Value] = source{p.shown(name), data, p.folder(name)}
			}
		}
	}
	return nil
}

// reached lists the playbooks that one calls, whatever the way.
func (c *catalogue) reached(pb *playbooks.Playbook, actions map[string]playbooks.Action) (found []source, problems registry.Problems, err error) {
	seen := map[string]bool{pb.Name: true}
	for todo := []*playbooks.Playbook{pb}; len(todo) > 0; todo = todo[1:] {
		for _, step := range todo[0].Steps() {
			if step.Call == "" || seen[step.Call] {
				continue
			}
			seen[step.Call] = true
			if err := c.read(); err != nil {
				return nil, nil, err
			}
			called, ok := c.byName[step.Call]
			if !ok {
				continue // Link tells
			}
			other, more := playbooks.ParseIn(called.folder, called.file, called.data, actions)
			if problems = append(problems, more...); other != nil {
				found = append(found, source{file: called.file, data: other.Source})
				todo = append(todo, other)
			}
		}
	}
	return found, problems, nil
}

// play is what a test plays.
type play struct {
	*suite
	index  int
	before []arrival // in the order of their times
	main   arrival
	after  []arrival // in the order of their times
}

func (p *play) test() *Case { return &p.doc.Tests[p.index] }

// open reads a test file, its playbook and its alerts.
func (p *Place) open(name string, actions map[string]playbooks.Action, others *catalogue) (*suite, registry.Problems) {
	shown := p.shown(name)
	data, err := p.read(name)
	if err != nil {
		return nil, registry.Problems{{Position: registry.Position{File: shown, Line: 1, Column: 1}, Code: "unreadable", Message: err.Error()}}
	}
	doc, problems := parse(shown, data)
	if problems != nil {
		return nil, problems
	}
	s := &suite{place: p, name: name, doc: doc}
	file, at := doc.Playbook, doc.at("playbook")
	if file == "" {
		ext := path.Ext(name)
		file, at = strings.TrimSuffix(path.Base(name), "_test"+ext)+ext, registry.Position{File: shown, Line: 1, Column: 1}
	}
	file = path.Join(path.Dir(name), file)
	if s.data, err = p.read(file); err != nil {
		return nil, registry.Problems{{Position: at, Code: "playbook", Message: fmt.Sprintf("the playbook of the test: %v", err)}}
	}
	s.file, s.key = p.shown(file), p.key(file)
	if s.pb, problems = playbooks.ParseIn(p.folder(file), s.file, s.data, actions); problems != nil {
		return nil, problems
	}
	if s.calls, problems, err = others.reached(s.pb, actions); err != nil {
		problems.Addf(at, "unreadable", "", "the playbooks that it calls: %v", err)
	}
	if problems == nil {
		s.pb, problems = s.parse(actions, time.Now)
	}
	if problems != nil {
		return nil, problems
	}
	problems = append(problems, s.refer(actions)...)
	for i := range doc.Tests {
		one, more := s.play(i)
		problems, s.plays = append(problems, more...), append(s.plays, one)
	}
	return s, problems
}

// refer looks whether what the tests name is there.
func (s *suite) refer(actions map[string]playbooks.Action) (problems registry.Problems) {
	var ids []string
	for _, step := range s.pb.Steps() {
		ids = append(ids, step.ID)
	}
	unknown := func(id string, what string, among []string, path ...any) {
		name := id
		if what == "step" { // those of other playbooks are looked at in their tests
			name, _, _ = strings.Cut(withoutItems(id), "/")
		}
		if id != "" && !slices.Contains(among, name) {
			problems = append(problems, registry.Unknown(s.doc.at(path...), what, id, among))
		}
	}
	known := sortedKeys(actions)
	given := func(list []Given, path ...any) {
		for i, g := range list {
			unknown(g.Do, "action", known, append(path[:len(path):len(path)], i, "do")...)
			if action := actions[g.Do]; action != nil && action.Spec().Inside && len(path) > 1 { // in a test of its own, it would have to be asked for
				problems.Addf(s.doc.at(append(path[:len(path):len(path)], i, "do")...), "inside", "leave it out", "%s is carried out in tests, and takes no answer", g.Do)
			}
			unknown(g.Step, "step", ids, append(path[:len(path):len(path)], i, "step")...)
		}
	}
	given(s.doc.Given, "given")
	conditions := conditionNames(s.data)
	for i, c := range s.doc.Tests {
		given(c.Given, "tests", i, "given")
		if c.Expect.Verdict == "no match" || c.Expect.Verdict == "error" {
			unknown(c.Expect.Reason, "condition", conditions, "tests", i, "expect", "reason")
		}
		for id := range c.Expect.Steps {
			unknown(id, "step", ids, "tests", i, "expect", "steps", id)
		}
		if c.Expect.Actions == nil {
			continue
		}
		for j, a := range *c.Expect.Actions {
			unknown(a.Do, "action", known, "tests", i, "expect", "actions", j, "do")
			unknown(a.Step, "step", ids, "tests", i, "expect", "actions", j, "step")
		}
	}
	return problems
}
