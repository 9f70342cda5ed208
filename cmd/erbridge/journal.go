package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// maxArguments bounds what a terminal shows of the arguments of one call. What goes
// to a file or a pipe is whole, and so is every error.
const maxArguments = 400

// printJournal prints the journal of a run in words.
func printJournal(w io.Writer, entries []soar.Entry) error {
	limit := 0
	if isTerminal(w) {
		limit = maxArguments
	}
	return printTable(w, entries, []column[soar.Entry]{
		{"at", func(e soar.Entry) string { return e.At.UTC().Format("15:04:05.000") }},
		{"step", func(e soar.Entry) string { return e.Step }},
		{"kind", func(e soar.Entry) string { return string(e.Kind) }},
		{"what", func(e soar.Entry) string { return entryWords(e, limit) }},
	})
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// entryWords says what an entry says. One whose body is not understood, as of a
// later release, is shown as it is.
func entryWords(e soar.Entry, limit int) string {
	words, err := "", error(nil)
	switch e.Kind {
	case soar.EntryIntent:
		words, err = inWords(e.Body, func(i playbooks.Intent) string {
			return phrase(" ", i.Action, arguments(i.With, limit), attempt(i))
		})
	case soar.EntrySent:
		words, err = inWords(e.Body, func(s playbooks.Sent) string {
			found := ""
			if s.Found {
				found = "found by looking it up, after the answer was lost"
			}
			return phrase(", ", "command "+e.Ref, s.Summary, aim(s.Target), found, arguments(s.With, limit))
		})
	case soar.EntryResult:
		words, err = inWords(e.Body, func(r playbooks.Result) string { return resultWords(r, limit) })
	case soar.EntryDecision:
		words, err = inWords(e.Body, decisionWords)
	case soar.EntryNote:
		words, err = inWords(e.Body, func(n note) string { return noteWords(n, limit) })
	}
	if err != nil || words == "" {
		return compact(e.Body)
	}
	return words
}

func inWords[T any](body json.RawMessage, words func(T) string) (string, error) {
	var value T
	if err := json.Unmarshal(body, &value); err != nil {
		return "", err
	}
	return words(value), nil
}

// phrase joins what is not empty.
func phrase(between string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), between)
}

func aim(target string) string {
	if target == "" {
		return ""
	}
	return "target " + target
}

func attempt(i playbooks.Intent) string {
	switch {
	case i.Again:
		return "(again: a look-up showed that it was never received)"
	case i.Attempt > 1:
		return fmt.Sprintf("(attempt %d)", i.Attempt)
	}
	return ""
}

func resultWords(r playbooks.Result, limit int) string {
	detail := ""
	if r.Error != r.Summary {
		detail = r.Summary
	}
	call := ""
	if len(r.With) > 0 {
		call = "the call was to be " + phrase(" ", r.Action, arguments(r.With, limit))
	}
	undo := ""
	if r.Undo != nil {
		undo = "taken back by " + phrase(" ", r.Undo.Do, arguments(r.Undo.With, limit))
		if r.Undo.After > 0 {
			undo += ", by itself after " + registry.FormatDuration(r.Undo.After)
		}
	}
	return phrase("; ", phrase(": ", string(r.State), detail, r.Error), aim(r.Target), call, undo)
}

func decisionWords(d playbooks.Decision) string {
	var parts []string
	for _, a := range d.Answers {
		parts = append(parts, phrase(": ", a.Check, a.Words))
	}
	if d.Cancel {
		return phrase(": ", "cancelled by "+d.By, d.Reason)
	}
	if !d.Due.IsZero() {
		return phrase(": ", fmt.Sprintf("%s says that it is to begin at %s", d.By, stamp(d.Due)), d.Reason)
	}
	if d.By != "" && len(d.Answers) == 0 {
		said := d.By + " says"
		if d.Happened != nil && *d.Happened {
			said += " that it happened"
		} else if d.Happened != nil {
			said += " that it did not happen"
		}
		return phrase("; ", append(parts, phrase(": ", said, d.Reason))...)
	}
	return phrase("; ", append(parts, d.Reason)...)
}

// note has the fields of all kinds of notes.
type note struct {
	playbooks.StepNote
	EnrichErrors map[string]any    `json:"enrich_errors"`
	Calls        map[string]string `json:"calls"`
	Items        []any             `json:"items"`
	Vars         map[string]any    `json:"vars"`
}

func noteWords(n note, limit int) string {
	retry := ""
	if n.Retry > 0 {
		retry = fmt.Sprintf("attempt %d follows", n.Retry)
	}
	lookups := ""
	if len(n.EnrichErrors) > 0 {
		lookups = "look-ups that failed: " + arguments(n.EnrichErrors, 0)
	}
	with := arguments(n.Vars, limit)
	if len(n.Items) > 0 {
		with = arguments(map[string]any{"items": n.Items}, limit)
	}
	calls := ""
	if len(n.Calls) > 0 {
		names := slices.Sorted(maps.Keys(n.Calls))
		for i, name := range names {
			names[i] = name + " (" + short(n.Calls[name], 12) + ")"
		}
		calls = "it may call " + strings.Join(names, ", ")
	}
	return phrase("; ", phrase(": ", n.Text, n.Error), with, retry, lookups, calls)
}

// arguments are key=value pairs in alphabetical order, of at most limit characters
// where limit is not 0.
func arguments(with map[string]any, limit int) string {
	names := make([]string, 0, len(with))
	for name := range with {
		names = append(names, name)
	}
	slices.Sort(names)
	var parts []string
	for _, name := range names {
		parts = append(parts, name+"="+argument(with[name]))
	}
	text := strings.Join(parts, " ")
	if limit > 0 {
		return short(text, limit)
	}
	return text
}

// argument is a value as one word: quoted where it would not read as one.
func argument(value any) string {
	if text, ok := value.(string); ok {
		if text == "" || strings.ContainsAny(text, " \"'=\t\n\r") {
			return strconv.Quote(text)
		}
		return text
	}
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(data)
}

// compact is a journal body on one line.
func compact(body json.RawMessage) string {
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		return string(body)
	}
	data, err := json.Marshal(value)
	if err != nil {
		return string(body)
	}
	return string(data)
}
