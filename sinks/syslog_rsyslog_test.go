package sinks_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/template"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/testenv"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

// rsyslogConfig writes every message as JSON into a pipe: the parts of the header,
// the parameters as mmpstrucdata reads them, and the message.
var rsyslogConfig = template.Must(template.New("").Parse(`
global(workDirectory="{{.Dir}}" net.enableDNS="off" parser.permitSlashInProgramName="on"
{{- if .Driver}}
	defaultNetstreamDriverCAFile="{{.CA}}" defaultNetstreamDriverCertFile="{{.Cert}}" defaultNetstreamDriverKeyFile="{{.Key}}"
{{- end}})
module(load="imtcp" {{if .Driver}}streamDriver.name="{{.Driver}}" streamDriver.mode="1" streamDriver.authMode="anon"{{end}})
module(load="mmpstrucdata")
template(name="json" type="list" option.jsonf="on") {
	property(outname="pri" name="pri" format="jsonf")
	property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
	property(outname="host" name="hostname" format="jsonf")
	property(outname="app" name="app-name" format="jsonf")
	property(outname="procid" name="procid" format="jsonf")
	property(outname="msgid" name="msgid" format="jsonf")
	property(outname="sd" name="$!rfc5424-sd" format="jsonf")
	property(outname="msg" name="msg" format="jsonf")
}
ruleset(name="all") {
	action(type="mmpstrucdata")
{{- if .Forward}}
	action(type="omfwd" target="127.0.0.1" port="{{.Forward}}" protocol="tcp" template="json" action.resumeInterval="1" action.resumeRetryCount="-1")
{{- else}}
	action(type="ompipe" pipe="{{.Dir}}/out" template="json")
{{- end}}
}
input(type="imtcp" address="127.0.0.1" port="{{.Port}}" listenPortFileName="{{.Dir}}/port" ruleset="all" supportOctetCountedFraming="{{if .LF}}off{{else}}on{{end}}")
`))

type rsyslogSetup struct {
	Dir, Driver, CA, Cert, Key string
	LF                         bool
	Port                       int // 0 takes a free one
	Forward                    int // a port to send the JSON to, instead of the pipe
}

// rsyslogMessage is what rsyslog understood.
type rsyslogMessage struct {
	PRI    string `json:"pri"`
	Time   string `json:"time"`
	Host   string `json:"host"`
	App    string `json:"app"`
	ProcID string `json:"procid"`
	MsgID  string `json:"msgid"`
	SD     string `json:"sd"` // JSON itself: name, parameter, value
	Msg    string `json:"msg"`
}

// startRsyslog runs rsyslogd until the test ends. It returns the address and a
// reader of the messages that have come through.
func startRsyslog(t *testing.T, setup rsyslogSetup) (address string, messages *bufio.Reader) {
	t.Helper()
	testenv.Need(t, "rsyslogd")
	var out *os.File
	setup.Dir, out = pipeFolder(t)
	setup.launch(t)
	return setup.address(t), bufio.NewReader(out)
}

// pipeFolder is a folder with the pipe out, into which a collector writes.
func pipeFolder(t *testing.T) (dir string, out *os.File) {
	t.Helper()
	dir = t.TempDir()
	pipe := filepath.Join(dir, "out")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(pipe, os.O_RDWR, 0) // for writing, too: so it never ends
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() })
	return dir, out
}

// address is where the rsyslogd listens that was launched last.
func (s *rsyslogSetup) address(t *testing.T) string {
	t.Helper()
	port, err := os.ReadFile(filepath.Join(s.Dir, "port"))
	if err != nil {
		t.Fatal(err)
	}
	return "127.0.0.1:" + strings.TrimSpace(string(port))
}

