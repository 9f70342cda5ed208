package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/connector/catalogue"
	"github.com/erbridge/erbridge/connector/ersim"
)

// simulated runs a simulator and returns it with the path of a configuration for it.
func simulated(t *testing.T, o ersim.Options) (*ersim.Server, string) {
	t.Helper()
	o.Seed, o.AggregationWindow, o.CommandDelay = 1, -1, time.Millisecond
	sim, err := ersim.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- sim.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("simulator: %v", err)
		}
	})
	dir := t.TempDir()
	write(t, dir, "ca.pem", string(sim.CAPEM()))
	password := o.Password
	if password == "" {
		password = "admin"
	}
	write(t, dir, "pw", password)
	return sim, write(t, dir, "erbridge.yaml", fmt.Sprintf(
		"server: {url: %q, username: admin, password: {file: %s}, ca_file: %s, timeout: 1m, retries: 0}\nstore: {path: data}\n",
		sim.URL(), filepath.Join(dir, "pw"), filepath.Join(dir, "ca.pem")))
}

// nobodyThere is a configuration of a server that does not exist.
const nobodyThere = `server: {url: "https://127.0.0.1:1", username: admin, password: {file: pw}, retries: 0, timeout: 1s}
store: {path: data}
`

func TestAPIMistakes(t *testing.T) {
	file := write(t, t.TempDir(), "erbridge.yaml", nobodyThere)
	write(t, filepath.Dir(file), "pw", "secret")
	for _, tt := range []struct {
		name string
		line []string
		want []string
	}{
		{"unknown id", []string{"hosts-lst"}, []string{`unknown call "hosts-lst"; did you mean hosts-list`}},
		{"unknown id, words turned round", []string{"list-hosts"}, []string{"hosts-list"}},
		{"a section for an id", []string{"hosts"}, []string{"erbridge api list --section hosts"}},
		{"half a section for an id", []string{"respons"}, []string{"response"}},
		{"nothing like an id", []string{"xyzzyxyzzy"}, []string{"all are in: erbridge api list"}},
		{"unknown argument", []string{"hosts-list", "platfrm=x"}, []string{`unknown argument "platfrm"; did you mean platform?`, "erbridge api show hosts-list"}},
		{"outside of the set", []string{"hosts-list", "platform=beos"}, []string{"none of windows, linux, darwin"}},
		{"missing", []string{"alerts-notes-add"}, []string{"missing: alert_id (int), number of an alert", "missing: notes (str)"}},
		{"no value", []string{"hosts-get", "7"}, []string{`"7": expected NAME=VALUE`}},
		{"every host", []string{"distributed-add", "query=select 1", "--yes"}, []string{"no target named"}},
		{"jq on CSV", []string{"hosts-export-all", "--jq", "."}, []string{"answers with csv, not with JSON"}},
		{"jq that does not compile", []string{"hosts-count", "--jq", ".["}, []string{"--jq"}},
		{"data that is no object", []string{"hosts-list", "--data", "[1]"}, []string{"not a JSON object"}},
		{"data that is no JSON", []string{"hosts-list", "--data", "{"}, []string{"--data: not JSON"}},
		{"data that is not there", []string{"hosts-list", "--data", "@/nosuch"}, []string{"no such file"}},
		{"negative time", []string{"hosts-count", "--timeout", "-1s"}, []string{"is no time"}},
		{"method", []string{"FETCH", "/hosts"}, []string{"expected GET, POST"}},
		{"method without path", []string{"GET"}, []string{"METHOD PATH"}},
		{"method in small letters", []string{"get", "hosts"}, []string{"is not like /hosts/count"}},
		{"unknown flag", []string{"hosts-count", "--nosuch"}, []string{"unknown flag: --nosuch"}},
		{"unknown section", []string{"list", "--section", "host"}, []string{"did you mean hosts"}},
		{"unknown section, nothing like it", []string{"list", "--section", "xyzzyxyzzy"}, []string{"there are general,"}},
		{"show of nothing", []string{"show", "hosts-lst"}, []string{"did you mean hosts-list"}},
		{"format of show", []string{"show", "hosts-list", "--output", "xml"}, []string{"expected table, json or jsonl"}},
		{"output that is a folder", []string{"hosts-count", "--output", t.TempDir()}, []string{"is a folder"}},
		{"output into nowhere", []string{"hosts-count", "--output", "/nosuch/x"}, []string{"--output /nosuch/x: no file can be made in the folder /nosuch: no such file"}},
		{"output that is a device", []string{"hosts-count", "--output", os.DevNull, "--force"}, []string{"is not an ordinary file"}},
		{"data that is a folder", []string{"hosts-list", "--data", "@/"}, []string{"--data: read /: is a directory"}},
		{"data with nothing in it", []string{"hosts-list", "--data", "@" + os.DevNull}, []string{"there is nothing in it"}},
		{"data that is no text", []string{"hosts-list", "--data", "{\"searchterm\": \"\xff\"}"}, []string{"--data: not UTF-8"}},
		{"a secret with the wrong mark", []string{"users-create", "password:Hunter-2-Hunter"}, []string{`"password:[redacted]": expected NAME=VALUE`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(configVariable, file)
			_, stderr, code := erbridge(t, "", append([]string{"api"}, tt.line...)...)
			if code != exitUsage {
				t.Errorf("exit code %d", code)
			}
			for _, want := range tt.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("stderr %s\nwant %s", stderr, want)
				}
			}
		})
	}
}

