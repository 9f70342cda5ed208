package ersim

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// outputs reads frames of a live response until the server closes.
func (l *live) outputs(conn *websocket.Conn) (frames []obj) {
	l.t.Helper()
	for {
		kind, text, err := conn.ReadMessage()
		if err != nil {
			return frames
		}
		var frame obj
		if err := json.Unmarshal(text, &frame); err != nil || kind != websocket.BinaryMessage {
			l.t.Fatalf("frame %d %s: %v", kind, text, err)
		}
		frames = append(frames, frame)
	}
}

// dialOutput opens the websocket of live responses.
func (l *live) dialOutput(command string) *websocket.Conn {
	l.t.Helper()
	conn := l.socket("/esp-ui/websocket/action/result")
	if err := conn.WriteMessage(websocket.TextMessage, []byte(command)); err != nil {
		l.t.Fatal(err)
	}
	if kind, text, err := conn.ReadMessage(); err != nil || kind != websocket.TextMessage || !strings.HasSuffix(string(text), command) {
		l.t.Fatalf("ack %d %s %v", kind, text, err)
	}
	return conn
}

func (l *live) live(content string) string {
	l.t.Helper()
	out := l.call("POST", "/response/live_response", obj{"host_identifier": l.s.Hosts()[0].Identifier, "file_type": 2, "content": content})
	command, ok := out["command_id"].(string)
	if !ok || out["openc2_id"] == nil {
		l.t.Fatal(out)
	}
	return command
}

// TestLiveOutput: what was said before the socket opened is kept, each frame is sent
// once, and the server closes after the last.
func TestLiveOutput(t *testing.T) {
	l := newLive(t, Options{Hosts: 1, CommandDelay: time.Millisecond})
	command := l.live("echo one\necho two")
	frames := l.outputs(l.dialOutput(command))
	var said []string
	for _, f := range frames {
		said = append(said, f["status"].(string)+":"+f["data"].(string))
	}
	if got := strings.Join(said, " "); got != "received: executing:one\n executing:two\n success:" {
		t.Errorf("got %q", got)
	}
	if again := l.outputs(l.dialOutput(command)); len(again) != 0 {
		t.Errorf("again: %v", again)
	}
	if row := l.command(command); row["data"] != "one\ntwo" || row["message"] != "" {
		t.Errorf("row %v", row)
	}
	frames = l.outputs(l.dialOutput(l.live("exit 2")))
	if last := frames[len(frames)-1]; last["status"] != CommandFailure || last["message"] != "exit status 2" {
		t.Errorf("failure: %v", last)
	}
}

func TestLiveOutputExpires(t *testing.T) {
	r := newRig(t, Options{Hosts: 1})
	out := r.call("POST", "/response/live_response", obj{"host_identifier": r.s.Hosts()[0].Identifier, "file_type": "4", "content": "echo a"})
	cmd := r.s.byCmdID[out["command_id"].(string)]
	r.wait(time.Second)
	if len(cmd.output.frames) != 3 {
		t.Errorf("%d frames", len(cmd.output.frames))
	}
	r.clock.add(resultLifetime)
	r.s.Tick()
	if cmd.output != nil {
		t.Error("the frames are still there")
	}
}

func TestLiveResponseRefuses(t *testing.T) {
	r := newRig(t, Options{Hosts: 3})
	host := r.s.Hosts()[0].Identifier
	for _, body := range []obj{
		{"file_type": 2, "content": "x"}, {"host_identifier": host, "content": "x"}, {"host_identifier": host, "file_type": 5, "content": "x"},
		{"host_identifier": host, "file_type": 2},
	} {
		if w := r.send("POST", "/response/live_response", body); w.Code != 400 {
			t.Errorf("%v: %d %s", body, w.Code, w.Body)
		}
	}
	for _, who := range []string{"nosuch", host + "," + host} {
		if out := r.call("POST", "/response/live_response", obj{"host_identifier": who, "file_type": 2, "content": "x"}); out["status"] != "failure" {
			t.Errorf("%s: %v", who, out)
		}
	}
	for _, profile := range []string{"4.0-community", "2.1.2"} {
		s := newServer(t, Options{Profile: profile})
		if s.socketAt("/esp-ui/websocket/action/result") != nil {
			t.Errorf("%s has the websocket", profile)
		}
	}
}