// launch runs rsyslogd until the end of the test, or until stop sends it a signal and has
// seen it end.
func (s *rsyslogSetup) launch(t *testing.T) (stop func(os.Signal)) {
	t.Helper()
	program := testenv.Need(t, "rsyslogd")[0]
	file := filepath.Join(s.Dir, "rsyslog.conf")
	config, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := rsyslogConfig.Execute(config, s); err != nil {
		t.Fatal(err)
	}
	if err := config.Close(); err != nil {
		t.Fatal(err)
	}

	// rsyslogd says when it is ready in the way of systemd (sd_notify(3)).
	socket := filepath.Join(s.Dir, "notify")
	_ = os.Remove(socket) // of the one before
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = notify.Close() }()
	var log strings.Builder
	// Not killed by the test's context, which ends before the sink is closed.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, "-n", "-iNONE", "-f", file)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+notify.LocalAddr().String())
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // ended by a signal
		close(ended)
		_ = notify.Close()
	}()
	stop = func(signal os.Signal) {
		_ = cmd.Process.Signal(signal)
		<-ended
	}
	t.Cleanup(func() {
		stop(os.Kill)
		if t.Failed() {
			t.Logf("rsyslogd: %s", log.String())
		}
	})
	for buffer := make([]byte, 4096); ; {
		n, err := notify.Read(buffer)
		if err != nil {
			t.Fatalf("rsyslogd has not come up: %v", err)
		}
		if strings.Contains(string(buffer[:n]), "READY=1") {
			return stop
		}
	}
}

func readRsyslog(t *testing.T, in *bufio.Reader) rsyslogMessage {
	t.Helper()
	line, err := in.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var m rsyslogMessage
	if err := json.Unmarshal(line, &m); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	return m
}

// rsyslogTLSDriver finds a TLS module of rsyslog, which is a package of its own.
func rsyslogTLSDriver(t *testing.T) string {
	t.Helper()
	for _, driver := range []string{"ossl", "gtls"} {
		found, err := filepath.Glob("/usr/lib*/*/rsyslog/lmnsd_" + driver + ".so")
		more, err2 := filepath.Glob("/usr/lib*/rsyslog/lmnsd_" + driver + ".so")
		if err == nil && err2 == nil && len(found)+len(more) > 0 {
			return driver
		}
	}
	if os.Getenv(testenv.RequireVariable) == "1" {
		t.Fatalf("needs rsyslog-openssl or rsyslog-gnutls, and %s=1 asks for everything", testenv.RequireVariable)
	}
	t.Skip("left out: needs rsyslog-openssl or rsyslog-gnutls, neither of which is installed")
	return ""
}

// TestSyslogIntoRsyslog sends to a real rsyslogd and reads the fields back.
func TestSyslogIntoRsyslog(t *testing.T) {
	for _, tt := range []struct {
		name    string
		tls, lf bool
		change  func(*sinks.SyslogSettings)
	}{
		{"tcp octet", false, false, func(*sinks.SyslogSettings) {}},
		{"tcp lf", false, true, func(s *sinks.SyslogSettings) { s.Framing = "lf" }},
		{"tls", true, false, func(*sinks.SyslogSettings) {}},
		{"tls cef", true, false, func(s *sinks.SyslogSettings) { s.Payload = "cef" }},
		{"tcp rfc3164 cef", false, true, func(s *sinks.SyslogSettings) { s.RFC, s.Payload = 3164, "cef" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			testenv.Need(t, "rsyslogd")
			setup := rsyslogSetup{LF: tt.lf}
			if tt.tls {
				authority := newAuthority(t)
				setup.Driver, setup.CA = rsyslogTLSDriver(t), authority.file
				setup.Cert, setup.Key = authority.leaf(t)
			}
			address, out := startRsyslog(t, setup)
			settings := syslogSettings(address)
			if tt.tls {
				settings.Transport, settings.CAFile = "tls", setup.CA
			}
			tt.change(settings)
			s := closeAfter(t, openSIEM(t, "syslog", settings))

			nasty := sinktest.Event(2)
			nasty.Alert.Severity, nasty.Alert.Host.Name = soar.SeverityCritical, "web-ünï 01"
			nasty.Alert.Rule.Name = `quote " backslash \ bracket ] end\] "" ünï 😀`
			nasty.Alert.Event["cmdline"] = "a\tb\r\nc \"]\\ ünï \u2028 \x00 \x7f \u009b =|"
			long := sinktest.Event(3)
			long.Alert.Event["cmdline"] = strings.Repeat("lang ü ", 3000)
			trouble := soar.Event{ID: "t-1", Type: soar.EventTrouble, At: sinktest.Event(1).At, Text: "sink paused"}
			events := []soar.Event{sinktest.Event(1), nasty, long, trouble}
			if err := s.Send(t.Context(), events); err != nil {
				t.Fatal(err)
			}
			for i, ev := range events {
				got := readRsyslog(t, out)
				checkRsyslog(t, settings, &events[i], got)
				if t.Failed() {
					t.Fatalf("event %s came through as %+v", ev.ID, got)
				}
			}
		})
	}
}

