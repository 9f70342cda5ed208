package ersim

import (
	"bytes"
	"context"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// command is a host's command as the API shows it.
func (r *rig) command(id string) obj {
	r.t.Helper()
	return r.data("GET", "/response/"+id, nil).(obj)
}

func (r *rig) add(body obj) string {
	r.t.Helper()
	out := r.call("POST", "/response/add", body)
	id, ok := out["command_id"].(string)
	if !ok || len(id) != 32 || out["data"] != nil {
		r.t.Fatalf("%v: %v", body, out)
	}
	return id
}

// query runs a live query on one host and returns its rows.
func (r *rig) query(host, sql string) []row {
	r.t.Helper()
	st, err := parseSQL(sql)
	if err != nil {
		r.t.Fatal(err)
	}
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	rows, status := r.s.evaluate(&liveQuery{id: 99}, r.s.host(host), st)
	if status != 0 {
		r.t.Fatalf("%s failed on %s", sql, host)
	}
	return rows
}

func TestActionsHaveTheirEffect(t *testing.T) {
	r := newRig(t, Options{})
	r.s.Raise(AlertSpec{Host: "1", Columns: map[string]string{
		"action": actProcess, "pid": "4711", "path": `C:\Temp\Bad.exe`, "cmdline": "bad", "md5": "0123456789abcdef0123456789abcdef",
	}})
	host := r.s.Hosts()[0].Identifier
	count := func(sql string) int { return len(r.query("1", sql)) }
	const (
		process = "select pid, path from processes where pid = 4711 and path = 'C:\\Temp\\Bad.exe'"
		file    = `select path from file where path = 'C:\Temp\Bad.exe'`
		rule    = `select name from windows_firewall_rules where name = 'isolate'`
	)
	for _, tt := range []struct {
		name    string
		body    obj
		sql     string
		left    int
		status  string
		message string
	}{
		{"stop with another name", obj{"target": "process", "action": "stop", "pid": "4711", "process_name": "x.exe"}, process, 1, "failure", codeNoProc},
		{"stop with another path", obj{"target": "process", "action": "stop", "pid": "4711", "process_name": `C:\Bad.exe`}, process, 1, "failure", codeNoProc},
		{"stop", obj{"target": "process", "action": "stop", "pid": "4711", "process_name": "bad.EXE"}, process, 0, "success", ""},
		{"stop again", obj{"target": "process", "action": "stop", "pid": "4711"}, process, 0, "failure", codeNoProc},
		{"delete with another hash", obj{"target": "file", "action": "delete", "file_name": `C:\Temp\Bad.exe`, "file_hash": "00"}, file, 1, "failure", codeHash},
		{"delete, path in another case", obj{"target": "file", "action": "delete", "file_name": `c:\temp\bad.exe`,
			"file_hash": "0123456789ABCDEF0123456789abcdef"}, file, 0, "success", ""},
		{"delete again", obj{"target": "file", "action": "delete", "file_name": `C:\Temp\Bad.exe`}, file, 0, "failure", codeNoFile},
		{"contain", obj{"target": "ip_connection", "action": "contain", "rule_name": "isolate", "direction": "2"}, rule, 1, "success", ""},
		{"release another", obj{"target": "ip_connection", "action": "delete", "rule_name": "x"}, rule, 1, "failure", codeNoRule},
		{"release", obj{"target": "ip_connection", "action": "delete", "rule_name": "isolate"}, rule, 0, "success", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.body["actuator_id"] = host
			id := r.add(tt.body)
			if got := r.command(id)["status"]; got != CommandQueued {
				t.Errorf("at first it is %v", got)
			}
			r.wait(time.Second)
			got := r.command(id)
			if got["status"] != tt.status || got["message"] != tt.message || count(tt.sql) != tt.left {
				t.Errorf("got %v %v, %d rows left", got["status"], got["message"], count(tt.sql))
			}
		})
	}
}

func TestLifeOfACommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, s: newServer(t, Options{CommandDelay: time.Second})}
		r.login("admin")
		host := r.s.Hosts()[0].Identifier
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			r.s.runSchedule(ctx)
		}()
		defer func() {
			cancel()
			<-ended
		}()
		settle := func(d time.Duration) { time.Sleep(d); synctest.Wait() } // the bubble's clock

		id := r.add(obj{"target": "process", "action": "stop", "process_name": "explorer.exe", "actuator_id": host})
		settle(300 * time.Millisecond)
		if got := r.command(id)["status"]; got != CommandRunning {
			t.Errorf("after a while it is %v", got)
		}
		settle(2 * time.Second)
		if got := r.command(id)["status"]; got != CommandSuccess {
			t.Errorf("in the end it is %v", got)
		}

		r.s.SetOnline(host, false)
		id = r.add(obj{"target": "ip_connection", "action": "contain", "rule_name": "a", "actuator_id": host})
		cancelled := r.add(obj{"target": "ip_connection", "action": "contain", "rule_name": "b", "actuator_id": host})
		settle(time.Hour)
		if got := r.command(id)["status"]; got != CommandQueued {
			t.Errorf("while offline it is %v", got)
		}
		if n := r.s.Hosts()[0].Waiting; n != 2 {
			t.Errorf("%d commands wait", n)
		}
		r.data("POST", "/response/cancel", obj{"command_id": cancelled})
		r.s.SetOnline(host, true)
		settle(3 * time.Second)
		if got := r.command(id)["status"]; got != CommandSuccess {
			t.Errorf("back online it is %v", got)
		}
		if rules := r.s.Hosts()[0].Firewall; len(rules) != 1 || rules[0].Name != "a" {
			t.Errorf("a cancelled command was carried out: %v", rules)
		}
		if out := r.call("POST", "/response/cancel", obj{"command_id": id}); out["status"] != "failure" {
			t.Errorf("cancel of a finished command: %v", out)
		}

		// Offline in the middle of the work: it ends after the return.
		id = r.add(obj{"target": "ip_connection", "action": "delete", "rule_name": "a", "actuator_id": host})
		settle(200 * time.Millisecond)
		r.s.SetOnline(host, false)
		settle(time.Minute)
		if got := r.command(id)["status"]; got != CommandRunning {
			t.Errorf("offline at work it is %v", got)
		}
		r.s.SetOnline(host, true)
		settle(time.Second)
		if got := r.command(id)["status"]; got != CommandSuccess {
			t.Errorf("after the work it is %v", got)
		}

		r.s.SetResponseEnabled(host, false)
		id = r.add(obj{"target": "process", "action": "stop", "pid": "4", "actuator_id": host})
		settle(2 * time.Second)
		if got := r.command(id); got["status"] != CommandFailure || got["message"] != codeDisabled {
			t.Errorf("disabled: %v", got)
		}
		status := r.call("POST", "/response/status", obj{"host_identifier": host})
		if status["responseEnabled"] != false || status["endpointOnline"] != true {
			t.Error(status)
		}
		r.s.SetResponseEnabled(host, true)

		r.s.Inject(Fault{Kind: CommandStuck, Host: host})
		r.s.Inject(Fault{Kind: CommandFails, Host: host, Message: "ACCESS_DENIED"})
		stuck := r.add(obj{"target": "process", "action": "stop", "pid": "4", "actuator_id": host})
		settle(2 * time.Second)
		failing := r.add(obj{"target": "process", "action": "stop", "pid": "4", "actuator_id": host})
		settle(time.Hour)
		if a, b := r.command(stuck), r.command(failing); a["status"] != CommandRunning || b["message"] != "ACCESS_DENIED" {
			t.Errorf("%v\n%v", a, b)
		}

		r.s.Inject(Fault{Kind: CommandIdle, Host: host})
		idle := r.add(obj{"target": "process", "action": "stop", "pid": "4", "actuator_id": host})
		running := len(r.s.Hosts()[0].Processes)
		settle(2 * time.Second)
		if got := r.command(idle); got["status"] != CommandSuccess || len(r.s.Hosts()[0].Processes) != running {
			t.Errorf("idle: %v", got)
		}

		r.data("POST", "/response/restart-agent", obj{"host_identifier": host})
		settle(1700 * time.Millisecond)
		if r.s.Hosts()[0].Online {
			t.Error("an agent that restarts is online")
		}
		settle(3 * time.Second)
		if !r.s.Hosts()[0].Online {
			t.Error("the agent did not come back")
		}
		last := r.s.Commands()[len(r.s.Commands())-1]
		if last.Kind != KindRestart || last.Status != CommandSuccess {
			t.Errorf("%+v", last)
		}
	})
}