func TestAPIList(t *testing.T) {
	stdout, stderr, code := erbridge(t, "", "api", "list", "--section", "alerts")
	if code != exitOK || !strings.Contains(stdout, "alerts-update") || strings.Contains(stdout, "hosts-list") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	stdout, _, _ = erbridge(t, "", "api", "list", "--output", "json")
	var calls []catalogue.Call
	if err := json.Unmarshal([]byte(stdout), &calls); err != nil || len(calls) != len(callIDs()) {
		t.Errorf("%d calls of %d, %v", len(calls), len(callIDs()), err)
	}
}

// show has something to say about every call, and its example is a command line
// that passes the checks.
func TestAPIShow(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	file := write(t, dir, "erbridge.yaml", nobodyThere)
	write(t, dir, "pw", "secret")
	write(t, dir, "FILE", "x")
	write(t, dir, "FILE.json", "{}")
	for _, id := range callIDs() {
		stdout, stderr, code := erbridge(t, "", "api", "show", id)
		c := catalogue.Find(id)
		if code != exitOK || !strings.Contains(stdout, c.Path) || !strings.Contains(stdout, c.Client[0]) {
			t.Fatalf("%s: exit code %d\n%s%s", id, code, stdout, stderr)
		}
		for _, p := range c.Params {
			if !strings.Contains(stdout, p.Name) {
				t.Errorf("%s: nothing about %s", id, p.Name)
			}
		}
		lines := strings.Split(strings.TrimSpace(stdout), "\n")
		words := strings.Fields(strings.ReplaceAll(strings.TrimPrefix(lines[len(lines)-1], "erbridge "), "--output FILE", "--output new"))
		for i := len(words) - 1; i > 0; i-- { // a value with blanks is quoted
			if strings.HasSuffix(words[i], "'") && strings.Count(words[i], "'") == 1 {
				words = append(words[:i-1], append([]string{words[i-1] + " " + words[i]}, words[i+1:]...)...)
			}
		}
		for i := range words {
			words[i] = strings.ReplaceAll(words[i], "'", "")
		}
		// Nobody listens at the address of the configuration.
		_, stderr, code = erbridge(t, "", append(words, "-c", file, "--timeout", "1ms", "--yes")...)
		if code == exitUsage {
			t.Errorf("%q: %s", words, stderr)
		}
	}
}

