package playbooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// Single is a person's wish to do one action about one alert, such as to resolve it.
type Single struct {
	Action string
	With   map[string]any // the arguments; plain JSON, in which nothing is an expression
	Alert  *soar.StoredAlert
	By     string
	Reason string
}

// ErrBadSingle wraps errors of orders that make no sense.
var ErrBadSingle = errors.New("bad order")

// StartSingle starts a run of one step. It is journalled, guarded and undone like every
// other, so the guard may hold or refuse its call. It waits until Run has begun. Errors
// wrap soar.ErrNotFound when there is no such action, and ErrBadSingle when the order makes
// no sense.
func (e *Engine) StartSingle(ctx context.Context, s Single) (soar.Run, error) {
	if err := e.waitLoaded(ctx); err != nil {
		return soar.Run{}, err
	}
	action, ok := e.actions[s.Action]
	switch {
	case !ok:
		return soar.Run{}, notThere("action", s.Action, sortedNames(e.actions))
	case s.Alert == nil || s.Alert.Key == 0:
		return soar.Run{}, fmt.Errorf("%w: %s without an alert", ErrBadSingle, s.Action)
	case strings.TrimSpace(s.By) == "" || strings.TrimSpace(s.Reason) == "":
		return soar.Run{}, fmt.Errorf("%w: who asks for it says so by name, and why", ErrBadSingle)
	}
	pb, err := e.writeSingle(&s)
	if err != nil {
		return soar.Run{}, err
	}
	now := e.options.Now().UTC()
	change := soar.Change{Acts: []soar.Act{{
		At: now, By: s.By, What: fmt.Sprintf("%s asked for, about alert %s", action.Spec().Name, s.Alert.Alert.Ref()), Reason: s.Reason,
	}}}
	run := e.beginWritten(&change, pb, s.Alert, BeganNote{
		Text: s.Action + " by hand: " + s.Reason, On: onManual, By: s.By, Extra: seenOfPerson(nil),
	})
	if _, err := e.journal.Commit(ctx, change); err != nil {
		return soar.Run{}, fmt.Errorf("%s: %w", s.Action, err)
	}
	e.options.Log.Info("an action was asked for by hand", "run", run.ID.String(), "action", s.Action, "alert", run.Alert, "by", s.By)
	return run, nil
}

// SingleName is the name of the playbook of runs that do a single action.
func SingleName(action string) string { return "by-hand-" + strings.ReplaceAll(action, ".", "-") }

// writeSingle writes the playbook of a single action. The same order has the same text,
// and so the same version.
func (e *Engine) writeSingle(s *Single) (*Playbook, error) {
	name := SingleName(s.Action)
	with := map[string]any{}
	for argument, value := range s.With {
		with[argument] = escaped(value)
	}
	mapping := func(pairs ...any) *yaml.Node {
		n := &yaml.Node{Kind: yaml.MappingNode}
		for i := 0; i < len(pairs); i += 2 {
			n.Content = append(n.Content, valueOf(pairs[i]), valueOf(pairs[i+1]))
		}
		return n
	}
	step := mapping("id", "do", "do", s.Action, "with", with)
	book := mapping("playbook", name, "description", "Written for one action that a person asked for: "+s.Action+".", "on", onManual)
	book.Content = append(book.Content, valueOf("steps"), &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{step}})
	var text bytes.Buffer
	enc := yaml.NewEncoder(&text)
	enc.SetIndent(2)
	if err := enc.Encode(book); err != nil {
		return nil, fmt.Errorf("%w: its arguments cannot be written down: %w", ErrBadSingle, err)
	}
	pb, err := e.write(name, text.Bytes())
	if problems, ok := errors.AsType[registry.Problems](err); ok {
		var words []string
		for _, p := range problems {
			words = append(words, p.Message)
		}
		return nil, fmt.Errorf("%w: %s", ErrBadSingle, strings.Join(words, "; "))
	}
	return pb, err
}