func TestActionOnSeveralHosts(t *testing.T) {
	r := newRig(t, Options{Hosts: 9})
	r.add(obj{"target": "process", "action": "stop", "process_name": "sshd", "tags": "server"})
	out := r.call("POST", "/response/custom-action", obj{
		"host_identifier": r.s.Hosts()[0].Identifier, "file_type": "2", "content": "Write-Output 'hello'\nexit 3", "script_name": "mark-1",
	})
	if out["openc2_id"] != 2.0 {
		t.Fatal(out)
	}
	r.wait(time.Second)
	rows := r.results("/response", obj{})
	if len(rows) != 2 || rows[0]["id"] != 2.0 || rows[0]["script_name"] != "mark-1" || rows[0]["Executed"] != "1/1" ||
		!strings.HasSuffix(rows[1]["Executed"].(string), "/4") {
		t.Errorf("%v", rows)
	}
	if target := rows[1]["command"].(obj)["target"].(obj)["process"].(obj); target["name"] != "sshd" {
		t.Error(target)
	}
	view := r.results("/response/view", obj{"openc2_id": 1})
	if len(view) != 4 {
		t.Fatal(view)
	}
	for _, row := range view { // sshd runs on Linux only
		if linux := strings.HasPrefix(row["hostname"].(string), "WEB") || strings.HasPrefix(row["hostname"].(string), "DB"); (row["status"] == "success") != linux {
			t.Errorf("%v", row)
		}
	}
	if row := r.results("/response/view", obj{"openc2_id": 2})[0]; row["status"] != "failure" || row["message"] != "hello\nexit status 3" {
		t.Errorf("%v", row)
	}
	if rows := r.results("/response", obj{"searchterm": "MARK"}); ids(rows) != "2" {
		t.Error(rows)
	}
	if rows := r.results("/response", obj{"order_by": "asc", "column": "created_at", "limit": 1}); ids(rows) != "1" {
		t.Error(rows)
	}
}

func TestScriptAsUpload(t *testing.T) {
	r := newRig(t, Options{})
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "a.ps1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write([]byte("Write-Output \"uploaded\"\n")); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"host_identifier": r.s.Hosts()[0].Identifier, "file_type": "2"} {
		if err := form.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := form.Close(); err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequestWithContext(t.Context(), "POST", r.s.BasePath()+"/response/custom-action", &body)
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.Header.Set("x-access-token", r.token)
	w := httptest.NewRecorder()
	r.s.ServeHTTP(w, req)
	r.wait(time.Second)
	if c := r.s.Commands(); len(c) != 1 || c[0].Message != "uploaded" || c[0].Status != CommandSuccess {
		t.Errorf("%s: %+v", w.Body, c)
	}
}

func TestIdenticalCommandsAreCounted(t *testing.T) {
	r := newRig(t, Options{})
	host := r.s.Hosts()[0].Identifier
	stop := obj{"target": "process", "action": "stop", "pid": "77", "actuator_id": host}
	r.add(stop)
	r.add(stop)
	r.add(obj{"target": "process", "action": "stop", "pid": "78", "actuator_id": host})
	var counts []int
	for _, c := range r.s.Commands() {
		counts = append(counts, c.Received)
	}
	if !slices.Equal(counts, []int{2, 2, 1}) {
		t.Error(counts)
	}
}

