package redact

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

// protectedPaths are texts that others find things by: without them a repeat could not be
// told from news, a click would decide nothing, and no receiver could sort anything.
var protectedPaths = []string{
	"id", "to",
	"alert.server", "alert.id", "alert.source", "alert.type", "alert.severity_text", "alert.status", "alert.verdict", "alert.result_id",
	"alert.host.identifier", "alert.host.platform",
	"run.playbook", "outcome.step", "outcome.action", "outcome.target", "outcome.command",
	"approval.id", "approval.step", "approval.playbook", "approval.action", "approval.call", "approval.alert", "approval.requester", "approval.from",
	"approval.votes.by",
	"undo.step", "undo.action", "undo.do", "undo.target", "group.head",
	"row.server", "row.query", "row.action", "row.host.identifier", "row.host.platform",
}

func protected(path []string) bool { return slices.Contains(protectedPaths, strings.Join(path, ".")) }

type structField struct {
	index int
	name  string // in JSON
}

var structFields sync.Map // of reflect.Type to []structField

// fieldsOf are the fields of a struct that JSON shows; nil for a time.
func fieldsOf(t reflect.Type) []structField {
	if t == reflect.TypeFor[time.Time]() {
		return nil
	}
	if known, ok := structFields.Load(t); ok {
		return known.([]structField)
	}
	fields := []structField{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		fields = append(fields, structField{i, name})
	}
	structFields.Store(t, fields)
	return fields
}

// checkPath reports whether events have a path, as far as their type tells.
func checkPath(t reflect.Type, path, done []string) error {
	if t == reflect.TypeFor[json.RawMessage]() {
		return nil
	}
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if len(path) == 0 {
		return checkEnd(t, done)
	}
	if path[0] == "" {
		return errors.New("a name is empty; write a path such as alert.event.cmdline")
	}
	switch t.Kind() {
	case reflect.Interface:
		return nil
	case reflect.Map:
		return checkPath(t.Elem(), path[1:], append(done, path[0]))
	case reflect.Struct:
		var names []string
		for _, f := range fieldsOf(t) {
			if f.name == path[0] {
				return checkPath(t.Field(f.index).Type, path[1:], append(done, f.name))
			}
			names = append(names, f.name)
		}
		if path[0] == "*" && len(path) == 1 {
			return nil // the protected ones among them stay
		}
		if len(names) > 0 {
			return fmt.Errorf("%s has no %s; there are %s", within(done), path[0], strings.Join(names, ", "))
		}
	}
	return fmt.Errorf("%s has nothing in it", within(done))
}

func checkEnd(t reflect.Type, path []string) error {
	switch {
	case protected(path):
		return fmt.Errorf("%s cannot be taken out: others find things by it", within(path))
	case t.Kind() == reflect.String && t != reflect.TypeFor[string](), t == reflect.TypeFor[time.Time](), t.Kind() == reflect.Int, t.Kind() == reflect.Int64, t.Kind() == reflect.Bool:
		return fmt.Errorf("%s is no text", within(path))
	}
	return nil
}

func within(path []string) string {
	if len(path) == 0 {
		return "an event"
	}
	return strings.Join(path, ".")
}
