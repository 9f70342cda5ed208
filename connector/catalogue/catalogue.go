// Package catalogue lists the calls of the server's API: REST v1 and v0 and the
// websockets, one YAML file a section of the REST guide. It is what the client's
// call table, docs/reference/api.md and the command erbridge api are made from.
//
// Sources: REST API guide 4.0.0 (v1), the guide of API v0, and for roles,
// releases and what the guides leave out the public source of the community
// releases 2.1.2, 3.5.1 and 4.0.
package catalogue

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

// Section is a part of the API.
type Section struct {
	Name  string `yaml:"section" json:"section"`
	Title string `yaml:"title" json:"title"`
	Calls []Call `yaml:"calls" json:"calls"`
}

// Call is one documented call.
type Call struct {
	ID      string `yaml:"id" json:"id"`
	Section string `yaml:"-" json:"section"`
	Summary string `yaml:"summary" json:"summary"`
	// Method is an HTTP method, or SOCKET.
	Method string `yaml:"method" json:"method"`
	// Path is below the base; {x} is a part that the caller fills in.
	Path string `yaml:"path" json:"path"`
	Base Base   `yaml:"base" json:"base"`
	// Edition is "enterprise" for what a Community server lacks, else empty.
	Edition string `yaml:"edition" json:"edition,omitempty"`
	// Since and Until are the first and the last release that have the call; no
	// Until means that release 4.0 has it.
	Since string `yaml:"since" json:"since"`
	Until string `yaml:"until" json:"until,omitempty"`
	// Role is "admin" where release 4.0 asks for that role.
	Role string `yaml:"role" json:"role,omitempty"`
	// Open marks calls that need no token.
	Open   bool   `yaml:"open" json:"open,omitempty"`
	Effect Effect `yaml:"effect" json:"effect"`
	// One marks reads of one object, where a refusal means that there is none.
	One bool `yaml:"one" json:"one,omitempty"`
	// Answer is json, csv, file, html, redirect or frames.
	Answer string `yaml:"answer" json:"answer"`
	// Bare marks answers that have no status on success.
	Bare bool `yaml:"bare" json:"bare,omitempty"`
	// Arguments says where arguments outside of the path go: json (a JSON object as
	// the body), query, form or multipart.
	Arguments string  `yaml:"arguments" json:"arguments,omitempty"`
	Params    []Param `yaml:"params" json:"params,omitempty"`
	// Secrets are keys of the answer that hold secrets.
	Secrets []string `yaml:"secrets" json:"secrets,omitempty"`
	// Notes are what a caller must know beyond the shape.
	Notes []string `yaml:"notes" json:"notes,omitempty"`
	// Client are the client's methods for the call, as in Hosts.Page.
	Client []string `yaml:"client" json:"client"`
}

// Base is what a path is below.
type Base string

// The bases.
const (
	V1     Base = "v1"
	V0     Base = "v0"
	Server Base = "server" // the root of the server
)

// Effect is what a call does to the server or its hosts.
type Effect string

// The effects.
const (
	Reads    Effect = "reads"
	Changes  Effect = "changes"
	Destroys Effect = "destroys" // what is gone cannot be brought back
)

// Param is an argument of a call.
type Param struct {
	Name string `yaml:"name" json:"name"`
	// In is "path" for a part of the path, else empty: see Call.Arguments.
	In string `yaml:"in" json:"in,omitempty"`
	// Type is str, int, bool, obj (any JSON object), file, [str] or [int].
	Type     string `yaml:"type" json:"type"`
	Required bool   `yaml:"required" json:"required,omitempty"`
	// Allowed is the set of values, if it is closed.
	Allowed []string `yaml:"allowed" json:"allowed,omitempty"`
	Default any      `yaml:"default" json:"default,omitempty"`
	Help    string   `yaml:"help" json:"help,omitempty"`
}

// Enterprise reports whether a Community server lacks the call.
func (c *Call) Enterprise() bool { return c.Edition == "enterprise" }

// Availability names edition and releases, as in "Enterprise only, since 3.5",
// "2.1.2 to 3.5" or "2.0 alone".
func (c *Call) Availability() string {
	releases := "since " + c.Since
	switch c.Until {
	case "":
	case c.Since:
		releases = c.Since + " alone"
	default:
		releases = c.Since + " to " + c.Until
	}
	if c.Enterprise() {
		return "Enterprise only, " + releases
	}
	return releases
}

