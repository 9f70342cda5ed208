package connector

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/erbridge/erbridge/connector/catalogue"
	"github.com/erbridge/erbridge/internal/registry"
)

// Argument is one argument of a call as a person writes it. What the text means is
// up to the argument's type in the catalogue: int and bool are read; obj is a JSON
// object, or @path of a file that holds one; file is @path; a list is a JSON array,
// or text with commas, or the argument given several times.
type Argument struct{ Name, Text string }

// maxArgumentBytes bounds a file that holds an argument.
const maxArgumentBytes = 16 << 20

// take reads all arguments and reports all mistakes.
func (i *Invocation) take(data []byte, given []Argument) error {
	var problems []error
	complain := func(format string, args ...any) {
		problems = append(problems, argumentError{i.Call.ID, fmt.Sprintf(format, args...)})
	}
	fields, err := objectOf(data)
	if err != nil {
		complain("%v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		p := i.Call.Param(name)
		if p == nil {
			complain("%s", i.unknown(name))
		} else if i.values[name], err = convert(p, fields[name]); err != nil {
			complain("%s: %v", name, err)
		}
	}
	texts := map[string][]string{}
	var order []string
	for _, a := range given {
		if texts[a.Name] == nil {
			order = append(order, a.Name)
		}
		texts[a.Name] = append(texts[a.Name], a.Text)
	}
	for _, name := range order {
		p := i.Call.Param(name)
		if p == nil {
			complain("%s", i.unknown(name))
		} else if err := i.read(p, texts[name]); err != nil {
			complain("%s: %v", name, err)
		}
	}
	for _, p := range i.Call.Params {
		_, known := texts[p.Name]
		if _, inData := fields[p.Name]; inData {
			known = fields[p.Name] != nil
		}
		if p.Required && !known {
			complain("missing: %s", describe(&p))
		}
	}
	return errors.Join(problems...)
}

// unknown says that there is no such argument, and what was probably meant.
func (i *Invocation) unknown(name string) string {
	names := make([]string, len(i.Call.Params))
	for n, p := range i.Call.Params {
		names[n] = p.Name
	}
	text := fmt.Sprintf("unknown argument %q", clip(oneLine(name), 80))
	near := registry.Near(name, names, 3)
	switch {
	case len(names) == 0:
		return text + "; the call takes none"
	case len(near) > 0:
		return text + "; did you mean " + strings.Join(near, ", ") + "?"
	}
	return text + "; there are " + strings.Join(names, ", ")
}

// describe is an argument with what a caller must know: name, type, values, help.
func describe(p *catalogue.Param) string {
	text := p.Name + " (" + p.Type
	if len(p.Allowed) > 0 {
		text += ": " + strings.Join(p.Allowed, ", ")
	}
	text += ")"
	if meaning := p.Meaning(); meaning != "" {
		text += ", " + meaning
	}
	return text
}

// read reads the texts of one argument.
func (i *Invocation) read(p *catalogue.Param, texts []string) (err error) {
	isList := strings.HasPrefix(p.Type, "[")
	if len(texts) > 1 && !isList {
		return fmt.Errorf("given %d times", len(texts))
	}
	switch {
	case p.Type == "file":
		i.file, err = readUpload(texts[0])
		return err
	case p.Type == "obj":
		text := []byte(texts[0])
		if path, ok := strings.CutPrefix(texts[0], "@"); ok {
			if text, err = readBounded(path, maxArgumentBytes); err != nil {
				return err
			}
		}
		o, err := objectOf(text)
		if err != nil {
			return err
		}
		if o == nil {
			return errNotObject
		}
		i.values[p.Name], err = convert(p, o)
		return err
	case isList:
		var all []any
		for _, text := range texts {
			part, err := listOf(text)
			if err != nil {
				return err
			}
			all = append(all, part...)
		}
		i.values[p.Name], err = convert(p, all)
		return err
	}
	i.values[p.Name], err = convert(p, texts[0])
	return err
}

// listOf reads a JSON array or text with commas.
func listOf(text string) ([]any, error) {
	if strings.HasPrefix(strings.TrimSpace(text), "[") {
		v, err := decode([]byte(text))
		if err != nil {
			return nil, errors.New("not a JSON array")
		}
		return v.([]any), nil
	}
	var list []any
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list, nil
}

// objectOf reads a JSON object; of nothing it makes nil.
func objectOf(text []byte) (map[string]any, error) {
	switch {
	case len(text) == 0:
		return nil, nil
	case !utf8.Valid(text):
		return nil, errors.New("not UTF-8")
	}
	v, err := decode(text)
	if err != nil {
		return nil, errors.New("not JSON")
	}
	o, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("not a JSON object")
	}
	return o, nil
}

