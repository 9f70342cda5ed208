package playbooks

import (
	"maps"
	"slices"

	"github.com/erbridge/erbridge/internal/registry"
)

// Schema is the JSON Schema of a playbook, made from the types that the loader
// decodes into, and from those of the arguments of actions. It refuses nothing that loads,
// but for an argument that its action would refuse as soon as the expressions in it
// are computed. What it cannot say, such as that a step refers to a later one, only the
// loader and lint do. docs may be nil.
func Schema(docs registry.DocFunc, actions map[string]Action) map[string]any {
	schema := registry.Schema(new(document), docs)
	schema["title"] = "erbridge playbook"
	match := fragment(new(matchDocument), docs)
	match["type"] = "object"
	schema["$defs"] = object{
		"match":      match,
		"step":       stepSchema(docs, actions),
		"enrichment": doing(fragment(new(enrichDocument), docs), docs, actions, func(s Spec) bool { return s.Effect == Reads && !s.Waits }),
		"template":   templateSchema,
	}
	return schema
}

type object = map[string]any

// patternError is what editors show when a text does not fit the pattern.
const patternError = "patternErrorMessage"

// fragment is the schema of a document within another.
func fragment(defaults any, docs registry.DocFunc) object {
	schema := registry.Schema(defaults, docs)
	delete(schema, "$schema")
	return schema
}

func ref(name string) object { return object{"$ref": "#/$defs/" + name} }

// anyText lists words for a schema.
func anyText(words []string) []any {
	list := make([]any, len(words))
	for i, w := range words {
		list[i] = w
	}
	return list
}

func listOf(items object) object { return object{"type": "array", "minItems": 1, "items": items} }

// stepSchema is a step with an action, a call or branches, and the keys of that.
func stepSchema(docs registry.DocFunc, actions map[string]Action) object {
	schema := doing(fragment(new(stepDocument), docs), docs, actions, func(Spec) bool { return true })
	schema["type"] = "object"
	var kinds []any
	for _, kind := range stepKinds {
		form := object{"required": []any{kind.key}}
		if len(kind.foreign) > 0 {
			var keys []any
			for _, key := range kind.foreign {
				keys = append(keys, object{"required": []any{key}})
			}
			form["not"] = object{"anyOf": keys}
		}
		kinds = append(kinds, form)
	}
	schema["oneOf"] = kinds
	schema["dependentRequired"] = object{"max_parallel": []any{"for_each"}}
	return schema
}

// doing says which actions there are, and which arguments go with which.
func doing(schema object, docs registry.DocFunc, actions map[string]Action, wanted func(Spec) bool) object {
	var names, summaries, once, forms []any
	for _, name := range slices.Sorted(maps.Keys(actions)) {
		spec := actions[name].Spec()
		if !wanted(spec) {
			continue
		}
		names, summaries = append(names, name), append(summaries, spec.Summary)
		with := object{"type": []any{"object", "null"}}
		switch {
		case name == CallAction: // the loader reads it, not the action
			with = fragment(new(callDocument), docs)
		case spec.Input != nil:
			with = fragment(spec.Input, docs)
			notEmpty(with)
			orTemplate(with)
		}
		with["title"] = "arguments of " + name
		then := object{"properties": object{"with": with}}
		if required, _ := with["required"].([]any); len(required) > 0 {
			then["required"] = []any{"with"}
		}
		forms = append(forms, when(object{"const": name}, then))
		if spec.Effect == Once {
			once = append(once, name)
		}
	}
	if len(once) > 0 {
		forms = append(forms, when(object{"enum": once}, object{"properties": object{"retry": object{"properties": object{"on": object{"const": "transient"}}}}}))
	}
	do := schema["properties"].(object)["do"].(object)
	do["enum"], do["enumDescriptions"] = names, summaries
	schema["allOf"] = forms
	return schema
}

// when says what holds of a step whose do is such.
func when(do, then object) object {
	return object{"if": object{"required": []any{"do"}, "properties": object{"do": do}}, "then": then}
}

// notEmpty refuses required texts and lists with nothing in them, as actions do.
func notEmpty(with object) {
	required, _ := with["required"].([]any)
	for _, name := range required {
		property := with["properties"].(object)[name.(string)].(object)
		switch property["type"] {
		case "string":
			property["minLength"] = 1
		case "array":
			property["minItems"] = 1
		}
	}
}

