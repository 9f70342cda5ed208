package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/soar"
)

// settings has a field of every type that Decode knows.
type settings struct {
	common  `yaml:",inline"`
	Address string            `yaml:"address" required:"true"`
	Mode    string            `yaml:"mode" enum:"observe,enforce"`
	PID     int               `yaml:"pid"`
	Share   float64           `yaml:"share"`
	On      bool              `yaml:"on"`
	Since   time.Time         `yaml:"since"`
	Token   soar.Secret       `yaml:"token"`
	Tags    []string          `yaml:"tags"`
	Modes   []string          `yaml:"modes" enum:"observe,enforce"`
	Headers map[string]string `yaml:"headers"`
	Retry   *retry            `yaml:"retry"`
	Value   any               `yaml:"value"`
	File    string            `yaml:"file" path:"true"`
	Steps   []step            `yaml:"steps"`
	Note    Text              `yaml:"note"`
	Hidden  string            `yaml:"-"`
}

type common struct {
	Timeout time.Duration `yaml:"timeout"`
}

type retry struct {
	Max int `yaml:"max" required:"true"`
}

// step contains itself, as the steps of a playbook do.
type step struct {
	Do   string `yaml:"do" required:"true"`
	Else []step `yaml:"else"`
}

func defaults() settings {
	return settings{common: common{Timeout: 5 * time.Second}, Mode: "observe", Tags: []string{"a"}}
}

// documents is what decoder and schema have to agree on. want is empty for good
// documents, and otherwise every message in order.
var documents = []struct{ name, in, want string }{
	{"least", `address: a:1`, ``},
	{"everything", `
address: a:1
mode: enforce
pid: 0x10
share: 5
on: true
since: "2026-11-22T03:22:30Z"
token: {file: secret}
tags: [x, "y"]
modes: [observe, enforce]
headers: {a: b}
retry: {max: 3}
value: {deep: [1, null]}
file: a/b
timeout: 1d12h
note: 12
steps: [{do: a, else: [{do: b, else: [{do: c}]}]}]
`, ``},
	{"nulls where nothing is needed", "address: a\ntags:\nheaders:\nretry:\nvalue:\nsteps:\n", ``},
	{"zero duration", `{address: a, timeout: 0}`, ``},
	{"fraction of a duration", `{address: a, timeout: 1.5h30m}`, ``},

	{"missing", `{}`, `f:1:1: setting "address" is required [missing]`},
	{"nothing in a nested one", `{address: a, retry: {}}`, `f:1:21: setting "max" is required [missing]`},
	{"unknown key", `{address: a, adress: b}`, `f:1:14: unknown setting "adress" [unknown-key]; did you mean "address"?`},
	{"unknown key far down", `{address: a, steps: [{do: a, else: [{do: b, elze: []}]}]}`, `f:1:45: unknown setting "elze" [unknown-key]; did you mean "else"?`},
	{"hidden field", `{address: a, hidden: b}`, `f:1:14: unknown setting "hidden" [unknown-key]; known: address, file, headers, mode, modes, note, on, pid, retry, share, since, steps, tags, timeout, token, value`},
	{"number for a text", `{address: 12}`, `f:1:11: expected a text, found the number 12 [wrong-type]; put quotes around it: "12"`},
	{"yes for a text", `{address: true}`, `f:1:11: expected a text, found true [wrong-type]; put quotes around it: "true"`},
	{"nothing for a text", `address:`, `f:1:9: expected a text, found nothing [wrong-type]; put quotes around it: ""`},
	{"text for a number", `{address: a, pid: "12"}`, `f:1:19: expected a whole number, found the text "12" [wrong-type]`},
	{"fraction for a whole number", `{address: a, pid: 1.5}`, `f:1:19: expected a whole number, found the number 1.5 [wrong-type]`},
	{"text for a share", `{address: a, share: half}`, `f:1:21: expected a number, found the text "half" [wrong-type]`},
	{"text for a switch", `{address: a, on: "true"}`, `f:1:18: expected true or false, found the text "true" [wrong-type]`},
	{"word outside", `{address: a, mode: enforse}`, `f:1:20: unknown value "enforse" [unknown-name]; allowed: observe, enforce`},
	{"word outside in a list", `{address: a, modes: [observe, no]}`, `f:1:31: unknown value "no" [unknown-name]; allowed: observe, enforce`},
	{"duration without unit", `{address: a, timeout: 5}`, `f:1:23: expected a duration such as 30s, 5m, 4h or 7d, found the number 5 [wrong-type]`},
	{"negative duration", `{address: a, timeout: -5s}`, `f:1:23: expected a duration such as 30s, 5m, 4h or 7d, found the text "-5s" [wrong-type]`},
	{"empty duration", `{address: a, timeout: ""}`, `f:1:23: expected a duration such as 30s, 5m, 4h or 7d, found the text "" [wrong-type]`},
	{"weeks", `{address: a, timeout: 1w}`, `f:1:23: expected a duration such as 30s, 5m, 4h or 7d, found the text "1w" [wrong-type]`},
	{"day without time", `{address: a, since: "2026-11-22"}`, `f:1:21: expected a time such as 2026-11-22T03:22:30Z, found the text "2026-11-22" [wrong-type]`},
	{"plain secret", `{address: a, token: hunter2}`, `f:1:21: expected a secret: {env: NAME}, {file: path} or {credential: name}, not the value itself [plain-secret]; put the value into a file or the environment and name that here`},
	{"two places for a secret", `{address: a, token: {env: A, file: b}}`, `f:1:21: expected a secret: {env: NAME}, {file: path} or {credential: name}, found a mapping [wrong-type]`},
	{"unknown place for a secret", `{address: a, token: {vault: b}}`, `f:1:22: expected a secret: {env: NAME}, {file: path} or {credential: name}, found the text "vault" [wrong-type]`},
	{"empty secret", `{address: a, token: {env: ""}}`, `f:1:21: expected a secret: {env: NAME}, {file: path} or {credential: name}, found a mapping [wrong-type]`},
	{"one text for a list", `{address: a, tags: b}`, `f:1:20: expected a list, found the text "b" [wrong-type]`},
	{"list for a mapping", `{address: a, headers: [b]}`, `f:1:23: expected a mapping, found a list [wrong-type]`},
	{"number in a mapping of texts", `{address: a, headers: {n: 1}}`, `f:1:27: expected a text, found the number 1 [wrong-type]; put quotes around it: "1"`},
	{"list for settings", `[address]`, `f:1:1: expected a mapping of settings, found a list [wrong-type]`},
	{"mapping for a text", `{address: a, note: {b: c}}`, `f:1:20: expected a text, found a mapping [wrong-type]`},
	{"all at once", "mode: x\npid: y\ntimeout: z\n", `f:1:1: setting "address" is required [missing]
f:1:7: unknown value "x" [unknown-name]; allowed: observe, enforce
f:2:6: expected a whole number, found the text "y" [wrong-type]
f:3:10: expected a duration such as 30s, 5m, 4h or 7d, found the text "z" [wrong-type]`},
}

