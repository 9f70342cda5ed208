package ersim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// control makes a call of the control API.
func (r *rig) control(method, path, body string, want int) map[string]any {
	r.t.Helper()
	w := httptest.NewRecorder()
	r.s.controlHandler().ServeHTTP(w, httptest.NewRequestWithContext(r.t.Context(), method, path, strings.NewReader(body)))
	if w.Code != want {
		r.t.Fatalf("%s %s %s: %d %s, want %d", method, path, body, w.Code, w.Body, want)
	}
	out := map[string]any{}
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil && !strings.HasPrefix(w.Body.String(), "[") {
		r.t.Fatal(err)
	}
	return out
}

func TestControl(t *testing.T) {
	r := newRig(t, Options{Hosts: 4})
	host := r.s.Hosts()[0].Identifier
	if out := r.control("POST", "/sim/raise", `{"host":"`+host+`","rule":"Credential dumping"}`, 200); out["id"] != 1.0 {
		t.Error(out)
	}
	r.control("POST", "/sim/raise", `{"host":"nosuch"}`, 404)
	r.control("POST", "/sim/raise", `{"hots":"1"}`, 400)
	r.control("POST", "/sim/raise", `{"count":-1}`, 400)
	r.control("POST", "/sim/raise", `{"count":8}`, 202)
	r.control("POST", "/sim/raise", `{"count":100,"rate":50}`, 202)
	r.control("POST", "/sim/play", `{"scenario":"noise"}`, 202)
	r.control("POST", "/sim/play", `{"scenario":"nosuch"}`, 404)
	r.control("GET", "/sim/scenarios", "", 200)
	r.control("POST", "/sim/hosts/"+host+"/online", `{"online":false}`, 200)
	r.control("POST", "/sim/hosts/2/response", `{"enabled":false}`, 200)
	r.control("POST", "/sim/hosts/nosuch/online", `{"online":false}`, 404)
	r.control("POST", "/sim/push", `{"address":""}`, 200)
	r.control("POST", "/sim/fault", `{"kind":"nosuch"}`, 400)
	r.control("POST", "/sim/fault", `{"kind":"slow","delay":"soon"}`, 400)
	r.control("POST", "/sim/fault", `{"kind":"slow","cal":"hosts-list"}`, 400)
	r.control("POST", "/sim/fault", `{"kind":"error","call":"hosts-*","delay":"2s"}`, 200)
	if w := r.send("GET", "/hosts/count", nil); w.Code != http.StatusInternalServerError {
		t.Errorf("the fault did not hit: %d", w.Code)
	}
	r.control("POST", "/sim/fault", `{"kind":"error","count":-1}`, 200)
	r.control("DELETE", "/sim/fault", "", 200)

	r.wait(time.Second)
	if n := len(r.s.Alerts()); n < 90 || n > 109 {
		t.Errorf("after a second there are %d alerts", n)
	}
	r.wait(2 * time.Second)
	state := r.control("GET", "/sim/state?without=hosts", "", 200)
	if alerts := state["alerts"].([]any); len(alerts) != 1+8+100+40 || state["hosts"] != nil || state["planned"] != 0.0 {
		t.Errorf("%d alerts, %v planned", len(alerts), state["planned"])
	}
	hosts := r.control("GET", "/sim/state?without=alerts,commands", "", 200)["hosts"].([]any)
	if first, second := hosts[0].(obj), hosts[1].(obj); first["online"] != false || second["response_enabled"] != false {
		t.Errorf("%v\n%v", first, second)
	}
	if out := r.control("GET", "/sim/calls", "", 200); out["hosts-count"] != 1.0 || out["auth-login"] != 1.0 {
		t.Error(out)
	}
}

// TestLoadHasProcessesOfItsOwn: each alert can be acted on, and the action shows.
func TestLoadHasProcessesOfItsOwn(t *testing.T) {
	r := newRig(t, Options{Hosts: 30})
	if err := r.s.RaiseLoad(AlertSpec{}, 5000, 0); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	hosts := map[string]int{}
	for _, a := range r.s.Alerts() {
		seen[a.Columns["pid"]+a.Columns["path"]] = true
		hosts[a.Host]++
	}
	if len(seen) != 5000 || len(hosts) != 30 {
		t.Errorf("%d processes on %d hosts", len(seen), len(hosts))
	}
	a := r.s.Alerts()[4321]
	id := r.add(obj{"target": "process", "action": "stop", "pid": a.Columns["pid"], "actuator_id": a.Host})
	r.wait(time.Second)
	if got := r.command(id); got["status"] != CommandSuccess {
		t.Error(got)
	}
	if rows := r.query(a.Host, "select pid from processes where pid = "+a.Columns["pid"]); len(rows) != 0 {
		t.Errorf("still running: %v", rows)
	}
}

// TestControlOverNetwork plays a scenario from outside and waits for its end.
func TestControlOverNetwork(t *testing.T) {
	l := newLive(t, Options{ControlListen: "127.0.0.1:0"})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, l.s.ControlURL()+"/sim/play", strings.NewReader(`{"scenario":"ioc","wait":true}`))
	if err != nil {
		t.Fatal(err)
	}
	res, err := l.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%d %v", res.StatusCode, err)
	}
	if n := len(l.s.Alerts()); n != 4 {
		t.Errorf("%d alerts", n)
	}
}

// TestManyAlerts pages through more alerts than anyone wants, forward and back.
func TestManyAlerts(t *testing.T) {
	const many = 20_000
	r := newRig(t, Options{})
	if err := r.s.RaiseLoad(AlertSpec{Detached: true}, many, 0); err != nil {
		t.Fatal(err)
	}
	for _, order := range []obj{{}, {"column": "created_at", "order_by": "asc"}} {
		seen := map[string]bool{}
		for start := 0; start < many; start += 5_000 {
			body := obj{"start": start, "limit": 5_000, "resolved": false}
			for key, value := range order {
				body[key] = value
			}
			for _, row := range r.results("/alerts", body) {
				seen[fmt.Sprint(row["id"])] = true
			}
		}
		if len(seen) != many {
			t.Errorf("%v: %d different alerts", order, len(seen))
		}
	}
}