// Group is what a call is counted under: v1, v0, websockets, or release 2.x for
// those of v1 that are not in the guide of release 4.0.
func (c *Call) Group() string {
	switch {
	case c.Method == "SOCKET":
		return "websockets"
	case c.Section == "release2":
		return "release 2.x"
	case c.Section == "v0":
		return "v0"
	}
	return "v1"
}

// Param finds an argument by name.
func (c *Call) Param(name string) *Param {
	if i := slices.IndexFunc(c.Params, func(p Param) bool { return p.Name == name }); i >= 0 {
		return &c.Params[i]
	}
	return nil
}

//go:embed *.yaml
var files embed.FS

// order is that of the guide; what the guide of 4.0 does not have stands behind.
var order = []string{
	"general", "authentication", "hosts", "alerts", "carves", "config", "email", "iocs", "management", "packs", "queries", "rules",
	"schema", "tags", "yara", "hunt", "search", "response", "defender", "users", "passwords", "sockets", "release2", "v0",
}

// Sections are all calls, by section, in the order of the guide. The files are
// part of the program, so that a mistake in them is a panic and every test's.
var Sections = sync.OnceValue(func() []Section {
	sections := make([]Section, 0, len(order))
	for _, name := range order {
		s, err := read(name)
		if err != nil {
			panic(fmt.Sprintf("catalogue of the API: %s: %v", name, err))
		}
		sections = append(sections, s)
	}
	return sections
})

var byID = sync.OnceValue(func() map[string]*Call {
	calls := map[string]*Call{}
	for _, s := range Sections() {
		for i := range s.Calls {
			calls[s.Calls[i].ID] = &s.Calls[i]
		}
	}
	return calls
})

// Find returns the call with an id, nil if there is none.
func Find(id string) *Call { return byID()[id] }

func read(name string) (Section, error) {
	text, err := files.ReadFile(name + ".yaml")
	if err != nil {
		return Section{}, err
	}
	s, err := Parse(text)
	if err == nil && s.Name != name {
		err = fmt.Errorf("names itself %q", s.Name)
	}
	return s, err
}

// Parse reads one section, in the form of the files of this package, and checks it.
func Parse(text []byte) (s Section, err error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&s); err != nil {
		return s, err
	}
	var problems []error
	for i := range s.Calls {
		c := &s.Calls[i]
		c.Section = s.Name
		c.Base = cmp.Or(c.Base, V1)
		c.Effect = cmp.Or(c.Effect, Reads)
		c.Answer = cmp.Or(c.Answer, "json")
		if c.Arguments == "" && slices.ContainsFunc(c.Params, func(p Param) bool { return p.In == "" }) {
			c.Arguments = "json"
		}
		if err := c.check(); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", c.ID, err))
		}
	}
	return s, errors.Join(problems...)
}

func (c *Call) check() error {
	var problems []error
	among := func(what, value string, allowed ...string) {
		if !slices.Contains(allowed, value) {
			problems = append(problems, fmt.Errorf("%s %q is none of %s", what, value, strings.Join(allowed, ", ")))
		}
	}
	among("method", c.Method, "GET", "POST", "PUT", "DELETE", "SOCKET")
	among("base", string(c.Base), string(V1), string(V0), string(Server))
	among("edition", c.Edition, "", "enterprise")
	among("role", c.Role, "", "admin")
	among("effect", string(c.Effect), string(Reads), string(Changes), string(Destroys))
	among("answer", c.Answer, "json", "csv", "file", "html", "redirect", "frames")
	among("arguments", c.Arguments, "", "json", "query", "form", "multipart")
	if c.Summary == "" || c.Since == "" || len(c.Client) == 0 || !strings.HasPrefix(c.Path, "/") {
		problems = append(problems, errors.New("summary, since, client or path is missing"))
	}
	parts := 0
	seen := map[string]bool{}
	for _, p := range c.Params {
		among("type of "+p.Name, p.Type, "str", "int", "bool", "obj", "file", "[str]", "[int]")
		among("in of "+p.Name, p.In, "", "path")
		if seen[p.Name] {
			problems = append(problems, fmt.Errorf("argument %s stands twice", p.Name))
		}
		seen[p.Name] = true
		if p.In == "path" {
			parts++
			if !strings.Contains(c.Path, "{"+p.Name+"}") {
				problems = append(problems, fmt.Errorf("%s is not in the path", p.Name))
			}
		}
	}
	if parts != strings.Count(c.Path, "{") {
		problems = append(problems, errors.New("a part of the path is not among the arguments"))
	}
	return errors.Join(problems...)
}
