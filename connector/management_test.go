package connector_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
)

func TestSettingsOddAnswers(t *testing.T) {
	for answer, want := range map[string]connector.Settings{
		`{}`: {},
		`{"data":{"purge_data_duration":7,"alert_aggregation_duration":60}}`:                                                             {RetentionDays: 7, AggregationWindow: new(time.Minute)},
		`{"data":{"purge_data_duration":"x","alert_aggregation_duration":"99999999999999","sso_enable":"maybe","sso_configuration":{}}}`: {},
		`{"data":{"sso_enable":"False","sso_configuration":{"app_name":"er"}}}`:                                                          {SSOEnabled: new(false), SSO: &connector.SSOSettings{AppName: "er"}},
		`{"data":[]}`: {},
	} {
		s := newOddServer(t, map[string]oddAnswer{"GET /management/settings": {body: strings.Replace(answer, "{", `{"status":"success",`, 1)}})
		if answer == `{}` {
			s.answers["GET /management/settings"] = oddAnswer{body: `{"status":"success"}`}
		}
		got, err := s.Management.Settings(t.Context())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v %v", answer, got, err)
		}
	}
}

// TestSingleSignOnAloneIsNotSent keeps a server from the crash after which nobody
// knows what is stored.
func TestSingleSignOnAloneIsNotSent(t *testing.T) {
	s := newOddServer(t, map[string]oddAnswer{
		"GET /management/settings": {body: `{"status":"success","data":{"purge_data_duration":"9","sso_enable":"true"}}`},
		"PUT /management/settings": {body: done},
	})
	if err := s.Management.UpdateSettings(t.Context(), connector.SettingsChange{SSOEnabled: new(true)}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(s.last(t, "PUT /management/settings").body); got != "map[purge_data_duration:9 sso_enable:true]" {
		t.Errorf("sent %s", got)
	}
	if err := s.Management.UpdateSettings(t.Context(), connector.SettingsChange{RetentionDays: 3, SSOEnabled: new(false)}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(s.last(t, "PUT /management/settings").body); got != "map[purge_data_duration:3 sso_enable:false]" {
		t.Errorf("sent %s", got)
	}
	s.answers["GET /management/settings"] = oddAnswer{body: `{"status":"success","data":{}}`}
	before := s.count("PUT /management/settings")
	if err := s.Management.UpdateSettings(t.Context(), connector.SettingsChange{SSOEnabled: new(true)}); !errors.Is(err, connector.ErrInvalid) {
		t.Errorf("nothing to send along: %v", err)
	}
	if s.count("PUT /management/settings") != before {
		t.Error("sent all the same")
	}
	s.answers["GET /management/settings"] = oddAnswer{status: http.StatusInternalServerError, body: `{"message":"x"}`}
	if err := s.Management.UpdateSettings(t.Context(), connector.SettingsChange{SSOEnabled: new(true)}); !errors.Is(err, connector.ErrNotSent) {
		t.Errorf("settings cannot be read: %v", err)
	}
}

// TestKeysCountByWhatIsThere trusts neither success nor failure.
func TestKeysCountByWhatIsThere(t *testing.T) {
	keys := connector.APIKeys{VirusTotal: soar.SecretValue("vt"), AlienVault: soar.SecretValue("av")}
	for _, tt := range []struct {
		name, answer, stored string
		refused              map[string]string
		want                 error
	}{
		{"failure, but stored", `{"status":"failure","message":"x","data":{"virustotal":{"key":"vt"},"alienvault":{"key":"av"}}}`,
			"[alienvault virustotal]", map[string]string{}, nil},
		{"success, but not all", `{"status":"success","data":{"virustotal":{"key":"older"},"alienvault":{"key":"av"}},"errors":{"virustotal":{"code":1}}}`,
			"[alienvault]", map[string]string{"virustotal": `{"code":1}`}, nil},
		{"success, but none", `{"status":"success","data":{},"errors":{"alienvault":"bad\nkey"}}`,
			"[]", map[string]string{"virustotal": "", "alienvault": "bad key"}, connector.ErrRefused},
		{"failure", `{"status":"failure","data":null,"errors":null}`, "[]", map[string]string{"virustotal": "", "alienvault": ""}, connector.ErrRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newOddServer(t, map[string]oddAnswer{"POST /management/apikeys": {body: tt.answer}})
			out, err := s.Management.UpdateAPIKeys(t.Context(), keys)
			if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Errorf("error %v", err)
			}
			if fmt.Sprint(out.Stored) != tt.stored || !reflect.DeepEqual(out.Refused, tt.refused) {
				t.Errorf("stored %v, refused %v", out.Stored, out.Refused)
			}
		})
	}
	s := newOddServer(t, map[string]oddAnswer{"POST /management/apikeys": {status: http.StatusBadGateway, kind: "text/html", body: "<html>"}})
	if _, err := s.Management.UpdateAPIKeys(t.Context(), keys); !errors.Is(err, connector.ErrUncertain) {
		t.Errorf("lost answer: %v", err)
	}
}