func TestDecode(t *testing.T) {
	for _, tt := range documents {
		t.Run(tt.name, func(t *testing.T) {
			if _, got := decodeText(tt.in); got != tt.want {
				t.Errorf("decode(%s)\n got %s\nwant %s", tt.in, got, tt.want)
			}
		})
	}
}

func decodeText(in string) (settings, string) {
	s := defaults()
	root, problems := Parse("f", []byte(in))
	if problems == nil {
		problems = Decode("f", root, &s)
	}
	if err := problems.Err(); err != nil {
		return s, err.Error()
	}
	return s, ""
}

// An editor with the schema and the daemon with the decoder must not tell a user
// different things.
func TestSchemaAgreesWithDecode(t *testing.T) {
	d := defaults()
	schema := compile(t, Schema(&d, nil))
	for _, tt := range documents {
		t.Run(tt.name, func(t *testing.T) {
			var doc any
			if err := yaml.Unmarshal([]byte(tt.in), &doc); err != nil {
				t.Fatal(err)
			}
			plain, err := soar.Plain(doc)
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(plain); (err == nil) != (tt.want == "") {
				t.Errorf("schema says %v of %s\ndecoder says %q", err, tt.in, tt.want)
			}
		})
	}
}

func compile(t *testing.T, schema map[string]any) *jsonschema.Schema {
	t.Helper()
	data, err := json.Marshal(schema)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func TestDecodeValues(t *testing.T) {
	got, problems := decodeText(documents[1].in)
	if problems != "" {
		t.Fatal(problems)
	}
	if got.Timeout != 36*time.Hour || got.PID != 16 || got.Share != 5 || !got.On || got.Retry.Max != 3 || got.Note.Value != "12" {
		t.Errorf("decoded %+v", got)
	}
	if want := []string{"x", "y"}; !reflect.DeepEqual(got.Tags, want) {
		t.Errorf("tags %q, want %q: a list replaces the default", got.Tags, want)
	}
	if want := (map[string]any{"deep": []any{1.0, nil}}); !reflect.DeepEqual(got.Value, want) {
		t.Errorf("value %#v, want %#v: plain JSON values only", got.Value, want)
	}
	if want := (Position{"f", 16, 7}); got.Note.At != want {
		t.Errorf("note stands at %v, want %v", got.Note.At, want)
	}
	least, _ := decodeText(`address: a:1`)
	if least.Timeout != 5*time.Second || least.Mode != "observe" || len(least.Tags) != 1 {
		t.Errorf("defaults are gone: %+v", least)
	}
}

func TestPathsAreRelativeToTheFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "erbridge.yaml")
	root, problems := Parse(file, []byte("{address: a, file: x/y, token: {file: token}}"))
	if problems != nil {
		t.Fatal(problems)
	}
	s := defaults()
	if err := Decode(file, root, &s).Err(); err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "x", "y"); s.File != want {
		t.Errorf("file %q, want %q", s.File, want)
	}
	if got, err := s.Token.Reveal(); err != nil || got != "s3cret" {
		t.Errorf("token: %q, %v", got, err)
	}
}

