package scripts

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Kind is the language of a script.
type Kind string

// The languages.
const (
	Bat        Kind = "bat"
	PowerShell Kind = "powershell"
	Shell      Kind = "shell"
)

// prefix begins the names of the variables, so that none is one of the language's own,
// such as $PID, or of the system's, such as PATH.
const prefix = "arg_"

// Text is the script with its arguments: variables named arg_NAME that are set in front
// of it. They are literals, of ASCII alone, so that no value of an alert can become a
// command, however the host reads the file. Values that the script does not take are an
// error.
func (s *Script) Text(arguments map[string]any) (string, error) {
	values, mistakes := s.values(arguments, nil)
	if len(mistakes) > 0 {
		errs := make([]error, len(mistakes))
		for i, m := range mistakes {
			errs[i] = m
		}
		return "", errors.Join(errs...)
	}
	lineEnd := "\n"
	if s.Kind == Bat {
		lineEnd = "\r\n"
	}
	var set strings.Builder
	for _, name := range sortedNames(s.Arguments) {
		literal := ""
		if value, given := values[name]; given {
			var err error
			if literal, err = s.Kind.literal(value); err != nil {
				return "", fmt.Errorf("%s: %w", name, err)
			}
		}
		set.WriteString(s.Kind.assignment(prefix+name, literal) + lineEnd)
	}
	// The line that names the interpreter stays the first one.
	first, rest := "", s.text
	if s.Kind == Shell && strings.HasPrefix(rest, "#!") {
		line, more, _ := strings.Cut(rest, "\n")
		first, rest = line+"\n", more
	}
	return first + set.String() + rest, nil
}

// assignment sets a variable. An empty literal is a value that was not given.
func (k Kind) assignment(name, literal string) string {
	switch k {
	case PowerShell:
		if literal == "" {
			literal = "$null"
		}
		return "$" + name + " = " + literal
	case Bat:
		return `@set "` + name + "=" + literal + `"`
	}
	if literal == "" {
		literal = "''"
	}
	return name + "=" + literal
}

// literal writes a value in a language.
func (k Kind) literal(v Value) (string, error) {
	switch k {
	case PowerShell:
		return powerShellLiteral(v), nil
	case Bat:
		return batLiteral(v)
	}
	return shellLiteral(v), nil
}

// powerShellLiteral quotes with single quotes, between which only these mean anything
// (about_Quoting_Rules). PowerShell takes typographic quotes for them as well, and
// Windows PowerShell reads a file without a mark by the code page of its country, where
// a byte of another character may be such a quote: what is not ASCII goes in as base64.
func powerShellLiteral(v Value) string {
	switch {
	case v.kind == typeBoolean:
		return "$" + v.text
	case v.kind == typeInteger:
		return v.text
	case isASCII(v.text):
		return "'" + strings.ReplaceAll(v.text, "'", "''") + "'"
	}
	return "[Text.Encoding]::UTF8.GetString([Convert]::FromBase64String('" + base64.StdEncoding.EncodeToString([]byte(v.text)) + "'))"
}

// shellLiteral quotes with single quotes, between which nothing but the end of them
// means anything (POSIX, Shell Command Language, 2.2.2). What is not ASCII goes in as
// octal numbers of its bytes.
func shellLiteral(v Value) string {
	if isASCII(v.text) {
		return "'" + strings.ReplaceAll(v.text, "'", `'\''`) + "'"
	}
	var octal strings.Builder
	for i := range len(v.text) {
		fmt.Fprintf(&octal, `\%03o`, v.text[i])
	}
	return `"$(printf '` + octal.String() + `')"`
}

const (
	letters  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	digits   = "0123456789"
	batPlain = letters + digits + ` ._-:\/@+`
)

// batLiteral takes only characters that mean nothing to cmd.exe: it puts values into
// lines before it reads these, so that no quoting protects a value where it is used.
func batLiteral(v Value) (string, error) {
	if i := strings.IndexFunc(v.text, func(r rune) bool { return !strings.ContainsRune(batPlain, r) }); i >= 0 {
		return "", fmt.Errorf("holds %q: a bat script takes letters, digits, blanks and . _ - : \\ / @ + only; write the script in PowerShell", []rune(v.text[i:])[0])
	}
	if strings.HasSuffix(v.text, `\`) {
		return "", errors.New(`ends with \, which would take the quote after it along; leave it off`)
	}
	return v.text, nil
}

func isASCII(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}
