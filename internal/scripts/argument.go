package scripts

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// Argument is one thing that a script is told.
type Argument struct {
	// Description says what it means, for people.
	Description string `yaml:"description"`

	// Type is what it is.
	Type string `yaml:"type" enum:"text,integer,boolean"`

	// Required refuses calls without it. What is not given is empty in the script.
	Required bool `yaml:"required"`

	// Enum are the only values that a text may have.
	Enum []string `yaml:"enum"`

	// Pattern is a regular expression that all of a text must fit.
	Pattern string `yaml:"pattern"`

	// Min is the least integer.
	Min *int64 `yaml:"min"`

	// Max is the greatest integer, or how many characters a text may have: 1024 unless
	// it says otherwise.
	Max *int64 `yaml:"max"`
}

const (
	typeText    = "text"
	typeInteger = "integer"
	typeBoolean = "boolean"

	defaultTextLength = 1024
	maxTextLength     = 8192
)

// SetDefaults makes texts of arguments that do not say what they are.
func (a *Argument) SetDefaults() { a.Type = typeText }

// sound says what is wrong with the description of an argument.
func (a *Argument) sound() error {
	switch {
	case a.Type != typeText && (len(a.Enum) > 0 || a.Pattern != ""):
		return errors.New("enum and pattern are for texts")
	case a.Type != typeInteger && a.Min != nil:
		return errors.New("min is for integers")
	case a.Type == typeBoolean && a.Max != nil:
		return errors.New("max is for texts and integers")
	case a.Type == typeText && a.Max != nil && (*a.Max < 1 || *a.Max > maxTextLength):
		return fmt.Errorf("max: a text has from 1 to %d characters", maxTextLength)
	case a.Min != nil && a.Max != nil && *a.Min > *a.Max:
		return errors.New("min is above max")
	}
	if _, err := a.pattern(); err != nil {
		return fmt.Errorf("pattern: %w", err)
	}
	for _, value := range a.Enum {
		if err := plainText(value); err != nil {
			return fmt.Errorf("enum: %q %w", value, err)
		}
	}
	return nil
}

// pattern fits all of a text or nothing. \z is the end, where $ might be that of a line.
func (a *Argument) pattern() (*regexp.Regexp, error) {
	if a.Pattern == "" {
		return nil, nil
	}
	if _, err := regexp.Compile(a.Pattern); err != nil { // as it stands, so that no parenthesis can end the group below
		return nil, err
	}
	return regexp.Compile(`\A(?:` + a.Pattern + `)\z`)
}

// Value is a value that an argument takes.
type Value struct {
	kind string // type of the argument
	text string
}

// value checks a plain JSON value.
func (a *Argument) value(v any) (Value, error) {
	switch a.Type {
	case typeInteger:
		n, err := integer(v)
		switch {
		case err != nil:
			return Value{}, err
		case a.Min != nil && n < *a.Min:
			return Value{}, fmt.Errorf("%d is below %d", n, *a.Min)
		case a.Max != nil && n > *a.Max:
			return Value{}, fmt.Errorf("%d is above %d", n, *a.Max)
		}
		return Value{typeInteger, strconv.FormatInt(n, 10)}, nil
	case typeBoolean:
		switch v {
		case true, "true":
			return Value{typeBoolean, "true"}, nil
		case false, "false":
			return Value{typeBoolean, "false"}, nil
		}
		return Value{}, fmt.Errorf("expected true or false, found %.40q", fmt.Sprint(v))
	}
	text, ok := v.(string)
	if !ok {
		return Value{}, fmt.Errorf("expected a text, found %.40q", fmt.Sprint(v))
	}
	return Value{typeText, text}, a.text(text)
}

// text checks a text.
func (a *Argument) text(text string) error {
	most := int64(defaultTextLength)
	if a.Max != nil {
		most = *a.Max
	}
	pattern, err := a.pattern()
	switch n := utf8.RuneCountInString(text); {
	case err != nil:
		return err
	case a.Required && strings.TrimSpace(text) == "":
		return errors.New("is empty")
	case int64(n) > most:
		return fmt.Errorf("has %d characters, the limit is %d", n, most)
	}
	switch err := plainText(text); {
	case err != nil:
		return err
	case len(a.Enum) > 0 && !slices.Contains(a.Enum, text):
		return fmt.Errorf("%.80q is none of %s", text, strings.Join(a.Enum, ", "))
	case pattern != nil && !pattern.MatchString(text):
		return fmt.Errorf("%.80q does not fit the pattern %s", text, a.Pattern)
	}
	return nil
}

// plainText refuses what no argument needs and a shell may heed: control characters,
// line ends of whatever kind, and characters that nobody sees.
func plainText(text string) error {
	if !utf8.ValidString(text) {
		return errors.New("is not UTF-8")
	}
	if i := strings.IndexFunc(text, func(r rune) bool {
		return soar.IsHidden(r) || r == '\u2028' || r == '\u2029' || r == '\u200c' || r == '\u200d'
	}); i >= 0 {
		return fmt.Errorf("holds the character %U, which no argument may hold", []rune(text[i:])[0])
	}
	return nil
}

// integer reads a whole number. Event columns are texts, so digits in one are as good.
func integer(v any) (int64, error) {
	text := ""
	switch v := v.(type) {
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v), nil
		}
	case json.Number:
		text = v.String()
	case string:
		text = v
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("expected a whole number, found %.40q", fmt.Sprint(v))
	}
	return n, nil
}

// Mistake is something wrong with the arguments of a call.
type Mistake struct {
	Argument string
	Message  string
}

func (m Mistake) Error() string {
	if m.Argument == "" {
		return m.Message
	}
	return m.Argument + ": " + m.Message
}

// Check looks at the arguments of a call. computed are those whose value is not known
// yet: they count as given.
func (s *Script) Check(values map[string]any, computed []string) []Mistake {
	_, mistakes := s.values(values, computed)
	return mistakes
}

// values reads the arguments of a call. null is what a jq path that leads nowhere yields:
// it is as if the argument were not given.
func (s *Script) values(values map[string]any, computed []string) (map[string]Value, []Mistake) {
	read := map[string]Value{}
	var mistakes []Mistake
	names := sortedNames(s.Arguments)
	for _, name := range append(sortedNames(values), computed...) {
		if _, known := s.Arguments[name]; !known {
			message := "the script " + s.Name + " has no such argument"
			if near := registry.Nearest(name, names); near != "" {
				message += "; did you mean " + near + "?"
			}
			mistakes = append(mistakes, Mistake{name, message})
		}
	}
	for _, name := range names {
		a, v := s.Arguments[name], values[name]
		switch {
		case slices.Contains(computed, name):
		case v == nil && a.Required:
			mistakes = append(mistakes, Mistake{name, "the script " + s.Name + " needs it"})
		case v != nil:
			value, err := a.value(v)
			if err == nil {
				_, err = s.Kind.literal(value)
			}
			if err != nil {
				mistakes = append(mistakes, Mistake{name, err.Error()})
				continue
			}
			read[name] = value
		}
	}
	return read, mistakes
}

func sortedNames[T any](m map[string]T) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