func TestAPICalls(t *testing.T) {
	sim, file := simulated(t, ersim.Options{})
	host := sim.Hosts()[0].Identifier
	for _, tt := range []struct {
		name string
		line []string
		code int
		want string // on stdout
		says string // on stderr
	}{
		{"by id", []string{"hosts-get", "node_id=" + host, "--jq", ".data.host_identifier"}, exitOK, host, ""},
		{"by id, with data", []string{"hosts-list", "--data", `{"limit": 1}`, "--jq", ".data.results|length"}, exitOK, "1", ""},
		{"by path", []string{"GET", "/hosts/count", "--jq", ".status"}, exitOK, `"success"`, ""},
		{"by path, small letters", []string{"get", "/hosts/count", "--jq", ".status"}, exitOK, `"success"`, ""},
		{"a reading POST by path does not ask", []string{"POST", "/hosts", "--data", `{"limit": 1}`, "--jq", ".status"}, exitOK, `"success"`, ""},
		{"an effect", []string{"hosts-tags-add", "node_id=" + host, "tag=seen", "--yes", "--jq", ".status"}, exitOK, `"success"`, ""},
		{"not found", []string{"hosts-get", "node_id=nosuch"}, exitNotFound, "", "GET /hosts/nosuch"},
		{"not found by path", []string{"GET", "/hosts/nosuch"}, exitNotFound, `"failure"`, "refused by the server; not found"},
		{"no such path", []string{"GET", "/nosuch"}, exitNotFound, "", "GET /nosuch: not found (HTTP 404): the server has no such path"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, code := erbridge(t, "", append(append([]string{"api"}, tt.line...), "-c", file)...)
			if code != tt.code || !strings.Contains(stdout, tt.want) || !strings.Contains(stderr, tt.says) {
				t.Errorf("exit code %d\nstdout %s\nstderr %s", code, stdout, stderr)
			}
		})
	}
}

func TestAPIOfAnotherEdition(t *testing.T) {
	_, file := simulated(t, ersim.Options{Profile: "4.0-community"})
	for _, line := range [][]string{{"response-status-all"}, {"GET", "/response/status/all"}, {"response-cancel", "command_id=x", "--yes"}, {"response-export", "--output", filepath.Join(t.TempDir(), "x")}} {
		_, stderr, code := erbridge(t, "", append(append([]string{"api"}, line...), "-c", file)...)
		if code != exitRefused || !strings.Contains(stderr, "not available on this server (Enterprise only)") {
			t.Errorf("%q: exit code %d\n%s", line, code, stderr)
		}
	}
}

// Nothing is sent unless a person or --yes says so.
func TestAPIAsks(t *testing.T) {
	sim, file := simulated(t, ersim.Options{})
	host := sim.Hosts()[0].Identifier
	tag := []string{"hosts-tags-add", "node_id=" + host, "tag=asked"}
	if _, stderr, code := erbridge(t, "", "api", "alerts-notes-add", "alert_id="+strconv.FormatInt(sim.Raise(ersim.AlertSpec{}), 10), "notes=x", "--yes", "-c", file); code != exitOK {
		t.Fatal(stderr)
	}
	remove := []string{"alerts-notes-delete", "alert_id=1", "note_id=1"}
	for _, tt := range []struct {
		name  string
		line  []string
		stdin string
		asks  string
		id    string
		sent  bool
	}{
		{"nobody there", tag, "", "hosts-tags-add", "hosts-tags-add", false},
		{"no", tag, "n\n", "changes something", "hosts-tags-add", false},
		{"the id is no yes", tag, "hosts-tags-add\n", sim.URL(), "hosts-tags-add", false},
		{"yes", tag, "y\n", "POST /hosts/" + host + "/tags", "hosts-tags-add", true},
		{"yes to what destroys", remove, "y\n", "cannot be brought back. Type alerts-notes-delete to go on", "alerts-notes-delete", false},
		{"the id of what destroys", remove, "alerts-notes-delete\n", sim.URL(), "alerts-notes-delete", true},
		{"by path, no", []string{"DELETE", "/hosts/" + host + "/delete"}, "y\n", "Type hosts-delete to go on", "hosts-delete", false},
		{"by path, unknown", []string{"POST", "/nosuch/call"}, "", "POST /nosuch/call may change something on " + sim.URL(), "unknown", false},
		{"read from the input, nobody left to ask", append(tag[:2:2], "--data", "@-"), `{"tag": "x"}`, "changes something", "hosts-tags-add", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := sim.Calls()[tt.id]
			_, stderr, code := erbridge(t, tt.stdin, append(append([]string{"api"}, tt.line...), "-c", file)...)
			if !strings.Contains(stderr, tt.asks) {
				t.Errorf("asks %s\nwant %s", stderr, tt.asks)
			}
			if sent := sim.Calls()[tt.id] > before; sent != tt.sent || (code == exitOK) != tt.sent {
				t.Errorf("sent: %v, exit code %d", sent, code)
			}
			if !tt.sent && !strings.Contains(stderr, "not confirmed, nothing was sent") {
				t.Errorf("stderr %s", stderr)
			}
		})
	}
}