func TestVerifyPasswordOutcomes(t *testing.T) {
	for _, tt := range []struct {
		answer oddAnswer
		right  bool
		want   error
	}{
		{oddAnswer{body: `{"status":"Success"}`}, true, nil},
		{oddAnswer{body: `{"status":"failure","message":"no"}`}, false, nil},
		{oddAnswer{status: http.StatusForbidden, body: `{"message":"no"}`}, false, connector.ErrForbidden},
		{oddAnswer{status: http.StatusBadRequest, body: `{"message":{"password":"x"}}`}, false, connector.ErrRefused},
		{oddAnswer{kind: "text/html", body: "<html>"}, false, connector.ErrNotJSON},
	} {
		s := newOddServer(t, map[string]oddAnswer{"POST /management/verifypw": tt.answer})
		right, err := s.Management.VerifyPassword(t.Context(), soar.SecretValue("x"))
		if right != tt.right || !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%+v: %v %v", tt.answer, right, err)
		}
	}
}

func TestMetricsOddAnswers(t *testing.T) {
	s := newOddServer(t, map[string]oddAnswer{"POST /management/metrics": {body: `{"status":"success","data":{
		"TOPHOSTS":[{"hostname":"a","value":"12"},{"hostname":null,"value":null}],
		"DISKUSAGE":{"total":"48.41","free":28.86,"unit":"GB"},
		"NGINX":null,
		"POSTGRES":[{"created_at":"2026-11-22 03:00:00","unit":"MB","value":791}],
		"RABBITMQ":[{"created_at":"soon","unit":null,"value":{"queue_totals":{"messages":3}}}]}}`}})
	m, err := s.Management.Metrics(t.Context(), time.Date(2026, 11, 22, 4, 30, 0, 0, time.FixedZone("CET", 3600)))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.last(t, "POST /management/metrics").body["from_time"]; got != "2026-11-22 03:30:00" {
		t.Errorf("asked since %v", got)
	}
	if m.Disk != (connector.DiskUsage{Total: 48.41, Free: 28.86, Unit: "GB"}) || len(m.TopHosts) != 2 || m.TopHosts[0].Results != 12 {
		t.Errorf("metrics: %+v", m)
	}
	if len(m.Nginx) != 0 || string(m.Postgres[0].Value) != "791" || m.Postgres[0].At.Hour() != 3 || !m.RabbitMQ[0].At.IsZero() {
		t.Errorf("metrics: %+v", m)
	}
	s.answers["POST /management/metrics"] = oddAnswer{body: `{"status":"Invalid inputs","message":"failure"}`}
	if _, err := s.Management.Metrics(t.Context(), time.Now()); !errors.Is(err, connector.ErrRefused) {
		t.Errorf("swapped words: %v", err)
	}
}

