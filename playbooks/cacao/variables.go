package cacao

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
)

const maxVariables = 200

var (
	variableForm = regexp.MustCompile(`^__([A-Za-z0-9_-]{1,60}?)__$`)
	variableUse  = regexp.MustCompile(`__[A-Za-z0-9_-]{1,60}?__:value`)
	comparison   = regexp.MustCompile(`^\s*(__[A-Za-z0-9_-]{1,60}?__):value\s*(==|=|!=|<=|>=|<|>)\s*('[^'\\]*'|-?\d+(?:\.\d+)?|true|false)\s*`)
	secretName   = regexp.MustCompile(`password|passwd|passphrase|secret|token|api_?key|credential`)
	conjunction  = regexp.MustCompile(`^(AND|OR|and|or)\b`)
)

// variables takes over variables as vars.
func (c *converter) variables(id string, variables map[string]Variable, exported bool) {
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		v := variables[name]
		m := variableForm.FindStringSubmatch(name)
		switch {
		case m == nil:
			c.note(id, NotConverted, "%q is no name for a variable", shorten(name, 80))
			continue
		case exported && strings.HasPrefix(v.Description, "jq: "): // it stands for a condition of ours
			continue
		case len(c.names) >= maxVariables:
			c.note(id, NotConverted, "more than %d variables", maxVariables)
			return
		}
		if _, known := c.vars[m[1]]; exported && known {
			c.names[name] = m[1]
			continue
		}
		short := strings.TrimLeft(slug(m[1], '_', 34), "0123456789_")
		if short == "" {
			short = "variable"
		}
		for n, base := 2, short; ; n++ {
			if _, taken := c.vars[short]; !taken {
				break
			}
			short = base + "_" + strconv.Itoa(n)
		}
		c.names[name] = short
		if secretName.MatchString(short) && v.Value != nil && v.Value != "" {
			c.vars[short] = nil
			c.note(id, NotConverted, "the value of %s: by its name it is a secret, and those do not stand in playbooks", name)
			continue
		}
		c.vars[short] = c.value(v)
		if v.External || c.vars[short] == nil {
			c.note(id, Approximated, "the variable %s has no value: write one under vars.%s", name, short)
		}
	}
}

func (c *converter) value(v Variable) any {
	given, ok := v.Value.(string)
	if !ok {
		switch value := v.Value.(type) {
		case bool, float64, mapping, []any: // an object is allowed, and the others are usual
			return value
		}
		return nil
	}
	switch v.Type {
	case "bool":
		if b, err := strconv.ParseBool(given); err == nil {
			return b
		}
	case "integer", "long":
		if i, err := strconv.ParseInt(given, 10, 64); err == nil {
			return i
		}
	case "float":
		if f, err := strconv.ParseFloat(given, 64); err == nil && !strings.ContainsAny(given, "nNiI") {
			return f
		}
	case "dictionary":
		var m any
		if json.Unmarshal([]byte(given), &m) == nil {
			return m
		}
	}
	return shorten(given, maxText)
}

// text makes a text of ours: what looks like an expression stays text, and variables
// become expressions.
func (c *converter) text(s string) string {
	return variableUse.ReplaceAllStringFunc(escaped(s), func(use string) string {
		if name := c.names[strings.TrimSuffix(use, ":value")]; name != "" {
			return "${{ .vars." + name + " }}"
		}
		return use
	})
}

func escaped(s string) string { return strings.ReplaceAll(s, "${{", "$${{") }

// quoted is a text in jq.
func quoted(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(data)
}

// condition makes jq of comparisons of variables with constants, joined by AND or OR:
// when it holds, and when it does not. Of all else (patterns about observed data) it
// makes a variable that a person sets; until then, neither is true.
func (c *converter) condition(id string, step *Step) (holds, fails string) {
	cond, ok := c.comparisons(step.Condition)
	if ok {
		c.note(id, Converted, "the condition %s", shorten(step.Condition, 120))
		return cond, "(" + cond + ") | not"
	}
	name := c.unset()
	c.note(id, NotConverted, "the condition %q: what depends on it is not done before vars.%s is true or false; or write it in jq", shorten(step.Condition, 120), name)
	return ".vars." + name + " == true", ".vars." + name + " == false"
}

// unset is a new variable that a person sets.
func (c *converter) unset() string {
	for n := 1; ; n++ {
		name := "condition_" + strconv.Itoa(n)
		if _, taken := c.vars[name]; !taken {
			c.vars[name] = nil
			return name
		}
	}
}

func (c *converter) comparisons(pattern string) (string, bool) {
	if len(pattern) > maxText {
		return "", false
	}
	rest, joined := pattern, ""
	for {
		m := comparison.FindStringSubmatch(rest)
		if m == nil || c.names[m[1]] == "" {
			return "", false
		}
		rest = rest[len(m[0]):]
		joined += compare(".vars."+c.names[m[1]], m[2], m[3])
		if rest == "" {
			return joined, true
		}
		word := conjunction.FindString(rest)
		if word == "" {
			return "", false
		}
		rest = rest[len(word):]
		joined += " " + strings.ToLower(word) + " "
	}
}

func compare(variable, op, constant string) string {
	if op == "=" {
		op = "=="
	}
	if text, isText := strings.CutPrefix(constant, "'"); isText {
		if op == "==" || op == "!=" { // CACAO writes numbers and truth as texts, too
			return fmt.Sprintf("(%s | tostring) %s %s", variable, op, quoted(strings.TrimSuffix(text, "'")))
		}
		constant = quoted(strings.TrimSuffix(text, "'"))
	}
	return variable + " " + op + " " + constant
}

func duration(milliseconds int64) string {
	return registry.FormatDuration(max(time.Duration(milliseconds)*time.Millisecond, time.Second))
}