// listening has defaults that hold wherever it stands.
type listening struct {
	Limit int `yaml:"limit"`
}

func (l *listening) SetDefaults() { l.Limit = 128 }

func TestDefaultsBehindPointersAndInCollections(t *testing.T) {
	var s struct {
		Absent  *listening           `yaml:"absent"`
		Present *listening           `yaml:"present"`
		List    []listening          `yaml:"list"`
		ByName  map[string]listening `yaml:"by_name"`
	}
	root, problems := Parse("f", []byte("{present: {}, list: [{}, {limit: 1}], by_name: {a: {}}}"))
	if problems == nil {
		problems = Decode("f", root, &s)
	}
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	if s.Absent != nil || s.Present.Limit != 128 || s.List[0].Limit != 128 || s.List[1].Limit != 1 || s.ByName["a"].Limit != 128 {
		t.Errorf("decoded %+v", s)
	}
	present := Schema(&s, nil)["properties"].(map[string]any)["present"].(map[string]any)
	if got := present["properties"].(map[string]any)["limit"].(map[string]any)["default"]; got != 128.0 {
		t.Errorf("the schema has the default %v", got)
	}
}

func TestParse(t *testing.T) {
	deep := strings.Repeat("[", 70) + strings.Repeat("]", 70)
	for _, tt := range []struct{ name, in, want string }{
		{"empty", ``, `f:1:1: the file is empty [empty]`},
		{"only a comment", "# nothing\n", `f:1:1: the file is empty [empty]`},
		{"tab", "a:\n\tb: c\n", `f:2:1: not valid YAML: found character that cannot start any token [yaml]; check indentation, and put quotes around texts with : or #`},
		{"two documents", "a: 1\n---\nb: 2\n", `f:1:1: more than one YAML document in a file [yaml]; split it at the line ---`},
		{"alias", "a: &x 1\nb: *x\n", `f:2:4: YAML aliases are not supported [alias]; write the value out`},
		{"deep", deep, `f:1:66: nested deeper than 64 levels [too-deep]`},
		{"large", "a: " + strings.Repeat("x", maxFileBytes), `f:1:1: the file has 1048579 bytes, the limit is 1048576 [too-large]`},
		{"repeated key", "{address: a, pid: 1, pid: 2}", `f:1:22: "pid" stands here twice [repeated-key]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, got := decodeText(tt.in); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestProblemsAreAnError(t *testing.T) {
	var none Problems
	if err := none.Err(); err != nil {
		t.Errorf("no problems are the error %v", err)
	}
	var ps Problems
	ps.Addf(Position{"b", 1, 1}, "code", "hint", "later")
	ps.Addf(Position{"a", 2, 1}, "code", "", "first")
	err := fmt.Errorf("check: %w", ps.Err())
	if got, ok := errors.AsType[Problems](err); !ok || got[0].Message != "first" {
		t.Errorf("wrapped problems: %v", err)
	}
}

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour, "0": 0, "1.5h": 90 * time.Minute,
	} {
		if got, err := ParseDuration(in); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "5", "d", "-1d", "-5s", "1d-5h", "99999d", "1d1d", "5 s", "36500d2000000h"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", in, got)
		}
	}
}

func TestFormatDurationReadsBack(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour, "1h": time.Hour, "1h30m": 90 * time.Minute, "15s": 15 * time.Second,
		"1m5s": 65 * time.Second, "250ms": 250 * time.Millisecond, "0s": 0, "1d0.5s": 24*time.Hour + 500*time.Millisecond, "10m": 10 * time.Minute,
	} {
		got := FormatDuration(d)
		if back, err := ParseDuration(got); err != nil || back != d {
			t.Errorf("FormatDuration(%v) = %q, which reads as %v, %v", d, got, back, err)
		}
		if got != want && want != "1d0.5s" {
			t.Errorf("FormatDuration(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestSchemaCarriesDefaultsAndDocs(t *testing.T) {
	d := defaults()
	schema := Schema(&d, func(t reflect.Type, field string) string { return t.Name() + "." + field })
	properties := schema["properties"].(map[string]any)
	timeout := properties["timeout"].(map[string]any)
	if timeout["default"] != "5s" || timeout["description"] != "common.Timeout" {
		t.Errorf("timeout: %v", timeout)
	}
	if properties["mode"].(map[string]any)["default"] != "observe" {
		t.Errorf("mode: %v", properties["mode"])
	}
	if _, ok := schema["$defs"].(map[string]any)["registry_step"]; !ok {
		t.Errorf("a struct that contains itself is not under $defs: %v", schema["$defs"])
	}
}

// Editors show examples, Markdown as such, and defaults behind pointers too.
func TestSchemaHelpsEditors(t *testing.T) {
	minute := time.Minute
	s := struct {
		Plain string         `yaml:"plain" example:"so"`
		Code  *time.Duration `yaml:"code"`
	}{Code: &minute}
	schema := Schema(&s, func(_ reflect.Type, field string) string {
		return map[string]string{"Plain": "A text.", "Code": "Such as `1m`."}[field]
	})
	properties := schema["properties"].(map[string]any)
	plain := properties["plain"].(map[string]any)
	if _, ok := plain["markdownDescription"]; ok || plain["description"] != "A text." || !reflect.DeepEqual(plain["examples"], []any{"so"}) {
		t.Errorf("plain: %v", plain)
	}
	code := properties["code"].(map[string]any)
	if code["markdownDescription"] != "Such as `1m`." || code["description"] != "Such as `1m`." || code["default"] != "1m" {
		t.Errorf("code: %v", code)
	}
}

func TestSet(t *testing.T) {
	set := NewSet[int]("sink type")
	set.Add("slack", 1)
	set.Add("elastic", 2)
	if got, ok := set.Get("slack"); !ok || got != 1 {
		t.Errorf("Get(slack) = %d, %v", got, ok)
	}
	if got := set.Names(); !reflect.DeepEqual(got, []string{"elastic", "slack"}) {
		t.Errorf("Names() = %q", got)
	}
	for in, want := range map[string]string{
		"slakc": `f:1:1: unknown sink type "slakc" [unknown-name]; did you mean "slack"?`,
		"gelf":  `f:1:1: unknown sink type "gelf" [unknown-name]; known: elastic, slack`,
	} {
		if got := set.Unknown(Position{"f", 1, 1}, in).Error(); got != want {
			t.Errorf("Unknown(%s) = %s\nwant %s", in, got, want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a second kind of the same name was taken")
		}
	}()
	set.Add("slack", 3)
}

// Whatever a file holds, reading it ends in a value or in problems with places.
func FuzzDecode(f *testing.F) {
	for _, tt := range documents {
		f.Add([]byte(tt.in))
	}
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("? {a: b}\n: c"))
	f.Add([]byte("!!binary aGk="))
	f.Fuzz(func(t *testing.T, data []byte) {
		root, problems := Parse("f", data)
		if problems == nil {
			s := defaults()
			problems = Decode("f", root, &s)
		}
		for _, p := range problems {
			if p.Line < 1 || p.Column < 1 || p.Message == "" || p.Code == "" {
				t.Errorf("problem without place or words: %+v", p)
			}
		}
	})
}