// templateSchema is a text that is put together when the step is done.
var templateSchema = object{
	"title": "text with ${{ jq }}", "type": "string", "pattern": `\$\{\{`,
	"description": "A value that is one whole expression keeps its type.",
	"examples":    []any{"${{ .alert.host.identifier }}", "seen on ${{ .alert.host.name }}"},
}

// orTemplate lets every value inside arguments be a text with an expression in it.
func orTemplate(schema object) {
	if properties, ok := schema["properties"].(object); ok {
		for name := range properties {
			properties[name] = literalOrTemplate(properties[name])
		}
	}
	for _, word := range []string{"items", "additionalProperties"} {
		if _, ok := schema[word].(object); ok {
			schema[word] = literalOrTemplate(schema[word])
		}
	}
}

// notes are what a schema says for people, about the value as a whole.
var notes = []string{"description", "markdownDescription", "default", "title"}

func literalOrTemplate(of any) object {
	literal := of.(object)
	orTemplate(literal)
	both := object{"anyOf": []any{literal, ref("template")}}
	for _, word := range notes {
		if note, ok := literal[word]; ok {
			both[word] = note
			delete(literal, word)
		}
	}
	return both
}

// The types of a document say what they take, and by which words people know that.

// JSONSchema takes names: a number is one as well.
func (*bookName) JSONSchema(registry.DocFunc) map[string]any {
	return object{"type": []any{"string", "integer"}, "pattern": playbookName.String(), patternError: "a name has small letters, digits, - and _"}
}

// TypeName is the word for it.
func (*bookName) TypeName() string { return "name of a playbook" }

// JSONSchema takes names that jq can have behind a dot.
func (*stepID) JSONSchema(registry.DocFunc) map[string]any {
	return object{"type": "string", "pattern": stepName.String(), patternError: "a name has small letters, digits and _, a letter first"}
}

// TypeName is the word for it.
func (*stepID) TypeName() string { return "name" }

// JSONSchema leaves the names to those who know the actions.
func (*actionName) JSONSchema(registry.DocFunc) map[string]any { return object{} }

// TypeName is the word for it.
func (*actionName) TypeName() string { return "[action](actions.md)" }

// JSONSchema takes numbers of MITRE.
func (*technique) JSONSchema(registry.DocFunc) map[string]any {
	return object{"type": "string", "pattern": techniqueName.String(), patternError: "expected a technique such as T1490 or T1059.001", "examples": []any{"T1490", "T1059.001"}}
}

// TypeName is the word for it.
func (*technique) TypeName() string { return "techniques" }

// JSONSchema takes the modes.
func (*modeWord) JSONSchema(registry.DocFunc) map[string]any {
	return object{"type": "string", "enum": anyText(modeWords)}
}

// TypeName is the word for it.
func (*modeWord) TypeName() string { return "`observe`, `enforce`" }

// JSONSchema takes five fields.
func (*cronLine) JSONSchema(registry.DocFunc) map[string]any {
	return object{"type": "string", "pattern": `^\s*\S+(\s+\S+){4}\s*$`, patternError: "expected five fields: minute, hour, day, month, weekday"}
}

// TypeName is the word for it.
func (*cronLine) TypeName() string {
	return "[crontab(5)](https://man7.org/linux/man-pages/man5/crontab.5.html) line"
}

// JSONSchema takes names of zones.
func (*zoneName) JSONSchema(registry.DocFunc) map[string]any {
	return object{"type": "string", "minLength": 1}
}

// TypeName is the word for it.
func (*zoneName) TypeName() string { return "time zone" }

// JSONSchema has the bounds.
func (*atOnce) JSONSchema(registry.DocFunc) map[string]any {
	return object{"type": "integer", "minimum": 1, "maximum": maxAtOnce}
}

// JSONSchema has the bounds.
func (*attempts) JSONSchema(registry.DocFunc) map[string]any {
	return object{"type": "integer", "minimum": 1, "maximum": maxAttempts}
}

func jqSchema() object {
	return object{"title": "jq expression", "type": []any{"string", "boolean", "number"}}
}

// JSONSchema takes jq as it is.
func (*expression) JSONSchema(registry.DocFunc) map[string]any { return jqSchema() }

// TypeName is the word for it.
func (*expression) TypeName() string { return "jq expression" }

