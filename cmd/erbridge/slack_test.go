package main

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/sinks/sinksim"
)

func TestSlackManifest(t *testing.T) {
	var forms []string
	for _, form := range []string{"yaml", "json"} {
		out, errs, code := erbridge(t, "", "slack", "manifest", "--name", `soc: "bot"`, "-o", form)
		if code != 0 {
			t.Fatal(errs)
		}
		var app any
		if err := yaml.Unmarshal([]byte(out), &app); err != nil { // JSON is YAML
			t.Fatalf("%s: %v\n%s", form, err, out)
		}
		data, err := json.Marshal(app)
		if err != nil {
			t.Fatal(err)
		}
		forms = append(forms, string(data))
	}
	if forms[0] != forms[1] {
		t.Errorf("they say different things:\n%s\n%s", forms[0], forms[1])
	}
	for _, want := range []string{`"socket_mode_enabled":true`, `"interactivity":{"is_enabled":true}`, `"chat:write"`, `"name":"soc: \"bot\""`} {
		if !strings.Contains(forms[0], want) {
			t.Errorf("no %s in %s", want, forms[0])
		}
	}
	if _, _, code := erbridge(t, "", "slack", "manifest", "--name", strings.Repeat("x", 36)); code != exitUsage {
		t.Errorf("exit code %d for a name that Slack refuses", code)
	}
}

func TestSlackTest(t *testing.T) {
	sim := sinksim.NewSlack(sinksim.SlackOptions{})
	srv := httptest.NewServer(sim)
	defer srv.Close()
	dir := t.TempDir()
	write(t, dir, "bot", "xoxb-demo\n")
	write(t, dir, "app", "xapp-demo\n")
	config := func(channel string) string {
		return write(t, dir, "erbridge.yaml", `
server: {url: "https://127.0.0.1:1", username: admin, password: {file: pw}}
people: {ann: {slack: U0123}}
sinks:
  screen: {type: stdout}
  soc: {type: slack, token: {file: bot}, app_token: {file: app}, channel: "`+channel+`", api_url: "`+srv.URL+`/api", interval: 0s}
store: {path: data}
`)
	}
	out, errs, code := erbridge(t, "", "slack", "test", "-c", config("#soc"))
	if code != 0 || !strings.Contains(out, "ok      socket") || !strings.Contains(out, "1 linked: their clicks count") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	out, errs, code = erbridge(t, "", "slack", "test", "soc", "-c", config("#nowhere"))
	if code != exitRefused || !strings.Contains(out, "FAILED  post") || !strings.Contains(errs, "/invite the bot") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if _, errs, code = erbridge(t, "", "slack", "test", "screen", "-c", config("#soc")); code != exitUsage || !strings.Contains(errs, `"screen" is of type stdout: test it with erbridge sinks test screen`) {
		t.Errorf("exit code %d: %s", code, errs)
	}
}
