package actions

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"unicode"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/scripts"
	"github.com/erbridge/erbridge/playbooks"
)

// ScriptSource says what script.run and live.response run: a reviewed script with its
// arguments, or a text that stands in the playbook.
type ScriptSource struct {
	// Script is the name of a reviewed script, from the folder actions.scripts_dir. It
	// stands in the playbook as it is, and excludes content, kind and params.
	Script string `yaml:"script"`

	// Arguments are what the reviewed script is told, by name: values of an alert, too,
	// as far as the script says that it takes them. They reach it as literals of its
	// language, in variables named arg_NAME.
	Arguments map[string]any `yaml:"arguments"`

	// SHA256 is the hash that the reviewed script must have, as 64 hex digits. Without
	// it, a change of the script that was reviewed changes what the playbook does. A call
	// that people have agreed to keeps the hash that the script had when they were asked.
	SHA256 string `yaml:"sha256"`

	// Content is the text of a script that is not kept in the folder. It stands in the
	// playbook as it is: values of an alert go into the arguments of a reviewed script,
	// because no quoting is right for every shell.
	Content string `yaml:"content"`

	// Kind is the language of content.
	Kind string `yaml:"kind" enum:"bat,powershell,shell"`

	// Params are the parameters that content is started with, as one text. How the agent
	// splits it, and whether a shell reads it, is not documented, so a value that an
	// attacker may have chosen does not belong here.
	Params string `yaml:"params"`
}

// maxScriptBytes is what the server's own console takes.
const maxScriptBytes = 2 << 20

var scriptHash = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

func (s *ScriptSource) check(d *Deps, a *arguments) {
	switch {
	case a.given("script") && a.given("content"):
		a.refuse("content", "", "excludes script")
	case a.given("script"):
		for _, key := range []string{"kind", "params"} {
			if a.given(key) {
				a.refuse(key, "", "is for content; a reviewed script has a language and arguments of its own")
			}
		}
		s.checkReviewed(d, a)
	case a.given("content"):
		for _, key := range []string{"arguments", "sha256"} {
			if a.given(key) {
				a.refuse(key, "", "is for a reviewed script; content takes params")
			}
		}
		s.checkContent(a)
	default:
		a.refuse("", "", "expected script, or content and kind")
	}
}

func (s *ScriptSource) checkContent(a *arguments) {
	if !a.known("content") {
		a.refuse("content", "keep the script in actions.scripts_dir, and hand the value over in arguments", "a script must not be put together from values of an alert")
	} else if strings.TrimSpace(s.Content) == "" {
		a.refuse("content", "", "is empty")
	}
	if len(s.Content) > maxScriptBytes {
		a.refuse("content", "", "has %d bytes, the limit is %d", len(s.Content), maxScriptBytes)
	}
	if a.known("params") && strings.ContainsFunc(s.Params, unicode.IsControl) {
		a.refuse("params", "", "holds a control character or a line end, which may begin another command")
	}
	if a.known("kind") && s.Kind == "" && !a.wrong("kind") {
		a.refuse("", "say in which language content is", "argument %q is required", "kind")
	}
}

func (s *ScriptSource) checkReviewed(d *Deps, a *arguments) {
	if !a.known("script") {
		a.refuse("script", "write the name of one script", "which script runs must not come from values of an alert")
		return
	}
	if a.known("sha256") && s.SHA256 != "" && !scriptHash.MatchString(s.SHA256) {
		a.refuse("sha256", "", "expected 64 hex digits, found %.80q", s.SHA256)
	}
	if d.Scripts == nil || a.evaluated { // what becomes of a call that was sent, the script of today does not tell
		return
	}
	script, err := d.Scripts.Get(s.Script)
	if err != nil {
		a.refuse("script", "", "%v", err)
		return
	}
	if a.known("sha256") && !s.agrees(script) {
		a.refuse("sha256", "review the script and write down its hash", "the script %s has the hash %s", s.Script, script.SHA256)
	}
	if values, computed, known := a.items("arguments"); known {
		for _, m := range script.Check(values, computed) {
			a.refuse("arguments", "", "%v", m)
		}
	}
}

// agrees reports whether a script has the hash that it must have.
func (s *ScriptSource) agrees(script *scripts.Script) bool {
	return s.SHA256 == "" || strings.EqualFold(s.SHA256, script.SHA256)
}

// pinScript writes down which text of a reviewed script is meant.
func pinScript(d *Deps, with map[string]any) map[string]any {
	name, _ := with["script"].(string)
	if _, given := with["sha256"]; given || name == "" {
		return with
	}
	script, err := d.reviewed(name)
	if err != nil { // the call will tell
		return with
	}
	with = maps.Clone(with)
	with["sha256"] = script.SHA256
	return with
}

// readyFor looks whether the host is of the kind that a reviewed script is for.
func (s *ScriptSource) readyFor(ctx context.Context, d *Deps, call playbooks.Call, host Host) error {
	if s.Script == "" {
		return nil
	}
	script, _, err := s.assembled(d)
	if err != nil || script.Platform == "any" {
		return err
	}
	record, err := d.meantHost(ctx, call, host)
	if err != nil {
		return err
	}
	platform := connector.NormalizeHost(record).Platform
	family := platform
	if platform != "windows" && platform != "darwin" {
		family = "linux"
	}
	if family != script.Platform {
		return fmt.Errorf("the script %s is for %s, and %s runs %s", s.Script, script.Platform, hostName(call, host), platform)
	}
	return nil
}

// reviewed finds a reviewed script.
func (d *Deps) reviewed(name string) (*scripts.Script, error) {
	if d.Scripts == nil {
		return nil, scripts.ErrNoFolder
	}
	return d.Scripts.Get(name)
}

// assembled is the reviewed script that is meant, and its text with the arguments. One
// that is not what it was when the call was planned is refused.
func (s *ScriptSource) assembled(d *Deps) (script *scripts.Script, text string, err error) {
	if script, err = d.reviewed(s.Script); err != nil {
		return nil, "", err
	}
	if !s.agrees(script) {
		return nil, "", fmt.Errorf("sha256: the script %s has the hash %s now and not %s, and is not run: review it, and begin anew", s.Script, script.SHA256, s.SHA256)
	}
	if text, err = script.Text(s.Arguments); err != nil {
		return nil, "", fmt.Errorf("arguments: %w", err)
	}
	return script, text, nil
}

// whole is what goes to the host, under a name by which a call whose answer was lost is
// found.
func (s *ScriptSource) whole(d *Deps, mark string) (connector.Script, error) {
	out := connector.Script{Content: s.Content, Params: s.Params, Name: scriptName(mark)}
	kind := s.Kind
	if s.Script != "" {
		script, text, err := s.assembled(d)
		if err != nil {
			return out, err
		}
		out.Content, kind = text, string(script.Kind)
	}
	out.Kind = map[string]connector.ScriptKind{"bat": connector.ScriptBat, "powershell": connector.ScriptPowerShell, "shell": connector.ScriptShell}[kind]
	return out, nil
}

// scriptName carries the mark of a call.
func scriptName(mark string) string { return "erbridge-" + plainName(mark) }

// words are what people call the script.
func (s *ScriptSource) words() string {
	if s.Script != "" {
		return "the script " + s.Script
	}
	return "a " + s.Kind + " script"
}