func TestAPIRedacts(t *testing.T) {
	_, file := simulated(t, ersim.Options{Password: "correct-horse-7"})
	login := []string{"api", "auth-login", "username=admin", "password=correct-horse-7", "-c", file}
	stdout, _, code := erbridge(t, "", login...)
	if code != exitOK || !strings.Contains(stdout, `"token": "[redacted]"`) || strings.Contains(stdout, "eyJ") || !strings.Contains(stdout, `"reset_password": false`) {
		t.Errorf("exit code %d: %s", code, stdout)
	}
	if stdout, _, _ := erbridge(t, "", append(login, "--show-secrets")...); !strings.Contains(stdout, "eyJ") {
		t.Errorf("--show-secrets: %s", stdout)
	}
	if stdout, _, _ := erbridge(t, "", append(login, "--jq", ".token")...); stdout != "\"[redacted]\"\n" {
		t.Errorf("--jq: %s", stdout)
	}
	byPath := []string{"api", "POST", "/login", "--data", `{"username": "admin", "password": "correct-horse-7"}`, "--yes", "-c", file}
	if stdout, stderr, code := erbridge(t, "", byPath...); code != exitOK || strings.Contains(stdout, "eyJ") {
		t.Errorf("by path: exit code %d, %s%s", code, stdout, stderr)
	}
	const mail = "a-mail-password"
	settings := `{"email": "a@example.org", "smtpPort": "25", "smtpAddress": "mail.example.org", "password": "` + mail + `", "emailRecipients": "b@example.org"}`
	stdout, stderr, code := erbridge(t, settings, "api", "email-update", "--data", "@-", "--yes", "-c", file)
	if code != exitOK || strings.Contains(stdout+stderr, mail) {
		t.Errorf("set: exit code %d: %s%s", code, stdout, stderr)
	}
	for _, line := range [][]string{{"email-get"}, {"GET", "/email/configure"}} {
		line = append(append([]string{"api"}, line...), "-c", file)
		if stdout, _, _ := erbridge(t, "", line...); strings.Contains(stdout, mail) || !strings.Contains(stdout, `"password": "[redacted]"`) {
			t.Errorf("%q: %s", line, stdout)
		}
		if stdout, _, _ := erbridge(t, "", append(line, "--show-secrets")...); !strings.Contains(stdout, mail) {
			t.Errorf("%q --show-secrets: %s", line, stdout)
		}
	}
	kept := filepath.Join(t.TempDir(), "login.json")
	if _, stderr, code := erbridge(t, "", append(login, "--output", kept)...); code != exitOK {
		t.Fatal(stderr)
	}
	if text, err := os.ReadFile(kept); err != nil || bytes.Contains(text, []byte("eyJ")) {
		t.Errorf("in a file: %s, %v", text, err)
	}
}