func checkRsyslog(t *testing.T, settings *sinks.SyslogSettings, ev *soar.Event, got rsyslogMessage) {
	t.Helper()
	equal := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s reads back as %q, want %q", what, got, want)
		}
	}
	equal("PRI", got.PRI, map[string]string{"er-1": "131", "er-2": "130", "er-3": "131", "t-1": "131"}[ev.ID])
	equal("APP-NAME", got.App, "erbridge")
	equal("PROCID", got.ProcID, fmt.Sprint(os.Getpid()))
	if ev.Alert != nil {
		want := "WIN-07"
		if ev.ID == "er-2" {
			want = "web-_n__01"
		}
		equal("HOSTNAME", got.Host, want)
	}
	if settings.RFC == 5424 {
		equal("MSGID", got.MsgID, map[soar.EventType]string{soar.EventAlertReceived: "ALERT", soar.EventTrouble: "TROUBLE"}[ev.Type])
		equal("TIMESTAMP", got.Time, ev.At.UTC().Format("2006-01-02T15:04:05.000000Z07:00"))
		var data map[string]map[string]string
		if err := json.Unmarshal([]byte(got.SD), &data); err != nil {
			t.Fatalf("%v in %q", err, got.SD)
		}
		params := data["erbridge@32473"]
		equal("event_id", params["event_id"], ev.ID)
		if ev.Alert != nil {
			for name, want := range map[string]string{
				"alert_id": ev.Alert.ID, "server": "er", "severity": string(ev.Alert.Severity), "rule_id": "17", "rule": ev.Alert.Rule.Name,
				"host": ev.Alert.Host.Name, "host_identifier": "EC2A-7", "console_url": ev.Alert.URL,
			} {
				equal(name, params[name], want)
			}
		}
	}
	msg := strings.TrimPrefix(got.Msg, " ") // RFC 3164 has it in the message
	if settings.Payload == "cef" {
		if !strings.HasPrefix(msg, "CEF:0|EclecticIQ|Endpoint Response|") || !strings.Contains(msg, "externalId=") {
			t.Errorf("message is no CEF: %q", msg)
		}
		return
	}
	var back soar.Event
	if err := json.Unmarshal([]byte(msg), &back); err != nil {
		t.Fatalf("%v in %q", err, msg)
	}
	equal("id in JSON", back.ID, ev.ID)
	equal("text in JSON", back.Text, ev.Text)
	if ev.Alert == nil {
		return
	}
	cmdline, want := back.Alert.Event["cmdline"], ev.Alert.Event["cmdline"]
	if ev.ID == "er-3" {
		if !strings.HasSuffix(cmdline, "…") || !strings.HasPrefix(want, strings.TrimSuffix(cmdline, "…")) {
			t.Errorf("the long command line is not its beginning and a mark: %q", cmdline)
		}
		return
	}
	equal("command line in JSON", cmdline, want)
	equal("rule in JSON", back.Alert.Rule.Name, ev.Alert.Rule.Name)
}
