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
	"testing"
	"text/template"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/testenv"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

// syslogNGConfig writes every message as JSON into a pipe: the parts of the header, some
// parameters of the structured data, and the message.
var syslogNGConfig = template.Must(template.New("").Parse(`@version: 3.38
options { keep-hostname(yes); use-dns(no); log-msg-size(65536); stats-freq(0); };
source in {
{{- if .Old}}
	network(transport("tcp") ip("127.0.0.1") port({{.Port}}));
{{- else if .CA}}
	syslog(transport("tls") ip("127.0.0.1") port({{.Port}})
		tls(key-file("{{.Key}}") cert-file("{{.Cert}}") ca-file("{{.CA}}") peer-verify(required-trusted)));
{{- else}}
	syslog(transport("tcp") ip("127.0.0.1") port({{.Port}}));
{{- end}}
};
destination out {
	{{if .Forward}}network("127.0.0.1" transport("tcp") port({{.Forward}}) time-reopen(1){{else}}pipe("{{.Dir}}/out"{{end}} template("$(format-json pri=\"$PRI\" time=\"$ISODATE\" host=\"$HOST\" app=\"$PROGRAM\" procid=\"$PID\" msgid=\"$MSGID\"
		event_id=\"${.SDATA.erbridge@32473.event_id}\" rule=\"${.SDATA.erbridge@32473.rule}\" host_identifier=\"${.SDATA.erbridge@32473.host_identifier}\"
		msg=\"$MESSAGE\")\n"));
};
log { source(in); destination(out); };
`))

type syslogNGSetup struct {
	Dir, CA, Cert, Key string
	Port               int
	Forward            int  // a port to send the JSON to, instead of the pipe
	Old                bool // RFC 3164, a line for each message
}

// syslogNGMessage is what syslog-ng understood.
type syslogNGMessage struct {
	PRI            string `json:"pri"`
	Time           string `json:"time"`
	Host           string `json:"host"`
	App            string `json:"app"`
	ProcID         string `json:"procid"`
	MsgID          string `json:"msgid"`
	EventID        string `json:"event_id"`
	Rule           string `json:"rule"`
	HostIdentifier string `json:"host_identifier"`
	Msg            string `json:"msg"`
}

// launch runs syslog-ng until the end of the test, or until stop sends it a signal and has
// seen it end.
func (s *syslogNGSetup) launch(t *testing.T) (stop func(os.Signal)) {
	t.Helper()
	program := testenv.Need(t, "syslog-ng")[0]
	file := filepath.Join(s.Dir, "syslog-ng.conf")
	config, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := syslogNGConfig.Execute(config, s); err != nil {
		t.Fatal(err)
	}
	if err := config.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, "--foreground", "--no-caps", "--stderr", "--verbose",
		"--cfgfile", file, "--persist-file", filepath.Join(s.Dir, "persist"), "--pidfile", filepath.Join(s.Dir, "pid"), "--control", filepath.Join(s.Dir, "control"))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready, ended := make(chan struct{}), make(chan struct{})
	var log strings.Builder // written until ended is closed
	go func() {
		defer close(ended)
		up := false
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			fmt.Fprintln(&log, lines.Text())
			if !up && strings.Contains(lines.Text(), "syslog-ng starting up") {
				up = true
				close(ready)
			}
		}
		_ = cmd.Wait() // ended by a signal
	}()
	stop = func(signal os.Signal) {
		_ = cmd.Process.Signal(signal)
		<-ended
	}
	t.Cleanup(func() {
		stop(os.Kill)
		if t.Failed() {
			t.Logf("syslog-ng: %s", log.String())
		}
	})
	select {
	case <-ready:
	case <-ended:
		t.Fatal("syslog-ng has not come up")
	}
	return stop
}

// freePort is a port of the loopback that nobody listens at.
func freePort(t *testing.T) int {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// TestSyslogIntoSyslogNG sends to a real syslog-ng and reads the fields back.
func TestSyslogIntoSyslogNG(t *testing.T) {
	testenv.Need(t, "syslog-ng")
	for _, tt := range []struct {
		name     string
		tls, old bool
		change   func(*sinks.SyslogSettings)
		message  string // the beginning of it
	}{
		{"tcp json", false, false, func(*sinks.SyslogSettings) {}, `{"id":"er-1",`},
		{"tcp leef", false, false, func(s *sinks.SyslogSettings) { s.Format, s.Framing = "leef", "octet" }, "LEEF:2.0|EclecticIQ|Endpoint Response|"},
		{"tcp ocsf", false, false, func(s *sinks.SyslogSettings) { s.Format = "ocsf" }, `{"action":"Allowed",`},
		{"tls with a client certificate, cef", true, false, func(s *sinks.SyslogSettings) { s.Format = "cef" }, "CEF:0|EclecticIQ|Endpoint Response|"},
		{"tcp rfc3164 text", false, true, func(s *sinks.SyslogSettings) { s.RFC, s.Format = 3164, "text" }, "Shadow copies deleted on WIN-07"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			setup := syslogNGSetup{Port: freePort(t), Old: tt.old}
			var out *os.File
			setup.Dir, out = pipeFolder(t)
			settings := syslogSettings(fmt.Sprintf("127.0.0.1:%d", setup.Port))
			settings.Payload, settings.Format = "", "json"
			if tt.tls {
				authority := newAuthority(t)
				setup.CA = authority.file
				setup.Cert, setup.Key = authority.leaf(t)
				settings.Transport, settings.CAFile = "tls", authority.file
				settings.CertFile, settings.KeyFile = authority.leaf(t)
			}
			setup.launch(t)
			tt.change(settings)
			s := closeAfter(t, openSIEM(t, "syslog", settings))
			nasty := sinktest.Event(1)
			nasty.Alert.Rule.Name = `quote " backslash \ bracket ] end\] "" ünï 😀`
			events := []soar.Event{sinktest.Event(1), nasty}
			if err := s.Send(t.Context(), events); err != nil {
				t.Fatal(err)
			}
			in := bufio.NewReader(out)
			for i := range events {
				line, err := in.ReadBytes('\n')
				if err != nil {
					t.Fatal(err)
				}
				var got syslogNGMessage
				if err := json.Unmarshal(line, &got); err != nil {
					t.Fatalf("%v in %s", err, line)
				}
				want := syslogNGMessage{
					PRI: "131", Host: "WIN-07", App: "erbridge", ProcID: fmt.Sprint(os.Getpid()), MsgID: "ALERT",
					EventID: "er-1", Rule: events[i].Alert.Rule.Name, HostIdentifier: "EC2A-7", Time: got.Time, Msg: got.Msg,
				}
				if tt.old { // which has no such fields
					want.MsgID, want.EventID, want.Rule, want.HostIdentifier = "", "", "", ""
				}
				if got != want {
					t.Errorf("read back\n%+v, want\n%+v", got, want)
				}
				if i == 0 && !strings.HasPrefix(got.Msg, tt.message) {
					t.Errorf("the message is %q, want it to begin with %q", got.Msg, tt.message)
				}
			}
		})
	}
}