// Of an answer that is cut short, refused or late nothing stays on the disk.
func TestAPIOutput(t *testing.T) {
	sim, file := simulated(t, ersim.Options{})
	dir := t.TempDir()
	path := filepath.Join(dir, "hosts.csv")
	export := []string{"api", "hosts-export-all", "--output", path, "-c", file}
	content := func() string {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(text)
	}
	left := func() (names []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	for _, kind := range []ersim.FaultKind{ersim.Truncate, ersim.HTMLAnswer, ersim.ServerError, ersim.DropAfter} {
		sim.Inject(ersim.Fault{Kind: kind, Call: "hosts-export-all", Count: -1})
		_, stderr, code := erbridge(t, "", export...)
		sim.ClearFaults()
		if code == exitOK || stderr == "" || len(left()) > 0 {
			t.Errorf("%s: exit code %d, left behind %q\n%s", kind, code, left(), stderr)
		}
	}
	if _, stderr, code := erbridge(t, "", export...); code != exitOK || !strings.Contains(stderr, path+": ") {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	whole := content()
	if len(whole) == 0 || len(left()) != 1 {
		t.Errorf("%d bytes, files %q", len(whole), left())
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	before := sim.Calls()["hosts-export-all"]
	if _, stderr, code := erbridge(t, "", export...); code != exitUsage || !strings.Contains(stderr, "--force") || sim.Calls()["hosts-export-all"] != before {
		t.Errorf("over a file: exit code %d: %s", code, stderr)
	}
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	sim.Inject(ersim.Fault{Kind: ersim.Truncate, Call: "hosts-export-all"})
	if _, _, code := erbridge(t, "", append(export, "--force")...); code == exitOK || content() != "old" || len(left()) != 1 {
		t.Errorf("a failure has touched the old file: exit code %d, %q, files %q", code, content(), left())
	}
	if _, _, code := erbridge(t, "", append(export, "--force")...); code != exitOK || content() != whole {
		t.Errorf("--force: exit code %d, %q", code, content())
	}
	sim.Inject(ersim.Fault{Kind: ersim.Truncate, Call: "hosts-count"})
	if _, _, code := erbridge(t, "", "api", "hosts-count", "--output", filepath.Join(dir, "count.json"), "-c", file); code == exitOK || len(left()) != 1 {
		t.Errorf("JSON that is cut short: exit code %d, files %q", code, left())
	}
	if _, _, code := erbridge(t, "", "api", "GET", "/hosts/nosuch", "--output", filepath.Join(dir, "host.json"), "-c", file); code == exitOK || len(left()) != 1 {
		t.Errorf("a refusal: exit code %d, files %q", code, left())
	}
}

// A server that takes the connection and says nothing, and one that sends garbage.
func TestAPIOfAServerThatDoesNotAnswer(t *testing.T) {
	for name, say := range map[string]string{"silence": "", "garbage": "\x00\x01\x02 no TLS\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				var open []net.Conn
				for {
					c, err := l.Accept()
					if err != nil {
						break
					}
					open = append(open, c)
					_, _ = c.Write([]byte(say))
				}
				for _, c := range open {
					_ = c.Close()
				}
			}()
			t.Cleanup(func() { _ = l.Close(); <-ended })
			dir := t.TempDir()
			write(t, dir, "pw", "secret")
			file := write(t, dir, "erbridge.yaml", strings.Replace(nobodyThere, "127.0.0.1:1", l.Addr().String(), 1))
			for _, line := range [][]string{{"hosts-count"}, {"GET", "/hosts/count"}, {"hosts-export-all", "--output", filepath.Join(dir, "x.csv")}} {
				_, stderr, code := erbridge(t, "", append(append([]string{"api"}, line...), "-c", file, "--timeout", "200ms")...)
				if code != exitFailed || stderr == "" {
					t.Errorf("%q: exit code %d: %s", line, code, stderr)
				}
				if _, err := os.Stat(filepath.Join(dir, "x.csv")); err == nil {
					t.Error("a file was left behind")
				}
			}
		})
	}
}

