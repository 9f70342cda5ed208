package actions

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks"
)

// source makes the source of a step from literal arguments; those named dynamic
// are computed at run time. Argument n, by name, stands on line 10+n.
func source(t *testing.T, with map[string]any, dynamic ...string) playbooks.StepSource {
	t.Helper()
	step := playbooks.StepSource{
		At:      registry.Position{File: "p.yaml", Line: 9, Column: 3},
		With:    map[string]json.RawMessage{},
		Dynamic: map[string]bool{},
		Places:  map[string]registry.Position{},
	}
	names := append(slices.Collect(maps.Keys(with)), dynamic...)
	slices.Sort(names)
	for i, name := range names {
		step.Places[name] = registry.Position{File: "p.yaml", Line: 10 + i, Column: 5}
	}
	for name, value := range with {
		raw, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		step.With[name] = raw
	}
	for _, name := range dynamic {
		step.Dynamic[name] = true
	}
	return step
}

type object = map[string]any

func TestCheck(t *testing.T) {
	all := All(Deps{Sinks: []string{"soc-slack", "splunk"}})
	for _, tt := range []struct {
		name, action string
		with         object
		dynamic      []string
		want         string // problems as place: message, one line each
	}{
		{"fine", "process.kill", object{"host": "H", "pid": 12, "name": "x"}, nil, ""},
		{"pid as text", "process.kill", object{"host": "H", "pid": "12", "name": "x"}, nil, ""},
		{"everything computed", "process.kill", nil, []string{"host", "pid", "name"}, ""},
		{"nothing given", "process.kill", nil, nil, `9:3: argument "host" is required
9:3: argument "name" is required
9:3: argument "pid" is required`},
		{"one missing beside computed ones", "process.kill", nil, []string{"host", "pid"}, `9:3: argument "name" is required`},
		{"wrong type", "process.kill", object{"host": "H", "pid": "x", "name": 7}, nil, `11:5: name: expected a text, found the number 7
12:5: pid: expected a whole number above 0, found "x"`},
		{"pid 0", "process.kill", object{"host": "H", "pid": 0, "name": "x"}, nil, `12:5: pid: expected a whole number above 0, found "0"`},
		{"broken pid", "process.kill", object{"host": "H", "pid": 1.5, "name": "x"}, nil, `12:5: pid: expected a whole number above 0, found "1.5"`},
		{"list as pid", "process.kill", object{"host": "H", "pid": []any{1}, "name": "x"}, nil, `12:5: pid: expected a whole number above 0, found "something else"`},
		{"a folder as program", "process.kill", object{"host": "H", "pid": 12, "name": `C:\Temp\`}, nil, `11:5: name: "C:\\Temp\\" names a folder`},
		{"NUL in a path", "file.delete", object{"host": "H", "path": "/tmp/a\x00b"}, nil, "11:5: path: holds the character NUL, which the server cannot take"},
		{"NUL within", "live.query", object{"hosts": []any{"H"}, "sql": "select :a", "params": object{"a": []any{"\x00"}}}, nil,
			"11:5: params: parameter :a: text with a NUL cannot be an SQL value"},
		{"NUL in a note, which is spelled out", "alert.note", object{"text": "a\x00b"}, nil, ""},
		{"direction turned in a host", "host.get", object{"host": "A\u202eB"}, nil, `10:5: host: "A\u202eB" is not a host identifier`},
		{"unknown key", "host.get", object{"host": "H", "hots": "x"}, nil, `11:5: unknown argument "hots"`},
		{"unknown computed key", "host.get", object{"host": "H"}, []string{"hots"}, `11:5: unknown argument "hots"`},
		{"empty", "host.get", object{"host": ""}, nil, "10:5: host: is empty"},
		{"two hosts in one", "host.contain", object{"host": "A,B"}, nil, `10:5: host: "A,B" is not a host identifier`},
		{"host with a path", "host.get", object{"host": "../users"}, nil, `10:5: host: "../users" is not a host identifier`},
		{"host by number", "host.get", object{"host": 7}, nil, ""},
		{"host by number where the identifier is due", "host.contain", object{"host": 7}, nil, "10:5: host: expected a text, found the number 7"},
		{"word outside of the enum", "host.contain", object{"host": "H", "direction": "both"}, nil, `10:5: direction: unknown value "both"`},
		{"ports", "host.contain", object{"host": "H", "local_port": "80-90", "remote_port": "90-80"}, nil,
			`12:5: remote_port: expected a port from 1 to 65535, or a range such as 135-139, found "90-80"`},
		{"cutting off the agent", "host.contain", object{"host": "H", "direction": "out"}, nil,
			"10:5: direction: this would cut off the agent from the server, too, and nothing could release the host"},
		{"one port outwards", "host.contain", object{"host": "H", "direction": "out", "remote_port": "445"}, nil, ""},
		{"md5", "file.delete", object{"host": "H", "path": "/x", "md5": "xyz"}, nil, `11:5: md5: expected 32 hex digits, found "xyz"`},
		{"computed script", "script.run", object{"host": "H", "kind": "shell"}, []string{"content"},
			"10:5: content: a script must not be put together from values of an alert"},
		{"script of no kind", "script.run", object{"host": "H", "content": "id"}, nil, `9:3: argument "kind" is required`},
		{"custom scan without path", "defender.scan", object{"host": "H", "kind": "custom"}, nil, "9:3: path: a custom scan needs a path"},
		{"quick scan with path", "defender.scan", object{"host": "H", "path": "/x"}, nil, "11:5: path: only a custom scan has a path"},
		{"custom scan with computed path", "defender.scan", object{"host": "H", "kind": "custom"}, []string{"path"}, ""},
		{"wildcard", "carve.file", object{"host": "H", "path": "/etc/%%"}, nil, "11:5: path: a path with % or * may name many files"},
		{"tag with comma", "host.tag", object{"host": "H", "tag": "a,b"}, nil,
			`11:5: tag: tag "a,b": invalid argument: only letters, digits and _ @ . - are allowed`},
		{"unknown sink", "notify.send", object{"sink": "soc-slak", "text": "x"}, nil, `10:5: sink: unknown sink "soc-slak"`},
		{"computed sink", "notify.send", object{"text": "x"}, []string{"sink"}, ""},
		{"verdict", "alert.resolve", object{"verdict": "maybe"}, nil, `10:5: verdict: unknown value "maybe"`},
		{"query", "live.query", object{"sql": "select :a", "params": object{"a": 1}, "hosts": []any{"H"}}, nil, ""},
		{"query with computed values", "live.query", object{"sql": "select :a"}, []string{"params", "hosts"}, ""},
		{"query without target", "live.query", object{"sql": "select 1"}, nil, "9:3: hosts: names no host to ask"},
		{"query for all and some", "live.query", object{"sql": "select 1", "all_hosts": true, "tags": []any{"x"}}, nil, "10:5: all_hosts: excludes hosts and tags"},
		{"query that deletes", "live.query", object{"sql": "delete from users", "hosts": []any{"H"}}, nil,
			`11:5: sql: expected a select statement, found "delete"`},
		{"computed statement", "live.query", object{"hosts": []any{"H"}}, []string{"sql"}, "11:5: sql: a statement must not be put together from values of an alert"},
		{"missing value", "live.query", object{"sql": "select :a", "hosts": []any{"H"}}, nil, "9:3: params: parameter :a has no value"},
		{"empty host in a list", "live.query", object{"sql": "select 1", "hosts": []any{"H", ""}}, nil, "10:5: hosts: is empty"},
		{"request", "http.request", object{"url": "https://x/", "auth": object{"env": "X"}}, nil, ""},
		{"computed secret", "http.request", object{"url": "https://x/"}, []string{"auth"}, "10:5: auth: a secret cannot be computed"},
		{"secret in the clear", "http.request", object{"url": "http://x/", "auth": object{"env": "X"}}, nil,
			"11:5: url: auth needs https: the secret would be sent in the clear"},
		{"secret as text", "http.request", object{"url": "https://x/", "auth": "hunter2"}, nil,
			"10:5: auth: expected a secret: {env: NAME}, {file: path} or {credential: name}, not the value itself"},
		{"password in the URL", "http.request", object{"url": "https://u:hunter2@x/"}, nil, "10:5: url: user name and password do not belong into a URL; use auth"},
		{"other scheme", "http.request", object{"url": "file:///etc/passwd"}, nil, `10:5: url: expected http:// or https://, found scheme "file"`},
		{"header with a line break", "http.request", object{"url": "https://x", "headers": object{"A": "b\r\nC: d"}}, nil,
			`10:5: headers: "A" is not a header that can be sent`},
		{"body of a GET", "http.request", object{"url": "https://x", "method": "GET", "body": object{}}, nil, "10:5: body: a GET request has no body"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var lines []string
			for _, p := range all[tt.action].Check("p.yaml", source(t, tt.with, tt.dynamic...)) {
				lines = append(lines, fmt.Sprintf("%d:%d: %s", p.Line, p.Column, p.Message))
				if strings.Contains(p.Error(), "hunter2") {
					t.Errorf("the secret stands in %q", p.Error())
				}
			}
			slices.Sort(lines)
			if got := strings.Join(lines, "\n"); got != tt.want {
				t.Errorf("Check\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

// Every action must be fit for the reference pages and for lint without a server.
func TestSpecs(t *testing.T) {
	all := All(Deps{})
	if len(all) < 18 {
		t.Errorf("there are %d actions", len(all))
	}
	for name, action := range all {
		spec := action.Spec()
		if spec.Name != name || spec.Summary == "" || spec.Example == "" || spec.Input == nil || spec.Timeout <= 0 && name != playbooks.CallAction {
			t.Errorf("%s: incomplete spec %+v", name, spec)
		}
		if !slices.Contains([]playbooks.Effect{playbooks.Reads, playbooks.Repeatable, playbooks.Once}, spec.Effect) {
			t.Errorf("%s: effect %q", name, spec.Effect)
		}
		if spec.Inverse != "" && all[spec.Inverse] == nil {
			t.Errorf("%s: there is no inverse %q", name, spec.Inverse)
		}
		if registry.Schema(spec.Input, nil) == nil {
			t.Errorf("%s: no schema", name)
		}
		if slices.Contains([]string{"notify.send", "approval.ask", "http.request", "sleep", "wait.until", playbooks.CallAction}, name) {
			continue
		}
		_, err := action.Do(t.Context(), playbooks.Call{With: map[string]any{}})
		if err == nil || err.Error() != "no server is configured" {
			t.Errorf("%s without a server: %v", name, err)
		}
	}
}

// The examples are what users copy: they must pass lint.
func TestExamples(t *testing.T) {
	all := All(Deps{})
	for name, action := range all {
		text := "playbook: example\nsteps:\n  - id: before\n    do: host.contain\n    with: {host: H}\n  - " +
			strings.ReplaceAll(strings.TrimSpace(action.Spec().Example), "\n", "\n    ")
		text = strings.ReplaceAll(text, ".steps.contain.", ".steps.before.")
		pb, problems := playbooks.Parse("example.yaml", []byte(text), all)
		if err := problems.Err(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
			continue
		}
		if name == playbooks.CallAction { // it has become a step with the key call
			continue
		}
		if step := pb.Steps()[1]; step.Action != name || step.Effect != action.Spec().Effect {
			t.Errorf("%s: the example is of %s", name, step.Action)
		}
	}
}

// The reference pages are made of the comments on arguments and outputs, so every
// one of them has a comment.
func TestEverySettingIsDocumented(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	documented := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			field, ok := n.(*ast.Field)
			if !ok || field.Tag == nil {
				return true
			}
			if len(field.Names) == 0 { // its fields are documented where they stand
				return true
			}
			if documented++; strings.TrimSpace(field.Doc.Text()) == "" {
				t.Errorf("%s: %s has no comment", name, field.Names[0].Name)
			}
			return true
		})
	}
	if documented < 50 {
		t.Errorf("found %d settings only", documented)
	}
}

// Values that come out of jq are plain JSON, and a null or an empty text must
// never become a call without a target.
func TestEvaluatedArguments(t *testing.T) {
	for _, tt := range []struct {
		name string
		with object
		want string
	}{
		{"fine", object{"host": "H", "pid": 12.0, "name": "x"}, ""},
		{"pid as text", object{"host": "H", "pid": "12", "name": "x"}, ""},
		{"null", object{"host": nil, "pid": 12.0, "name": "x"}, "host: expected a text, found nothing"},
		{"empty", object{"host": "", "pid": 12.0, "name": " "}, "host: is empty\nname: is empty"},
		{"missing", object{"host": "H"}, "argument \"name\" is required\nargument \"pid\" is required"},
		{"unknown", object{"host": "H", "pid": 1.0, "name": "x", "force": true}, `unknown argument "force"`},
		{"huge pid", object{"host": "H", "pid": 1e300, "name": "x"}, `pid: expected a whole number above 0, found "1e+300"`},
		{"line break in the host", object{"host": "H\nX", "pid": 1.0, "name": "x"}, `host: "H\nX" is not a host identifier`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := evaluatedArguments(tt.with)
			var in ProcessKill
			a.decode(&in)
			if got := errorText(a.err()); got != tt.want {
				t.Errorf("got %s\nwant %s", got, tt.want)
			}
		})
	}
}

// Whatever comes out of jq, decoding does not panic, and what it takes is fit to
// be sent.
func FuzzEvaluatedArguments(f *testing.F) {
	f.Add(`{"host": "H", "pid": 1, "name": "x"}`)
	f.Add(`{"host": {"a": [1, null, {"b": 2.5e300}]}, "": false}`)
	f.Fuzz(func(t *testing.T, text string) {
		var with map[string]any
		if json.Unmarshal([]byte(text), &with) != nil {
			return
		}
		a := evaluatedArguments(with)
		var in ProcessKill
		a.decode(&in)
		if a.err() == nil && (in.Host == "" || strings.ContainsAny(string(in.Host), ", \n") || in.PID <= 0 || strings.TrimSpace(in.Name) == "") {
			t.Errorf("takes %s as %+v", text, in)
		}
	})
}

// A value that is missing must not widen what a call is about.
func TestEmptyArgumentsThatNarrow(t *testing.T) {
	all := All(Deps{})
	for _, tt := range []struct{ action, with, argument string }{
		{"host.contain", `host: h, remote_address: ""`, "remote_address"},
		{"host.contain", `host: h, direction: out, remote_address: 203.0.113.7, application: ""`, "application"},
		{"host.contain", `host: h, remote_port: ""`, "remote_port"},
		{"host.contain", `host: h, local_port: ""`, "local_port"},
		{"host.release", `host: h, rule: ""`, "rule"},
		{"host.list", `search: ""`, "search"},
		{"host.list", `tags: []`, "tags"},
		{"host.activity", `host: h, query: q, search: ""`, "search"},
		{"process.children", `guid: g, host: ""`, "host"},
		{"carve.list", `host: ""`, "host"},
		{"ioc.remove", `list: l, values: []`, "values"},
		{"yara.remove", `file: a.yar, platforms: []`, "platforms"},
	} {
		text := "playbook: p\nsteps: [{do: " + tt.action + ", with: {" + tt.with + "}}]\n"
		if _, problems := playbooks.Parse("p.yaml", []byte(text), all); len(problems) != 1 || !strings.Contains(problems.Error(), tt.argument+": is empty") {
			t.Errorf("%s with %s: %v", tt.action, tt.with, problems)
		}
	}
}
