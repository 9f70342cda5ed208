// Package scripts keeps the reviewed scripts: a folder with a file NAME.yaml for each,
// which says what the script is for, what hash its text has, and which arguments it
// takes. Values reach a script as literals of its language in front of its text, never
// by pasting them into it.
package scripts

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/erbridge/erbridge/internal/registry"
)

const (
	maxScripts = 1000
	// maxTextBytes bounds the text of a script; with its arguments it stays below what
	// the server takes.
	maxTextBytes = 1 << 20
)

// Script is a reviewed script. It does not change once it is loaded.
type Script struct {
	// Name is that of its file, without .yaml.
	Name string `yaml:"-"`

	// Description says what the script does, for people.
	Description string `yaml:"description" required:"true"`

	// Platform is that of the hosts it is for.
	Platform string `yaml:"platform" required:"true" enum:"any,windows,linux,darwin"`

	// Kind is its language.
	Kind Kind `yaml:"kind" required:"true" enum:"bat,powershell,shell"`

	// File is the file with its text, in the same folder.
	File string `yaml:"file" required:"true"`

	// SHA256 is the hash of that file, as 64 hex digits: what was reviewed.
	SHA256 string `yaml:"sha256" required:"true"`

	// Arguments are what the script is told, by name.
	Arguments map[string]Argument `yaml:"arguments"`

	text string
}

// Set is what a folder holds. The zero value holds nothing. It is safe for concurrent
// use.
type Set struct {
	dir     string
	scripts map[string]*Script
	broken  map[string]error
}

var (
	scriptNames   = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
	argumentNames = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
)

// Load reads the scripts of a folder; an empty name is a folder without any. Those that
// cannot be used are among the problems, and Get says so of them.
func Load(dir string) (*Set, registry.Problems) {
	s := &Set{dir: dir, scripts: map[string]*Script{}, broken: map[string]error{}}
	if dir == "" {
		return s, nil
	}
	var problems registry.Problems
	root, err := os.OpenRoot(dir)
	if err != nil {
		problems.Addf(registry.Position{File: dir, Line: 1, Column: 1}, "scripts", "make the folder, or take it out of the configuration", "cannot read the folder of scripts: %v", err)
		return s, problems
	}
	defer func() { _ = root.Close() }()
	files, err := fs.Glob(root.FS(), "*.yaml")
	if err == nil && len(files) > maxScripts {
		err = fmt.Errorf("more than %d scripts", maxScripts)
	}
	if err != nil {
		problems.Addf(registry.Position{File: dir, Line: 1, Column: 1}, "scripts", "", "cannot read the folder of scripts: %v", err)
		return s, problems
	}
	for _, file := range files {
		name := strings.TrimSuffix(file, ".yaml")
		script, more := read(root, dir, name)
		if len(more) > 0 {
			s.broken[name] = more.Err()
			problems = append(problems, more...)
			continue
		}
		s.scripts[name] = script
	}
	return s, problems
}

// ErrNoFolder says that no scripts are configured at all.
var ErrNoFolder = errors.New("no folder of reviewed scripts is configured (actions.scripts_dir)")

// Get finds a script by name, or says why it cannot be used.
func (s *Set) Get(name string) (*Script, error) {
	if script, ok := s.scripts[name]; ok {
		return script, nil
	}
	if err := s.broken[name]; err != nil {
		return nil, fmt.Errorf("the reviewed script %q cannot be used: %w", name, err)
	}
	if s.dir == "" {
		return nil, ErrNoFolder
	}
	names := s.Names()
	if near := registry.Nearest(name, names); near != "" {
		return nil, fmt.Errorf("there is no reviewed script %q; did you mean %q?", name, near)
	}
	return nil, fmt.Errorf("there is no reviewed script %q among the %d in %s", name, len(names), s.dir)
}

// Names are those of all scripts that can be used.
func (s *Set) Names() []string {
	names := make([]string, 0, len(s.scripts))
	for name := range s.scripts {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// read reads one script and its text.
func read(root *os.Root, dir, name string) (*Script, registry.Problems) {
	file := filepath.Join(dir, name+".yaml")
	start := registry.Position{File: file, Line: 1, Column: 1}
	var problems registry.Problems
	data, err := root.ReadFile(name + ".yaml")
	if err != nil {
		problems.Addf(start, "scripts", "", "%v", err)
		return nil, problems
	}
	node, problems := registry.Parse(file, data)
	if node == nil {
		return nil, problems
	}
	s := &Script{Name: name}
	if problems = registry.Decode(file, node, s); len(problems) > 0 {
		return nil, problems
	}
	if !scriptNames.MatchString(name) {
		problems.Addf(start, "scripts", "use lower-case letters, digits, - and _", "%q is no name of a script", name)
	}
	for argument, a := range s.Arguments {
		if !argumentNames.MatchString(argument) {
			problems.Addf(start, "scripts", "use lower-case letters, digits and _", "%q is no name of an argument", argument)
		}
		if err := a.sound(); err != nil {
			problems.Addf(start, "scripts", "", "argument %s: %v", argument, err)
		}
	}
	if err := s.readText(root); err != nil {
		problems.Addf(start, "scripts", "", "%v", err)
	}
	return s, problems
}

// readText reads the text and compares it with what was reviewed.
func (s *Script) readText(root *os.Root) error {
	if s.File != filepath.Base(s.File) || strings.ContainsAny(s.File, `/\`) {
		return fmt.Errorf("file %q: name a file in the same folder", s.File)
	}
	info, err := root.Stat(s.File)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > maxTextBytes {
		return fmt.Errorf("file %q: expected a file of at most %d bytes", s.File, maxTextBytes)
	}
	data, err := root.ReadFile(s.File)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	if got := hex.EncodeToString(sum[:]); !strings.EqualFold(got, s.SHA256) {
		return fmt.Errorf("file %q has the hash %s and not %.64q: review it, and write down its hash when it is good", s.File, got, s.SHA256)
	}
	s.SHA256, s.text = strings.ToLower(s.SHA256), string(data)
	// Hosts read other characters by the code page of their language, in which a byte of
	// one may be a quote.
	if i := strings.IndexFunc(s.text, func(r rune) bool { return r >= utf8.RuneSelf || r == 0 }); i >= 0 {
		return fmt.Errorf("file %q, line %d: holds a character outside ASCII, which hosts read in different ways", s.File, 1+strings.Count(s.text[:i], "\n"))
	}
	switch {
	case strings.TrimSpace(s.text) == "":
		return fmt.Errorf("file %q is empty", s.File)
	case s.Kind == PowerShell && len(s.Arguments) > 0 && startsFirst(s.text):
		return fmt.Errorf("file %q begins with param, using or [CmdletBinding()], which nothing may stand before; arguments come as variables such as $arg_path", s.File)
	}
	return nil
}

var firstStatement = regexp.MustCompile(`(?i)^(param\s*\(|using\s+(namespace|module|assembly)\s|\[CmdletBinding\s*\()`)

// startsFirst reports whether a PowerShell script begins with what must come first in
// it, but for comments.
func startsFirst(text string) bool {
	for {
		text = strings.TrimSpace(text)
		var end string
		switch {
		case strings.HasPrefix(text, "<#"):
			end = "#>"
		case strings.HasPrefix(text, "#"):
			end = "\n"
		default:
			return firstStatement.MatchString(text)
		}
		_, rest, found := strings.Cut(text, end)
		if !found {
			return false
		}
		text = rest
	}
}