// An answer that does not come ends the wait, and an effect may have happened.
func TestAPITimeout(t *testing.T) {
	sim, file := simulated(t, ersim.Options{})
	sim.Inject(ersim.Fault{Kind: ersim.SlowPage, Call: "tags-*", Count: -1, Delay: time.Hour})
	path := filepath.Join(t.TempDir(), "tags.json")
	for _, tt := range []struct {
		call string
		line []string
		want string
	}{
		{"tags-list", []string{"tags-list", "--output", path}, "no answer within "},
		{"tags-list", []string{"GET", "/tags"}, "no answer within "},
		{"tags-add", []string{"tags-add", "tag=x", "--yes"}, "it may or may not have happened: no answer within "},
	} {
		for wait := time.Second; ; wait *= 2 { // on a busy machine, the login takes it all
			before := sim.Calls()[tt.call]
			_, stderr, code := erbridge(t, "", append(append([]string{"api"}, tt.line...), "--timeout", wait.String(), "-c", file)...)
			if sim.Calls()[tt.call] == before && wait < 10*time.Minute {
				continue
			}
			if code != exitFailed || !strings.Contains(stderr, tt.want+wait.String()) {
				t.Errorf("%q: exit code %d: %s", tt.line, code, stderr)
			}
			break
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestAPICompletion(t *testing.T) {
	for _, tt := range []struct {
		line []string
		want []string
		not  string
	}{
		{[]string{"api", "hosts-li"}, []string{"hosts-list\t"}, "hosts-get"},
		{[]string{"api", ""}, []string{"list\t", "show\t", "alerts-get\t", "GET\t"}, "\x00"},
		{[]string{"api", "hosts-list", ""}, []string{"platform=\t", "limit=\t"}, "\x00"},
		{[]string{"api", "hosts-list", "limit=1", ""}, []string{"platform=\t"}, "limit="},
		{[]string{"api", "hosts-list", "platform="}, []string{"platform=windows", "platform=linux"}, "limit"},
		{[]string{"api", "hosts-list", "platform=w"}, []string{"platform=windows"}, "platform=linux"},
		{[]string{"api", "hosts-list", "enabled="}, []string{"enabled=true", "enabled=false"}, "\x00"},
		{[]string{"api", "rules-enable", "rule_ids=1", ""}, []string{"rule_ids=\t"}, "\x00"},
		{[]string{"api", "GET", "/hosts/c"}, []string{"/hosts/count\t"}, "/alerts"},
		{[]string{"api", "nosuch", ""}, []string{":4"}, "="},
		{[]string{"api", "show", "packs-a"}, []string{"packs-add\t"}, "packs-get"},
		{[]string{"api", "list", "--section", "pa"}, []string{"packs", "passwords"}, "\x00"},
	} {
		stdout, _, _ := erbridge(t, "", append([]string{cobra.ShellCompRequestCmd}, tt.line...)...)
		for _, want := range tt.want {
			if !strings.Contains(stdout, want) {
				t.Errorf("%q: no %q in\n%s", tt.line, want, stdout)
			}
		}
		if strings.Contains(stdout, tt.not) {
			t.Errorf("%q: %q in\n%s", tt.line, tt.not, stdout)
		}
	}
}

// What cannot work is told before anybody is asked.
func TestAPIAsksLast(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "erbridge.yaml", nobodyThere) // names a password that is not there
	for _, line := range [][]string{{"tags-add", "tag=x"}, {"POST", "/tags/add"}, {"POST", "/nosuch"}} {
		_, stderr, code := erbridge(t, "y\n", append(append([]string{"api"}, line...), "-c", file)...)
		if code != exitConfig || strings.Contains(stderr, "Go on?") || !strings.Contains(stderr, "server.password cannot be read") {
			t.Errorf("%q: exit code %d: %s", line, code, stderr)
		}
	}
}

// A question that nobody answers does not stand on the line of the error.
func TestAPIQuestionEndsItsLine(t *testing.T) {
	_, file := simulated(t, ersim.Options{})
	if _, stderr, _ := erbridge(t, "", "api", "tags-add", "tag=x", "-c", file); !strings.Contains(stderr, "[y/N] \nerbridge: not confirmed") {
		t.Errorf("%q", stderr)
	}
}

// Secrets of a request are not repeated, be they in the query, deep in the body, or in
// what the server says.
func TestAPIKeepsRequestSecrets(t *testing.T) {
	_, file := simulated(t, ersim.Options{})
	for _, line := range [][]string{
		{"POST", "/email/configure?password=Hunter%2DTwo&x=1", "--data", `{"a": [{"password": "Hunter-Two"}]}`},
		{"POST", "/nosuch?password=Hunter%2DTwo"},
		{"GET", "/nosuch?password=Hunter%2DTwo&token=abc"},
		{"users-create", "username=abcdef", "email=a@example.org", "password=Hunter-Two", "first_name=A", "role=nosuch"},
		{"users-create", "username=ab", "email=a@example.org", "password=Hunter-Two", "first_name=A", "role=admin", "--yes"},
	} {
		stdout, stderr, code := erbridge(t, "", append(append([]string{"api"}, line...), "-c", file)...)
		if code == exitOK || strings.Contains(stdout+stderr, "Hunter") || strings.Contains(stderr, "abc&") || strings.Contains(stderr, "token=abc") {
			t.Errorf("%q: exit code %d: %s%s", line, code, stdout, stderr)
		}
	}
}

// Every call gives its token back, whatever came of it.
func TestAPILeavesNoToken(t *testing.T) {
	sim, file := simulated(t, ersim.Options{})
	for i, line := range [][]string{{"hosts-count"}, {"hosts-get", "node_id=nosuch"}, {"GET", "/hosts/count"}, {"GET", "/nosuch"}, {"hosts-export-all"}} {
		erbridge(t, "", append(append([]string{"api"}, line...), "-c", file)...)
		if calls := sim.Calls(); calls["auth-login"] != i+1 || calls["auth-logout"] != i+1 {
			t.Errorf("%q: %d logins, %d logouts", line, calls["auth-login"], calls["auth-logout"])
		}
	}
}

// A path has the exit codes that its id has.
func TestAPIByPathMeansTheSame(t *testing.T) {
	sim, file := simulated(t, ersim.Options{})
	for _, tt := range []struct {
		kind ersim.FaultKind
		id   string
		line []string
		code int
		says string
	}{
		{ersim.HTMLAnswer, "tags-list", []string{"GET", "/tags"}, exitFailed, "web page"},
		{ersim.ServerError, "tags-list", []string{"GET", "/tags"}, exitFailed, "server error (HTTP 500)"},
		{ersim.ServerError, "tags-add", []string{"POST", "/tags/add", "--data", `{"tag": "x"}`, "--yes"}, exitFailed, "it may or may not have happened (HTTP 500)"},
		{ersim.Truncate, "tags-list", []string{"GET", "/tags"}, exitFailed, "unexpected EOF"},
	} {
		sim.Inject(ersim.Fault{Kind: tt.kind, Call: tt.id, Count: -1})
		_, stderr, code := erbridge(t, "", append(append([]string{"api"}, tt.line...), "-c", file)...)
		sim.ClearFaults()
		if code != tt.code || !strings.Contains(stderr, tt.says) {
			t.Errorf("%s %q: exit code %d: %s", tt.kind, tt.line, code, stderr)
		}
	}
}

// A minus is standard output, and a link is not followed nor replaced.
func TestAPIOutputThatIsNoFile(t *testing.T) {
	sim, file := simulated(t, ersim.Options{})
	stdout, _, code := erbridge(t, "", "api", "hosts-count", "--output", "-", "-c", file)
	if code != exitOK || !strings.Contains(stdout, `"success"`) {
		t.Errorf("exit code %d: %s", code, stdout)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(os.DevNull, link); err != nil {
		t.Fatal(err)
	}
	before := sim.Calls()["hosts-count"]
	_, stderr, code := erbridge(t, "", "api", "hosts-count", "--output", link, "--force", "-c", file)
	if code != exitUsage || !strings.Contains(stderr, "is a link") || sim.Calls()["hosts-count"] != before {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if to, err := os.Readlink(link); err != nil || to != os.DevNull {
		t.Errorf("the link leads to %q, %v", to, err)
	}
}