func TestEmailOddAnswers(t *testing.T) {
	s := newOddServer(t, map[string]oddAnswer{"GET /email/configure": {body: `{"status":"success","data":{
		"email":"a@b.cd","smtpPort":"465","smtpAddress":"smtp","password":null,"emailRecipients":"x@y.z, q@r.s","use_ssl":"True"}}`}})
	e, err := s.Email.Settings(t.Context())
	want := connector.EmailSettings{From: "a@b.cd", Server: "smtp", Port: 465, To: []string{"x@y.z", "q@r.s"}, SSL: true}
	if err != nil || !reflect.DeepEqual(e, want) {
		t.Errorf("%+v %v", e, err)
	}
}

// TestSecretsOfAnswersDoNotPrint prints what holds secrets in every way.
func TestSecretsOfAnswersDoNotPrint(t *testing.T) {
	s := newOddServer(t, map[string]oddAnswer{
		"GET /email/configure":    {body: `{"status":"success","data":{"smtpAddress":"x","password":"geheim"}}`},
		"GET /management/apikeys": {body: `{"status":"success","data":{"virustotal":{"key":"geheim"},"ibmxforce":{"key":"geheim","pass":"geheim"}}}`},
	})
	mail, err := s.Email.Settings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := s.Management.APIKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v %#v %v %+v %#v", mail, mail, mail, keys, keys, keys); strings.Contains(text, "geheim") {
		t.Error(text)
	}
	if got, err := keys.XForcePass.Reveal(); err != nil || got != "geheim" || keys.AlienVault.IsSet() {
		t.Errorf("%q %v", got, err)
	}
}

func TestDashboardOddAnswers(t *testing.T) {
	s := newOddServer(t, map[string]oddAnswer{"GET /dashboard": {body: `{"status":"success","data":{"purge_duration":null,
		"alert_data":{"top_five":{"rule":[{"rule_name":"r","count":"3"}],"hosts":null},"source":{"ioc":{"LOW":1,"UNHEARD":2,"TOTAL":3},"odd":null}},
		"distribution_and_status":{"hosts_platform_count":[{"os_name":null,"count":1},{"os_name":"windows","count":2}]}}}`}})
	d, err := s.Dashboard(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d.OpenAlerts() != 3 || d.Rules[0].Count != 3 || d.RetentionDays != 0 || d.Platforms["windows"] != 2 || len(d.Sources["odd"]) != 0 {
		t.Errorf("%+v", d)
	}
	s.answers["GET /dashboard"] = oddAnswer{body: `{"status":"success"}`}
	if _, err := s.Dashboard(t.Context()); !errors.Is(err, connector.ErrNotFound) {
		t.Errorf("no data: %v", err)
	}
}

func TestDownloadLogOutcomes(t *testing.T) {
	const call = "POST /management/download_log"
	for _, tt := range []struct {
		name   string
		answer oddAnswer
		text   string
		want   error
	}{
		{"plain text", oddAnswer{kind: "text/plain; charset=utf-8", body: "a line\n"}, "a line\n", nil},
		{"empty", oddAnswer{kind: "application/octet-stream"}, "", nil},
		{"page", oddAnswer{kind: "text/html", body: "<html>"}, "", connector.ErrNotJSON},
		{"no such file", oddAnswer{body: `{"status":"failure","message":"No log file found"}`}, "", connector.ErrNotFound},
		{"success without a file", oddAnswer{body: done}, "", connector.ErrNotJSON},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newOddServer(t, map[string]oddAnswer{call: tt.answer})
			var got bytes.Buffer
			_, err := s.Management.DownloadLog(t.Context(), connector.PartER, "er_log", &got)
			if got.String() != tt.text || !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Errorf("%q %v", got.String(), err)
			}
		})
	}
}

