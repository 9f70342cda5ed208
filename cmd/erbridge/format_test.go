package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
)

const previewConfig = `
server: {url: "https://127.0.0.1:1", username: admin, password: {file: absent}}
playbooks: {dir: playbooks}
sinks:
  qradar: {type: syslog, address: "siem.example.org:514", format: leef, app_name: bridge}
  mine: {type: syslog, address: "siem.example.org:514", format: template, template: '"host \(.alert.host.name)"'}
  screen: {type: stdout, color: never}
  ocsf: {type: file, path: /var/log/erbridge/ocsf.ndjson, format: ocsf}
  chat: {type: slack, token: {file: absent}, channel: "#soc"}
store: {path: data}
`

func TestFormatPreview(t *testing.T) {
	dir := t.TempDir()
	config := write(t, dir, "erbridge.yaml", previewConfig)
	write(t, dir, "playbooks/note.yaml", goodPlaybook)
	storeRuns(t, dir, soar.Alert{Server: "er", ID: "8", Source: "rule", Severity: soar.SeverityLow, Status: soar.StatusOpen, Host: soar.Host{Name: "WIN-8"}, Rule: &soar.Rule{ID: 8, Name: "Eight"}})
	alert := write(t, dir, "alert.json", `{"server": "er", "id": "7", "severity": "high", "status": "open", "source": "rule", "type": "rule",
		"rule": {"id": 3, "name": "Miner"}, "host": {"name": "WIN-1"}, "event": {"cmdline": "a\nb", "pid": "77"}}`)
	event := write(t, dir, "event.json", `{"id": "t-1", "type": "trouble", "at": "2026-11-22T03:22:30Z", "text": "sink paused"}`)
	for _, tt := range []struct {
		name   string
		line   []string
		code   int
		stdout string // all of it, or its beginning when that ends in …
		stderr string // part of it
	}{
		{"format", []string{"--file", alert, "--format", "text"}, exitOK, "Miner on WIN-1: a b\n", ""},
		{"alert of the store", []string{"--alert", "er-8", "--format", "text", "-c", config}, exitOK, "Eight on WIN-8\n", ""},
		{"alert that is not there", []string{"--alert", "er-9", "--format", "text", "-c", config}, exitNotFound, "", "er-9"},
		{"another event", []string{"--file", alert, "--format", "text", "--event", "step.finished"}, exitOK, "host.contain verified on WIN-1: contained WIN-1\n", ""},
		{"whole event", []string{"--file", event, "--format", "text"}, exitOK, "sink paused\n", ""},
		{"template", []string{"--file", alert, "--template", `"\(.alert.id) \(.alert.event.cmdline)"`}, exitOK, `7 a\nb` + "\n", ""},
		{"LEEF", []string{"--file", alert, "--format", "leef"}, exitOK, "LEEF:2.0|EclecticIQ|Endpoint Response|unknown|rule:3|x09|cat=rule\t…", ""},
		{"sink", []string{"--file", alert, "--sink", "qradar", "-c", config}, exitOK, "<131>1 …", ""},
		{"sink with a template", []string{"--file", alert, "--sink", "mine", "-c", config}, exitOK, "<131>1 …", ""},
		{"sink that prints", []string{"--file", event, "--sink", "screen", "-c", config}, exitOK, "…", ""},
		{"sink of a kind", []string{"--file", event, "--sink", "ocsf", "-c", config}, exitOK, `{"activity_id":99,…`, ""},
		{"sink for people", []string{"--file", alert, "--sink", "chat", "-c", config}, exitFailed, "", "erbridge sinks test chat sends it an event"},
		{"sink that is not there", []string{"--file", alert, "--sink", "qrdar", "-c", config}, exitNotFound, "", `sink "qrdar"`},
		{"no form", []string{"--file", alert, "--event", "telemetry", "--format", "asim"}, exitFailed, "", "use json"},
		{"template of nothing", []string{"--file", alert, "--template", ".text"}, exitFailed, "", "it made null, expected a text or an object"},
		{"template with a mistake", []string{"--file", alert, "--template", `.alert | nope`}, exitUsage, "", "--template: "},
		{"no alert", []string{"--format", "text"}, exitUsage, "", "--alert"},
		{"no format", []string{"--file", alert}, exitUsage, "", "erbridge format list shows the formats"},
		{"two formats", []string{"--file", alert, "--format", "ecs", "--sink", "x"}, exitUsage, "", "--format and --sink exclude each other"},
		{"unknown format", []string{"--file", alert, "--format", "xml"}, exitUsage, "", "expected asim, cef, "},
		{"unknown event", []string{"--file", alert, "--format", "ecs", "--event", "x"}, exitUsage, "", "expected alert.received"},
		{"event of an event", []string{"--file", event, "--format", "ecs", "--event", "test"}, exitUsage, "", "holds an event of type trouble"},
		{"file that is not there", []string{"--file", filepath.Join(dir, "absent"), "--format", "ecs"}, exitNotFound, "", "absent"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, code := erbridge(t, "", append([]string{"format", "preview"}, tt.line...)...)
			begin, isBegin := strings.CutSuffix(tt.stdout, "…")
			if code != tt.code || !isBegin && stdout != tt.stdout || !strings.HasPrefix(stdout, begin) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("exit code %d, want %d\nstdout %q, want %q\nstderr %q, want %q", code, tt.code, stdout, tt.stdout, stderr, tt.stderr)
			}
		})
	}
	stdout, _, code := erbridge(t, "", "format", "list", "--output", "json", "--jq", ".[].format")
	if code != exitOK || !strings.Contains(stdout, `"ocsf"`) || !strings.Contains(stdout, `"template"`) {
		t.Errorf("format list: %d, %s", code, stdout)
	}
}

// Every type of event has a sample, and every format takes the samples.
func TestFormatPreviewOfQuestions(t *testing.T) {
	alert := write(t, t.TempDir(), "alert.json", `{"server": "er", "id": "7", "severity": "high", "status": "open", "host": {"name": "WIN-1"}}`)
	for kind, want := range map[string]string{
		"approval.requested": "May playbook example do host.contain on WIN-1?",
		"approval.decided":   "approval example is approved: May playbook example do host.contain on WIN-1?",
		"undo.soon":          "host.contain on WIN-1",
	} {
		stdout, stderr, code := erbridge(t, "", "format", "preview", "--file", alert, "--event", kind, "--format", "text")
		if code != exitOK || !strings.Contains(stdout, want) {
			t.Errorf("%s: exit code %d, %q, %q; want %q", kind, code, stdout, stderr, want)
		}
	}
}

func TestFormatPreviewOfEveryEvent(t *testing.T) {
	alert := write(t, t.TempDir(), "alert.json", `{"server": "er", "id": "7", "severity": "high", "status": "open", "host": {"name": "WIN-1"}, "event": {"path": "/bin/sh"}}`)
	for _, kind := range eventTypes() {
		for _, format := range []string{"json", "ecs", "ocsf", "cef", "leef", "cim", "asim", "udm", "text"} {
			stdout, stderr, code := erbridge(t, "", "format", "preview", "--file", alert, "--event", kind, "--format", format)
			if kind == "telemetry" && format == "asim" {
				continue
			}
			if code != exitOK || strings.Count(stdout, "\n") != 1 || stdout == "\n" {
				t.Errorf("%s as %s: exit code %d, %q, %q", kind, format, code, stdout, stderr)
			}
		}
	}
}