// TestActionRecords: a removed action is gone from list, view and lookup; one that is
// under way stays.
func TestActionRecords(t *testing.T) {
	r := newRig(t, Options{Hosts: 2})
	host := r.s.Hosts()[0].Identifier
	done := r.add(obj{"target": "process", "action": "stop", "pid": "4", "actuator_id": host})
	r.wait(5 * time.Second)
	r.s.SetOnline(host, false)
	r.add(obj{"target": "process", "action": "stop", "pid": "5", "actuator_id": host})

	if out := r.call("DELETE", "/response/2/delete", nil); out["status"] != "failure" {
		t.Errorf("under way: %v", out)
	}
	r.data("DELETE", "/response/delete", obj{"openc2_ids": "1, 2, 77"})
	if rows := r.results("/response", obj{}); ids(rows) != "2" {
		t.Errorf("left: %s", ids(rows))
	}
	for _, out := range []obj{
		r.call("GET", "/response/"+done, nil), r.call("POST", "/response/view", obj{"openc2_id": 1}), r.call("DELETE", "/response/1/delete", nil),
		r.call("DELETE", "/response/delete", obj{"openc2_ids": "1"}), r.call("DELETE", "/response/77/delete", nil),
	} {
		if out["status"] != "failure" {
			t.Errorf("removed: %v", out)
		}
	}
	kind, text := r.body("POST", "/response/export", obj{"host_identifier": host})
	if kind != "text/csv; charset=utf-8" || strings.Count(text, "\r\n") != 2 || !strings.Contains(text, `"{'action': 'stop'`) {
		t.Errorf("export %s %s", kind, text)
	}
	for _, who := range []string{"nosuch", r.s.Hosts()[1].Identifier} {
		if out := r.call("POST", "/response/export", obj{"host_identifier": who}); out["status"] != "failure" {
			t.Errorf("export of %s: %v", who, out)
		}
	}
	if len(r.s.Commands()) != 2 {
		t.Error("the record of what agents were asked is gone")
	}
}

func TestDefenderSettings(t *testing.T) {
	r := newRig(t, Options{Hosts: 3})
	win, linux := r.s.Hosts()[0].Identifier, r.s.Hosts()[2].Identifier
	for _, tt := range []struct {
		path   string
		body   obj
		status int
	}{
		{"schedule-scan", obj{"scan_type": 1, "time": "9:05:0", "scan_day": 1}, 200}, // as the console sends it
		{"schedule-scan", obj{"scan_type": 2, "time": "23:59", "scan_day": "8"}, 200},
		{"schedule-scan", obj{"scan_type": 3, "time": "01:00"}, 400},
		{"schedule-scan", obj{"scan_type": 1}, 400},
		{"schedule-scan", obj{"scan_type": 2, "time": "25:00"}, 400},
		{"schedule-scan", obj{"scan_type": 2, "time": "1:00", "scan_day": "21-04-2021"}, 400},
		{"configure", obj{"action": "add/remove", "path": "x"}, 400},
		{"configure", obj{"action": "add"}, 400},
		{"configure", obj{"action": "add", "file_type": ".txt", "process": "a.exe"}, 200},
		{"status_refresh", obj{}, 200},
	} {
		tt.body["host_identifier"] = win
		if w := r.send("POST", "/defender-management/"+tt.path, tt.body); w.Code != tt.status {
			t.Errorf("%s %v: %d %s", tt.path, tt.body, w.Code, w.Body)
		}
	}
	r.wait(5 * time.Second)
	d := r.s.hosts[0].defender
	if d.ScanScheduleQuickScanTime != "09:05:00" || d.ScanScheduleTime != "23:59:00" || d.ScanScheduleDay != 8 || len(d.ExclusionProcess) != 1 {
		t.Errorf("settings %+v", d)
	}
	if !r.s.hosts[0].excluded(`c:\notes.txt`) || r.s.hosts[0].excluded(`c:\txt`) {
		t.Error("the kind of file is not left out, or too much is")
	}
	if out := r.call("POST", "/defender-management/current-settings", obj{"host_identifier": linux}); out["status"] != "failure" {
		t.Errorf("Linux: %v", out)
	}
}