// JSONSchema takes one or several.
func (*expressions) JSONSchema(registry.DocFunc) map[string]any {
	return object{"title": "jq expression, or a list of them", "anyOf": []any{jqSchema(), listOf(jqSchema())}}
}

// TypeName is the word for it.
func (*expressions) TypeName() string { return "jq expression, or a list of them" }

// JSONSchema takes one trigger, or a list of them.
func (*triggers) JSONSchema(docs registry.DocFunc) map[string]any {
	words := slices.DeleteFunc(Triggers(), func(word string) bool { return word == onSchedule })
	one := []any{object{"enum": anyText(words)}, fragment(new(timedDocument), docs)}
	return object{"anyOf": append(one, listOf(object{"anyOf": one}))}
}

// TypeName is the word for it.
func (*triggers) TypeName() string { return "[trigger](#triggers), or a list of them" }

// Holds is what stands inside.
func (*triggers) Holds() any { return new(timedDocument) }

// JSONSchema takes either kind of times.
func (*times) JSONSchema(docs registry.DocFunc) map[string]any {
	schema := fragment(new(scheduleDocument), docs)
	schema["type"] = "object"
	schema["oneOf"] = []any{object{"required": []any{"every"}}, object{"required": []any{"cron"}}}
	return schema
}

// Holds is what stands inside.
func (*times) Holds() any { return new(scheduleDocument) }

// JSONSchema takes blocks of conditions.
func (*blocks) JSONSchema(registry.DocFunc) map[string]any { return ref("match") }

// TypeName is the word for it.
func (*blocks) TypeName() string { return "conditions" }

// Holds is what stands inside.
func (*blocks) Holds() any { return new(matchDocument) }

// JSONSchema takes expressions, each under a name.
func (*conditionList) JSONSchema(registry.DocFunc) map[string]any {
	return listOf(object{
		"title": "a condition: what it says, and a jq expression", "type": "object",
		"minProperties": 1, "maxProperties": 1, "additionalProperties": jqSchema(),
		"examples":        []any{object{"severity is high": `.alert.severity | at_least("high")`}},
		"defaultSnippets": []any{object{"label": "condition", "description": "what it says, and a jq expression", "body": object{"${1:what it says}": "${2:.alert.status == \"open\"}"}}},
	})
}

// TypeName is the word for it.
func (*conditionList) TypeName() string { return "list of `- what it says: jq expression`" }

// JSONSchema takes look-ups by name.
func (*enrichments) JSONSchema(registry.DocFunc) map[string]any {
	return object{
		"type": []any{"object", "null"}, "maxProperties": maxEnrichments,
		"propertyNames":        object{"pattern": stepName.String(), "not": object{"const": "host"}},
		"additionalProperties": ref("enrichment"),
	}
}

// TypeName is the word for it.
func (*enrichments) TypeName() string { return "mapping of names to [look-ups](#look-ups)" }

// Holds is what stands inside.
func (*enrichments) Holds() any {
	d := new(enrichDocument)
	d.SetDefaults()
	return d
}

// JSONSchema leaves the rest to the action.
func (*arguments) JSONSchema(registry.DocFunc) map[string]any {
	return object{"type": []any{"object", "null"}}
}

// TypeName is the word for it.
func (*arguments) TypeName() string { return "arguments" }

// JSONSchema takes steps.
func (*stepList) JSONSchema(registry.DocFunc) map[string]any { return listOf(ref("step")) }

// TypeName is the word for it.
func (*stepList) TypeName() string { return "list of [steps](#keys-of-a-step)" }

// JSONSchema takes steps and lists of steps.
func (*branchList) JSONSchema(registry.DocFunc) map[string]any {
	return listOf(object{"anyOf": []any{ref("step"), listOf(ref("step"))}})
}

// TypeName is the word for it.
func (*branchList) TypeName() string { return "list of steps, or of lists of steps" }

// JSONSchema takes a word, or steps that have no such steps of their own.
func (*failure) JSONSchema(registry.DocFunc) map[string]any {
	words := object{"enum": anyText(failureWords)}
	last := object{"allOf": []any{ref("step"), object{"properties": object{"on_error": words}}}}
	return object{"anyOf": []any{words, listOf(last)}}
}

// TypeName is the word for it.
func (*failure) TypeName() string { return "`stop`, `continue` or a list of steps" }
