package ersim

import (
	"fmt"
	"net/http"
	"testing"
)

// The configs of the older documents: by id, assigned to nodes.
func TestV0ConfigsByID(t *testing.T) {
	r := newRig(t, Options{Profile: "2.0", Hosts: 2})
	node := r.s.Hosts()[0].Identifier
	content := obj{"schedule": obj{"win_file_events": obj{"query": "select * from win_file_events;", "interval": 10}}}
	out := r.v0("POST", "/configs/add", obj{"name": "mine", "config": content})
	if keys(out) != "config_id message status" {
		t.Fatal(out)
	}
	id := out["config_id"]
	path := fmt.Sprint("/configs/", id)
	got := r.v0Data("GET", path, nil).(obj)
	if keys(got) != "config created_at id name updated_at" || below(got, "config", "schedule", "win_file_events", "interval") != 10.0 {
		t.Error(got)
	}
	if rows := r.v0Data("GET", "/configs", nil).([]any); len(rows) != 2 || rows[0].(obj)["name"] != "mine" {
		t.Error(rows)
	}
	stock := r.v0Data("GET", "/nodes/config/"+node, nil).(obj)
	r.v0Data("POST", "/nodes/config/assign", obj{"host_identifier": node, "config_id": id})
	mine := r.v0Data("GET", "/nodes/config/"+node, nil).(obj)
	if keys(mine) != "options packs schedule win_exclude_paths win_include_paths" || keys(mine["schedule"]) != "win_file_events" {
		t.Error(mine)
	}
	content["schedule"] = obj{}
	if changed := r.v0Data("POST", path, obj{"name": "ours", "config": content}).(obj); changed["name"] != "ours" {
		t.Error(changed)
	}
	if now := r.v0Data("GET", "/nodes/config/"+node, nil).(obj); keys(now["schedule"]) != "" {
		t.Error(now)
	}
	r.v0Data("POST", "/nodes/config/remove", obj{"host_identifier": node})
	if now := r.v0Data("GET", "/nodes/config/"+node, nil).(obj); keys(now["schedule"]) != keys(stock["schedule"]) || keys(now["schedule"]) == "" {
		t.Error(now)
	}
	r.v0Fails("GET", "/configs/99", nil)
	r.v0Fails("POST", "/configs/99", obj{"name": "a", "config": content})
	r.v0Fails("GET", "/nodes/config/nosuch", nil)
	r.v0Fails("POST", "/nodes/config/assign", obj{"host_identifier": node, "config_id": 99})
	r.v0Fails("POST", "/nodes/config/assign", obj{"host_identifier": "nosuch", "config_id": id})
	r.v0Fails("POST", "/nodes/config/remove", obj{"host_identifier": "nosuch"})
	if w := r.send("POST", "/configs/add", obj{"name": "a", "config": "text"}); w.Code != http.StatusBadRequest || keys(r.object(w)["errors"]) != "config" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestV0ConfigsByPlatform(t *testing.T) {
	bothProfiles(t, func(t *testing.T, r *rig) {
		out := r.v0Data("PUT", "/configs/windows", obj{
			"filters": obj{"options": obj{}}, "queries": obj{"arp_cache": obj{"status": false, "interval": 77}}, "type": "deep",
		}).(obj)
		if keys(out) != "filters queries" || below(out, "queries", "arp_cache", "interval") != 77.0 || below(out, "queries", "arp_cache", "status") != false {
			t.Error(out)
		}
		if r.s.older() {
			if now := r.v0Data("GET", "/configs/windows", nil).(obj); below(now, "queries", "arp_cache", "interval") != 77.0 {
				t.Error(now)
			}
			r.v0Fails("GET", "/configs/solaris", nil)
		} else {
			all := r.v0Data("GET", "/configs", nil)
			if below(all, "windows", "x86_64", "2", "status") != true || below(all, "windows", "x86_64", "1", "status") != false {
				t.Errorf("in use: %v", below(all, "windows", "x86_64"))
			}
			v1 := r.data("POST", "/configs/view", obj{"platform": "windows", "arch": "x86_64"})
			if below(v1, "queries", "arp_cache", "interval") != 77.0 || below(v1, "type") != "deep" {
				t.Errorf("through v1: %v", v1)
			}
		}
		r.v0Fails("PUT", "/configs/solaris", obj{"filters": obj{}, "queries": obj{}})
		r.v0Fails("PUT", "/configs/windows", obj{"filters": obj{}, "queries": obj{"arp_cache": obj{"status": true}}})
		w := r.sendTo(r.s.profile.base0+"/configs/windows", "PUT", obj{"filters": obj{}, "queries": obj{}, "type": "shallowest"})
		if w.Code != http.StatusBadRequest {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

func TestV0Settings(t *testing.T) {
	bothProfiles(t, func(t *testing.T, r *rig) {
		settings := obj{
			"email": "er@example.com", "smtpAddress": "smtp.example.com", "smtpPort": 445, "password": "a",
			"emailRecipients": []string{"one@example.com", "two@example.com"},
		}
		out := r.v0Data("POST", "/email/configure", settings).(obj)
		want, recipients := "email emailRecipients password smtpAddress smtpPort", "[one@example.com two@example.com]"
		if r.s.older() {
			want, recipients = "email emailRecipients emails password smtpAddress smtpPort", "one@example.com,two@example.com"
		}
		if keys(out) != want || fmt.Sprint(out["emailRecipients"]) != recipients || out["password"] != "YQ==\n" || out["smtpPort"] != 445.0 {
			t.Error(out)
		}
		if len(r.s.Mails()) != 0 {
			t.Error("setting it sends a mail")
		}
		r.v0Data("POST", "/email/test", obj{"username": "er@example.com", "smtp": "smtp.example.com", "password": "a", "recipients": "one@example.com"})
		r.v0Fails("POST", "/email/test", obj{"username": "er@example.com", "smtp": "smtp.invalid", "password": "a", "recipients": "one@example.com"})
		if mails := r.s.Mails(); len(mails) != 1 || mails[0].To[0] != "one@example.com" {
			t.Error(mails)
		}
		settings["password"] = ""
		r.v0Fails("POST", "/email/configure", settings)

		if keys := keys(r.v0Data("GET", "/apikeys", nil)); keys != "" {
			t.Error(keys)
		}
		r.v0Data("POST", "/apikeys", obj{"vt_key": "abc", "IBMxForceKey": "without its password"})
		set := r.v0Data("POST", "/apikeys", obj{"IBMxForceKey": "k", "IBMxForcePass": "p"})
		if got := r.v0Data("GET", "/apikeys", nil); fmt.Sprint(got) != fmt.Sprint(set) || keys(got) != "ibmxforce virustotal" || below(got, "virustotal", "key") != "abc" {
			t.Errorf("%v, %v", got, set)
		}
		options := r.v0Data("POST", "/options/add", obj{"option": obj{"disable_watchdog": false}})
		if keys(options) != "disable_watchdog" {
			t.Error(options)
		}
		if r.s.older() {
			return
		}
		if v1 := r.data("GET", "/options", nil); keys(v1) != "disable_watchdog" {
			t.Errorf("through v1: %v", v1)
		}
		if v1 := r.data("GET", "/email/configure", nil); below(v1, "email") != "er@example.com" || below(v1, "password") != "a" {
			t.Errorf("through v1: %v", v1)
		}
		if v1 := r.data("GET", "/management/apikeys", nil); below(v1, "virustotal", "key") != "abc" {
			t.Errorf("through v1: %v", v1)
		}
	})
}