func TestFilesThatAreNot(t *testing.T) {
	for _, tt := range []struct {
		name string
		oddAnswer
		want error
	}{
		{"empty", oddAnswer{kind: "application/octet-stream"}, connector.ErrBadFile},
		{"another kind", oddAnswer{kind: "application/octet-stream", body: "#!/bin/sh"}, connector.ErrBadFile},
		{"the console", oddAnswer{kind: "text/html", body: "<html>"}, connector.ErrUnavailable},
		{"not there", oddAnswer{status: http.StatusNotFound, kind: "text/html", body: "<html>"}, connector.ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newOddServer(t, map[string]oddAnswer{"GET /downloads/windows/plgx_cpt.exe": tt.oddAnswer})
			var got bytes.Buffer
			_, err := s.Downloads.WindowsTool(t.Context(), &got)
			if !errors.Is(err, tt.want) || got.Len() != 0 {
				t.Errorf("%q %v", got.String(), err)
			}
			if s.count("POST /login") != 0 {
				t.Error("it logged in for a file that anybody may have")
			}
		})
	}
}

func TestSSOLoginOutcomes(t *testing.T) {
	for _, tt := range []struct {
		name string
		oddAnswer
		want error
		text string
	}{
		{"redirect", oddAnswer{status: http.StatusFound, kind: "text/html", location: "https://idp.example/x?SAMLRequest=y"}, nil, ""},
		{"off", oddAnswer{kind: "text/html", body: "<body><p style=\"x\">\n It is\n off </p></body>"}, connector.ErrRefused, "It is off"},
		{"page without words", oddAnswer{kind: "text/html", body: "<html>"}, connector.ErrRefused, "neither signs on"},
		{"redirect to a path", oddAnswer{status: http.StatusFound, kind: "text/html", location: "/login"}, connector.ErrNotJSON, "web address"},
		{"redirect to a script", oddAnswer{status: http.StatusFound, kind: "text/html", location: "javascript://x/y"}, connector.ErrNotJSON, "web address"},
		{"release 2.1.2", oddAnswer{status: http.StatusNotFound, kind: "text/html", body: "<html>"}, connector.ErrUnavailable, "since 3.5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newOddServer(t, map[string]oddAnswer{"GET /sso/login": tt.oddAnswer})
			target, err := s.SSOLogin(t.Context())
			switch {
			case tt.want == nil && (err != nil || target.Host != "idp.example"):
				t.Errorf("%v %v", target, err)
			case tt.want != nil && (!errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text)):
				t.Errorf("%v", err)
			}
			if s.count("POST /login") != 0 {
				t.Error("it logged in")
			}
		})
	}
}

func TestSSOCallbackOutcomes(t *testing.T) {
	const good = `<script>window.localStorage.setItem("token", "abc.def");</script>`
	for _, tt := range []struct {
		name string
		oddAnswer
		want error
	}{
		{"signed on", oddAnswer{kind: "text/html", body: good}, nil},
		{"refused", oddAnswer{kind: "text/html", body: "<p>no such user</p>"}, connector.ErrRefused},
		{"no token in it", oddAnswer{kind: "text/html", body: `<script>setItem('token', '');</script>`}, connector.ErrRefused},
		{"crash", oddAnswer{status: http.StatusInternalServerError, kind: "text/html"}, connector.ErrUncertain},
		{"something else", oddAnswer{body: done}, connector.ErrNotJSON},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newOddServer(t, map[string]oddAnswer{"POST /sso/callback": tt.oddAnswer})
			page, err := s.SSOCallback(t.Context(), soar.SecretValue("c2FtbA=="), "https://x")
			if tt.want == nil && (err != nil || string(page) != good) || !errors.Is(err, tt.want) {
				t.Errorf("%s %v", page, err)
			}
			if form := s.last(t, "POST /sso/callback").form; form.Get("SAMLResponse") != "c2FtbA==" || form.Get("RelayState") != "https://x" {
				t.Errorf("sent %v", form)
			}
		})
	}
}