func TestRefusedActions(t *testing.T) {
	r := newRig(t, Options{})
	host := r.s.Hosts()[0].Identifier
	for name, tt := range map[string]struct {
		body   obj
		status int
	}{
		"no target":         {obj{"action": "stop", "actuator_id": host}, 400},
		"bad target":        {obj{"target": "registry", "action": "stop", "actuator_id": host}, 400},
		"bad combination":   {obj{"target": "file", "action": "stop", "actuator_id": host}, 200},
		"nothing to stop":   {obj{"target": "process", "action": "stop", "actuator_id": host}, 400},
		"nothing to delete": {obj{"target": "file", "action": "delete", "actuator_id": host}, 400},
		"no host":           {obj{"target": "process", "action": "stop", "pid": "1"}, 200},
		"unknown host":      {obj{"target": "process", "action": "stop", "pid": "1", "actuator_id": "nosuch"}, 200},
	} {
		w := r.send("POST", "/response/add", tt.body)
		if w.Code != tt.status || strings.Contains(w.Body.String(), "command_id") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if n := len(r.s.Commands()); n != 0 {
		t.Errorf("%d commands came of it", n)
	}
}

func TestDefender(t *testing.T) {
	r := newRig(t, Options{Seed: 5})
	playAll(t, r, "ransomware", 5*time.Second)
	victim := r.s.Alerts()[0].Host
	ask := func(path string, body obj) string {
		t.Helper()
		body["host_identifier"] = victim
		out := r.call("POST", "/defender-management/"+path, body)
		id, ok := out["openc2_id"].(float64)
		if !ok {
			t.Fatalf("%s: %v", path, out)
		}
		r.wait(5 * time.Second)
		row := r.results("/response/view", obj{"openc2_id": id})[0]
		if row["status"] != "success" {
			t.Fatalf("%s: %v", path, row)
		}
		return row["data"].(string)
	}
	ask("configure", obj{"action": "add", "path": `C:\Users\Public`})
	if got := ask("scan-now", obj{"scan_type": 1}); !strings.Contains(got, `"ThreatsFound":0`) {
		t.Errorf("an excluded folder was scanned: %s", got)
	}
	ask("configure", obj{"action": "remove", "path": `c:\users\public`})
	if got := ask("scan-now", obj{"scan_type": "3", "file_path": `C:\Windows`}); !strings.Contains(got, `"ThreatsFound":0`) {
		t.Errorf("another folder was scanned: %s", got)
	}
	if got := ask("scan-now", obj{"scan_type": 2}); !strings.Contains(got, "Ransom:Win32/Simlock.A") {
		t.Errorf("full scan: %s", got)
	}
	if got := ask("get-quarantine", obj{}); !strings.Contains(got, `simlock.exe`) {
		t.Errorf("quarantine: %s", got)
	}
	if got := ask("computer-status", obj{}); !strings.Contains(got, `"AntivirusEnabled":true`) || !strings.Contains(got, `"QuarantinedThreats":1`) {
		t.Errorf("status: %s", got)
	}
	ask("check-update", obj{})
	if n := len(r.query(victim, `select path from file where path like '%simlock.exe'`)); n != 0 {
		t.Error("the file is still there")
	}
	r.data("POST", "/defender-management/quarantine_file/carve", obj{"host_identifier": victim, "path": lockerPath})
	r.wait(5 * time.Second)
	if c := r.s.Carves(); len(c) != 1 || c[0].Status != carveCompleted || c[0].QueryID != 0 {
		t.Errorf("%+v", c)
	}
	for _, body := range []obj{{"host_identifier": "nosuch", "scan_type": 1}, {"host_identifier": r.s.Hosts()[2].Identifier, "scan_type": 1}} {
		if out := r.call("POST", "/defender-management/scan-now", body); out["status"] != "failure" {
			t.Errorf("%v: %v", body, out)
		}
	}
	if w := r.send("POST", "/defender-management/scan-now", obj{"host_identifier": victim, "scan_type": 3}); w.Code != 400 {
		t.Errorf("custom scan without a path: %d", w.Code)
	}
}

// A process goes by its name and by its path; only Windows does not mind the case.
func TestStopByNameOrPath(t *testing.T) {
	for _, tt := range []struct {
		platform, path, name string
		gone                 bool
	}{
		{"windows", `C:\Temp\Bad.exe`, `c:\TEMP\bad.exe`, true},
		{"windows", `C:\Temp\Bad.exe`, `BAD.EXE`, true},
		{"windows", `C:\Temp\Bad.exe`, `C:\Other\Bad.exe`, false},
		{"ubuntu", "/tmp/bad", "/tmp/bad", true},
		{"ubuntu", "/tmp/bad", "bad", true},
		{"ubuntu", "/tmp/bad", "Bad", false},
		{"ubuntu", "/tmp/bad", "/opt/bad", false},
	} {
		h := &host{role: role{platform: tt.platform}, processes: []*Process{{PID: 7, Name: baseName(tt.path), Path: tt.path}}}
		if got := h.stop("7", tt.name) == 1; got != tt.gone {
			t.Errorf("%s: stop %s of %s: %t, want %t", tt.platform, tt.name, tt.path, got, tt.gone)
		}
	}
}

// TestResponseArgumentsAreRefused lists values that are in none of the guide's sets.
func TestResponseArgumentsAreRefused(t *testing.T) {
	r := newRig(t, Options{Hosts: 1})
	host := r.s.hosts[0]
	block := func(key, value string) obj {
		return obj{"action": "contain", "target": "ip_connection", "actuator_id": host.identifier, "rule_name": "x", key: value}
	}
	for name, one := range map[string]struct {
		path string
		body obj
	}{
		"direction":       {"/response/add", block("direction", "3")},
		"layer4_protocol": {"/response/add", block("layer4_protocol", "1")},
		"save_script":     {"/response/custom-action", obj{"host_identifier": host.identifier, "content": "x", "file_type": 1, "save_script": "perhaps"}},
		"node_id":         {"/response/status", obj{"node_id": "abc"}},
	} {
		if w := r.send("POST", one.path, one.body); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `"`+name+`"`) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	for _, value := range []string{"", "2", "256"} {
		if out := r.call("POST", "/response/add", block("layer4_protocol", value)); out["status"] != "success" {
			t.Errorf("protocol %q: %v", value, out)
		}
	}
	if out := r.call("POST", "/response/status", obj{"host_identifier": host.name}); out["status"] != "failure" {
		t.Errorf("a name is no identifier: %v", out)
	}
}