// readUpload reads the file behind @path.
func readUpload(text string) (Upload, error) {
	path, ok := strings.CutPrefix(text, "@")
	if !ok || path == "" {
		return Upload{}, errors.New("write @ and the path of the file")
	}
	content, err := readBounded(path, maxUploadBytes)
	if err == nil && len(content) == 0 {
		err = fmt.Errorf("%s is empty", path)
	}
	return Upload{Name: filepath.Base(path), Content: content}, err
}

func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("%s is larger than %d MB", path, limit>>20)
	}
	return content, err
}

// convert makes of a value what the argument's type wants. What is a text where
// the type wants a number or a truth is read, because the server does so too.
func convert(p *catalogue.Param, v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	switch p.Type {
	case "file":
		return nil, errors.New("a file can only be given as " + p.Name + "=@path")
	case "obj":
		if _, ok := v.(map[string]any); !ok {
			return nil, errNotObject
		}
		return v, nil
	case "[str]", "[int]":
		return convertList(p, v)
	}
	return convertOne(p, p.Type, v)
}

func convertList(p *catalogue.Param, v any) (any, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, errors.New("not a list")
	}
	texts, numbers := []string{}, []int64{}
	for _, item := range list {
		one, err := convertOne(p, strings.Trim(p.Type, "[]"), item)
		if err != nil {
			return nil, err
		}
		switch one := one.(type) {
		case string:
			texts = append(texts, one)
		case int64:
			numbers = append(numbers, one)
		}
	}
	if p.Required && len(list) == 0 {
		return nil, errors.New("the list is empty")
	}
	if p.Type == "[int]" {
		return numbers, nil
	}
	return texts, nil
}

// maxPathPart bounds an argument that stands in the path. nginx, which is before the
// server, takes request lines of 8 KiB by default, and escapes make three bytes of one.
const maxPathPart = 2048

// convertOne converts a single value of type str, int or bool.
func convertOne(p *catalogue.Param, kind string, v any) (any, error) {
	text, ok := scalarText(v)
	if !ok {
		return nil, errors.New("a list or an object where a single value is due")
	}
	shown := strconv.Quote(clip(oneLine(text), 80))
	if catalogue.IsSecret(p.Name) {
		shown = "the value"
	}
	switch {
	case !utf8.ValidString(text):
		return nil, errors.New("holds bytes that are not UTF-8")
	case p.In == "path" && len(text) > maxPathPart:
		return nil, fmt.Errorf("is longer than %d bytes, which no path has room for", maxPathPart)
	}
	switch kind {
	case "int":
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s is not a whole number", shown)
		}
		if n < 0 { // no argument of the API has a sense below zero, and some are HTTP 500
			return nil, fmt.Errorf("%s is less than 0", shown)
		}
		return n, among(p, shown, strconv.FormatInt(n, 10))
	case "bool":
		truth, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(text)))
		if err != nil {
			return nil, fmt.Errorf("%s is neither true nor false", shown)
		}
		return truth, nil
	}
	switch {
	case strings.ContainsRune(text, 0):
		return nil, errors.New("holds the character U+0000, which the server's database does not have")
	case text == "" && p.In == "path":
		return nil, errors.New("is empty")
	case text == "":
		return text, nil // an optional argument may be taken back
	}
	return text, among(p, shown, strings.Split(text, ",")...)
}

// among refuses values outside of the set. Several with commas between them are
// good where each is: that is how the server takes lists of words.
func among(p *catalogue.Param, shown string, values ...string) error {
	if len(p.Allowed) == 0 {
		return nil
	}
	for _, v := range values {
		if !slices.Contains(p.Allowed, strings.TrimSpace(v)) {
			return fmt.Errorf("%s is none of %s", shown, strings.Join(p.Allowed, ", "))
		}
	}
	return nil
}

func scalarText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// plainText is an argument as text, for a path, a query or a form.
func plainText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	case []string:
		return strings.Join(v, ",")
	case []int64:
		texts := make([]string, len(v))
		for i, n := range v {
			texts[i] = strconv.FormatInt(n, 10)
		}
		return strings.Join(texts, ",")
	}
	text, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(text)
}
