package connector_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
)

const goodPassword = "Better#Pass1"

// maker is an account that the tests of users make.
var maker = connector.NewUser{
	Username: "mia.maker", Email: "mia@example.com", FirstName: "Mia", LastName: "Maker",
	Password: soar.SecretValue(goodPassword), Role: connector.RoleAnalyst,
}

// create makes the account and reads it back.
func (r *crossRig) create() connector.User {
	r.Helper()
	r.ok(r.client.Users.Create(r.Context(), maker))
	page, err := r.client.Users.Page(r.Context(), connector.UserQuery{Search: "MIA"})
	r.ok(err)
	if len(page.Results) != 1 {
		r.Fatalf("the new user is not in the list: %+v", page)
	}
	return page.Results[0]
}

// caFile is a file with the simulator's authority.
func (r *crossRig) caFile() string {
	r.Helper()
	name := filepath.Join(r.TempDir(), "ca.pem")
	r.ok(os.WriteFile(name, r.sim.CAPEM(), 0o600))
	return name
}

// loginAs makes a client of another account.
func (r *crossRig) loginAs(name, password string) (*connector.Client, error) {
	r.Helper()
	other, err := connector.New(connector.Options{
		URL: r.sim.URL(), Username: name, Password: soar.SecretValue(password), CAFile: r.caFile(), Timeout: time.Minute, Retries: -1,
	})
	r.ok(err)
	return other, other.Login(r.Context())
}

// download fetches a file and says what it is.
func (r *crossRig) download(fetch func(w *bytes.Buffer) (connector.DownloadInfo, error), kind string) []byte {
	r.Helper()
	var got bytes.Buffer
	info, err := fetch(&got)
	r.ok(err)
	r.is("kind", info.Kind, kind)
	r.is("length", info.Bytes, int64(got.Len()))
	return got.Bytes()
}

var mailSettings = connector.EmailSettings{
	From: "er@example.com", Server: "smtp.example.com", Port: 587, Password: soar.SecretValue("mail secret"),
	To: []string{"soc@example.com", "boss@example.com"}, TLS: true,
}

var ssoSettings = connector.SSOSettings{MetadataURL: "https://idp.example.com/metadata", AppName: "er", EntityID: "urn:er"}

var crossGeneral = map[string]cross{
	"download-certificate": {test: func(r *crossRig) {
		got := r.download(func(w *bytes.Buffer) (connector.DownloadInfo, error) {
			return r.client.Downloads.Certificate(r.Context(), w)
		}, "pem")
		if block, _ := pem.Decode(got); block == nil || !bytes.Equal(got, r.sim.CAPEM()) {
			r.Errorf("not the certificate: %s", got)
		}
	}},
	"download-cpt-windows": {test: func(r *crossRig) {
		r.download(func(w *bytes.Buffer) (connector.DownloadInfo, error) {
			return r.client.Downloads.WindowsTool(r.Context(), w)
		}, "exe")
	}},
	"download-cpt-linux": {test: func(r *crossRig) {
		r.download(func(w *bytes.Buffer) (connector.DownloadInfo, error) {
			return r.client.Downloads.LinuxTool(r.Context(), w)
		}, "elf")
	}},
	"download-cpt-macos": {test: func(r *crossRig) {
		r.download(func(w *bytes.Buffer) (connector.DownloadInfo, error) {
			return r.client.Downloads.MacTool(r.Context(), w)
		}, "script")
	}},
	"dashboard": {test: func(r *crossRig) {
		host := r.sim.Hosts()[0]
		r.sim.SetOnline(r.sim.Hosts()[1].Identifier, false)
		for range 3 {
			r.sim.Raise(ersim.AlertSpec{Host: host.Identifier, Rule: "Credential dumping"})
		}
		closed := r.sim.Raise(ersim.AlertSpec{Host: host.Identifier, Rule: "Run key written"})
		r.ok(r.client.Alerts.Resolve(r.Context(), []int64{closed}, true, ""))
		r.sim.Raise(ersim.AlertSpec{Source: "virustotal", Severity: "HIGH"})
		d, err := r.client.Dashboard(r.Context())
		r.ok(err)
		r.is("open alerts", d.OpenAlerts(), 4)
		r.is("critical alerts of rules", d.Sources["rule"]["CRITICAL"], 3)
		r.is("high alerts of virustotal", d.Sources["virustotal"]["HIGH"], 1)
		r.is("hosts", []int{d.Online, d.Offline}, []int{5, 1})
		r.is("retention", d.RetentionDays, 7)
		r.is("platforms", d.Platforms, map[string]int{"windows": 4, "ubuntu": 1, "darwin": 1})
		if len(d.Rules) != 1 || d.Rules[0].Name != "Credential dumping" || d.Rules[0].Count != 3 || d.Rules[0].ID == 0 {
			r.Errorf("rules: %+v", d.Rules)
		}
		if len(d.Hosts) == 0 || d.Hosts[0].Identifier != host.Identifier || d.Hosts[0].Name != host.Name || d.Hosts[0].ID != host.ID {
			r.Errorf("hosts: %+v", d.Hosts)
		}
		if len(d.Queries) == 0 || d.Queries[0].Name == "" || d.Queries[0].Count < 3 {
			r.Errorf("queries: %+v", d.Queries)
		}
	}},

	"auth-index": {test: func(r *crossRig) {
		index, err := r.client.Index(r.Context())
		r.ok(err)
		r.is("before", index, connector.Index{})
		r.ok(r.client.Management.UpdateSettings(r.Context(), connector.SettingsChange{SSOEnabled: new(true)}))
		index, err = r.client.Index(r.Context())
		r.ok(err)
		r.is("after", index, connector.Index{SSO: true})
	}},
	"auth-login": {test: func(r *crossRig) {
		r.ok(r.client.Login(r.Context()))
		_, err := r.client.Hosts.Count(r.Context())
		r.ok(err)
		r.is("logins", r.sim.Calls()["auth-login"], 1)
	}},
	"auth-logout": {test: func(r *crossRig) {
		r.ok(r.client.Login(r.Context()))
		r.ok(r.client.Logout(r.Context()))
		_, err := r.client.Hosts.Count(r.Context())
		r.ok(err)
		r.is("logins", r.sim.Calls()["auth-login"], 2)
	}},
	"auth-sso-login": {test: func(r *crossRig) {
		_, err := r.client.SSOLogin(r.Context())
		if !errors.Is(err, connector.ErrRefused) || !strings.Contains(err.Error(), "not enabled for SSO") {
			r.Errorf("while it is off: %v", err)
		}
		r.ok(r.client.Management.UpdateSettings(r.Context(), connector.SettingsChange{SSOEnabled: new(true), SSO: &ssoSettings}))
		target, err := r.client.SSOLogin(r.Context())
		r.ok(err)
		if target.Host != "idp.example.com" || target.Scheme != "https" || target.Query().Get("SAMLRequest") == "" {
			r.Errorf("redirect to %s", target)
		}
	}},
	"auth-sso-callback": {test: func(r *crossRig) {
		user := r.create()
		r.ok(r.client.Management.UpdateSettings(r.Context(), connector.SettingsChange{SSO: &ssoSettings}))
		said := func() soar.Secret { return soar.SecretValue(r.sim.Assertion("mia@example.com")) }
		_, err := r.client.SSOCallback(r.Context(), said(), "")
		if !errors.Is(err, connector.ErrRefused) || !strings.Contains(err.Error(), "not been assigned to use SSO") {
			r.Errorf("user without single sign-on: %v", err)
		}
		r.ok(r.client.Users.Update(r.Context(), user.ID, connector.UserChange{SSO: new(true)}))
		page, err := r.client.SSOCallback(r.Context(), said(), "https://er.example/alerts")
		r.ok(err)
		if !bytes.Contains(page, []byte("'https://er.example/alerts'")) {
			r.Errorf("page: %s", page)
		}
		_, err = r.client.SSOCallback(r.Context(), soar.SecretValue("Zm9yZ2Vk"), "")
		if !errors.Is(err, connector.ErrRefused) {
			r.Errorf("forged: %v", err)
		}
	}},

	"users-list": {test: func(r *crossRig) {
		r.create()
		page, err := r.client.Users.Page(r.Context(), connector.UserQuery{Limit: 2, Role: connector.RoleAnalyst, Active: new(true), Desc: true})
		r.ok(err)
		r.is("count", []int{page.Count, page.Total, len(page.Results)}, []int{2, 3, 2})
		r.is("first", page.Results[0].Username, "mia.maker")
		var names []string
		for user, err := range r.client.Users.List(r.Context(), connector.UserQuery{Limit: 2}) {
			r.ok(err)
			names = append(names, user.Username)
		}
		r.is("all", names, []string{"admin", "analyst", "mia.maker"})
	}},
	"users-create": {test: func(r *crossRig) {
		user := r.create()
		r.is("user", user, connector.User{
			ID: 3, Username: "mia.maker", FirstName: "Mia", LastName: "Maker", Email: "mia@example.com", Active: true, Roles: []string{"analyst"},
		})
		other, err := r.loginAs("mia@example.com", goodPassword)
		r.ok(err)
		if _, err := other.Users.Page(r.Context(), connector.UserQuery{}); !errors.Is(err, connector.ErrForbidden) {
			r.Errorf("an analyst lists users: %v", err)
		}
		if err := r.client.Users.Create(r.Context(), maker); !errors.Is(err, connector.ErrRefused) {
			r.Errorf("twice: %v", err)
		}
	}},
	"users-assign-role": {test: func(r *crossRig) {
		user := r.create()
		r.ok(r.client.Users.AssignRole(r.Context(), connector.RoleAdmin, "mia.maker", "nobody", "admin"))
		user, err := r.client.Users.Get(r.Context(), user.ID)
		r.ok(err)
		r.is("admin", user.IsAdmin(), true)
	}},
	"users-get": {test: func(r *crossRig) {
		user, err := r.client.Users.Get(r.Context(), 2)
		r.ok(err)
		r.is("name", user.Username, "analyst")
		if _, err := r.client.Users.Get(r.Context(), 99); !errors.Is(err, connector.ErrNotFound) {
			r.Errorf("unknown id: %v", err)
		}
	}},
	"users-get-me": {user: "analyst", test: func(r *crossRig) {
		me, err := r.client.Users.Me(r.Context())
		r.ok(err)
		r.is("me", me, connector.User{ID: 2, Username: "analyst", FirstName: "analyst", Email: "analyst@example.com", Active: true, Roles: []string{"analyst"}})
	}},
	"users-update": {test: func(r *crossRig) {
		user := r.create()
		r.ok(r.client.Users.Update(r.Context(), user.ID, connector.UserChange{Username: "mia.other", LastName: new(""), Active: new(false)}))
		after, err := r.client.Users.Get(r.Context(), user.ID)
		r.ok(err)
		user.Username, user.LastName, user.Active = "mia.other", "", false
		r.is("after", after, user)
		if _, err := r.loginAs("mia.other", goodPassword); !errors.Is(err, connector.ErrBadCredentials) {
			r.Errorf("login of a user who may not: %v", err)
		}
		if err := r.client.Users.Update(r.Context(), 1, connector.UserChange{Role: connector.RoleAnalyst}); !errors.Is(err, connector.ErrRefused) {
			r.Errorf("own role: %v", err)
		}
	}},
	"users-update-me": {user: "analyst", test: func(r *crossRig) {
		r.ok(r.client.Users.UpdateMe(r.Context(), connector.UserChange{FirstName: "Ann", LastName: new("Lyst")}))
		me, err := r.client.Users.Me(r.Context())
		r.ok(err)
		r.is("name", []string{me.FirstName, me.LastName, me.Email}, []string{"Ann", "Lyst", "analyst@example.com"})
		calls := r.sim.Calls()["users-update-me"]
		if err := r.client.Users.UpdateMe(r.Context(), connector.UserChange{Role: connector.RoleAdmin}); !errors.Is(err, connector.ErrForbidden) {
			r.Errorf("own role: %v", err)
		}
		r.is("calls after the refusal", r.sim.Calls()["users-update-me"], calls)
	}},
	"users-activity": {test: func(r *crossRig) {
		r.create()
		id := r.sim.Raise(ersim.AlertSpec{})
		r.ok(r.client.Alerts.Resolve(r.Context(), []int64{id}, true, ""))
		r.ok(r.client.Management.SetLogLevel(r.Context(), connector.PartER, "INFO"))
		page, err := r.client.Users.ActivityPage(r.Context(), connector.PlatformActivityQuery{Limit: 2, UserID: 1})
		r.ok(err)
		r.is("count", []int{page.Count, page.Total, len(page.Results)}, []int{3, 3, 2})
		newest := page.Results[0]
		r.is("newest", []string{newest.Action, newest.ItemType, newest.ItemName, newest.Username}, []string{"updated", "Settings", "er_log_level", "admin"})
		if newest.At.IsZero() || newest.ID == 0 {
			r.Errorf("newest: %+v", newest)
		}
		r.is("resolved alert", []any{page.Results[1].ItemType, page.Results[1].ItemID}, []any{"Alerts", id})
		var kinds []string
		for one, err := range r.client.Users.Activity(r.Context(), connector.PlatformActivityQuery{Limit: 1, Search: "mia"}) {
			r.ok(err)
			kinds = append(kinds, one.Action+" "+one.ItemName)
		}
		r.is("about the new user", kinds, []string{"created mia.maker"})
	}},
	"users-reset-password": {test: func(r *crossRig) {
		user := r.create()
		other, err := r.loginAs("mia.maker", goodPassword)
		r.ok(err)
		r.ok(r.client.Users.ResetPassword(r.Context(), user.ID, soar.SecretValue("Another#Pass2")))
		if _, err := other.Users.Me(r.Context()); !errors.Is(err, connector.ErrBadCredentials) {
			r.Errorf("session with the old password: %v", err)
		}
		_, err = r.loginAs("mia.maker", "Another#Pass2")
		r.ok(err)
		if err := r.client.Users.ResetPassword(r.Context(), user.ID, soar.SecretValue("weak")); !errors.Is(err, connector.ErrRefused) {
			r.Errorf("weak: %v", err)
		}
	}},
	"users-change-my-password": {user: "analyst", test: func(r *crossRig) { r.changesPassword(r.client.Users.ChangeMyPassword) }},

	"management-changepw": {test: func(r *crossRig) { r.changesPassword(r.client.Management.ChangePassword) }},
	"management-verifypw": {user: "analyst", test: func(r *crossRig) {
		for password, want := range map[string]bool{"admin": true, "Admin": false} {
			got, err := r.client.Management.VerifyPassword(r.Context(), soar.SecretValue(password))
			r.ok(err)
			r.is(password, got, want)
		}
	}},
	"management-settings-get": {test: func(r *crossRig) {
		set, err := r.client.Management.Settings(r.Context())
		r.ok(err)
		r.is("retention", set.RetentionDays, 7)
		if set.AggregationWindow == nil || *set.AggregationWindow != 0 || set.SSOEnabled != nil || set.SSO != nil {
			r.Errorf("settings: %+v", set)
		}
	}},
	"management-settings-update": {test: func(r *crossRig) {
		ctx := r.Context()
		r.ok(r.client.Management.UpdateSettings(ctx, connector.SettingsChange{RetentionDays: 30}))
		r.ok(r.client.Management.UpdateSettings(ctx, connector.SettingsChange{AggregationWindow: new(2 * time.Minute)}))
		r.ok(r.client.Management.UpdateSettings(ctx, connector.SettingsChange{SSO: &ssoSettings}))
		r.ok(r.client.Management.UpdateSettings(ctx, connector.SettingsChange{SSOEnabled: new(true)}))
		set, err := r.client.Management.Settings(ctx)
		r.ok(err)
		r.is("after", set, connector.Settings{RetentionDays: 30, AggregationWindow: new(2 * time.Minute), SSOEnabled: new(true), SSO: &ssoSettings})
		host := r.sim.Hosts()[0].Identifier
		first := r.sim.Raise(ersim.AlertSpec{Host: host, Rule: "Run key written"})
		r.is("a second match joins the alert", r.sim.Raise(ersim.AlertSpec{Host: host, Rule: "Run key written"}), first)
		if err := r.client.Management.UpdateSettings(ctx, connector.SettingsChange{RetentionDays: 70}); !errors.Is(err, connector.ErrRefused) {
			r.Errorf("70 days: %v", err)
		}
	}},
	"management-apikeys-get": {test: func(r *crossRig) {
		keys, err := r.client.Management.APIKeys(r.Context())
		r.ok(err)
		r.is("before", keys, connector.APIKeys{})
		_, err = r.client.Management.UpdateAPIKeys(r.Context(), connector.APIKeys{AlienVault: soar.SecretValue(feedKey)})
		r.ok(err)
		keys, err = r.client.Management.APIKeys(r.Context())
		r.ok(err)
		r.is("after", keys, connector.APIKeys{AlienVault: soar.SecretValue(feedKey)})
	}},
	"management-apikeys-update": {test: func(r *crossRig) {
		out, err := r.client.Management.UpdateAPIKeys(r.Context(), connector.APIKeys{
			VirusTotal: soar.SecretValue("no key"), AlienVault: soar.SecretValue(feedKey),
			XForceKey: soar.SecretValue("11111111-2222-3333-4444-555555555555"), XForcePass: soar.SecretValue("x"),
		})
		r.ok(err)
		r.is("stored", out.Stored, []string{"alienvault", "ibmxforce"})
		r.is("refused", out.Refused, map[string]string{"virustotal": "This threat intel api key is invalid!"})
		r.is("keys now", out.Keys, connector.APIKeys{
			AlienVault: soar.SecretValue(feedKey), XForceKey: soar.SecretValue("11111111-2222-3333-4444-555555555555"), XForcePass: soar.SecretValue("x"),
		})
		_, err = r.client.Management.UpdateAPIKeys(r.Context(), connector.APIKeys{VirusTotal: soar.SecretValue("no key")})
		if !errors.Is(err, connector.ErrRefused) || strings.Contains(err.Error(), "no key") {
			r.Errorf("nothing stored: %v", err)
		}
	}},
	"management-av-get": {test: func(r *crossRig) {
		av, err := r.client.Management.AVEngines(r.Context())
		r.ok(err)
		r.is("numbers", []int{av.MinMatches, av.RetentionDays}, []int{3, 30})
		if on, known := av.Engines["Microsoft"]; !known || on {
			r.Errorf("engines: %v", av.Engines)
		}
	}},
	"management-av-update": {test: func(r *crossRig) {
		r.ok(r.client.Management.UpdateAVEngines(r.Context(), connector.AVEngines{Engines: map[string]bool{"Microsoft": true, "Unheard of": true}}))
		r.ok(r.client.Management.UpdateAVEngines(r.Context(), connector.AVEngines{MinMatches: 5}))
		av, err := r.client.Management.AVEngines(r.Context())
		r.ok(err)
		r.is("numbers", []int{av.MinMatches, av.RetentionDays}, []int{5, 30})
		r.is("selected", []bool{av.Engines["Microsoft"], av.Engines["Unheard of"], av.Engines["Sophos"]}, []bool{true, false, false})
	}},
	"management-log-level-get": {test: func(r *crossRig) {
		level, err := r.client.Management.LogLevel(r.Context(), connector.PartUI)
		r.ok(err)
		r.is("level", level, "WARNING")
	}},
	"management-log-level-update": {test: func(r *crossRig) {
		r.ok(r.client.Management.SetLogLevel(r.Context(), connector.PartER, "DEBUG"))
		for part, want := range map[connector.ServerPart]string{connector.PartER: "DEBUG", connector.PartUI: "WARNING"} {
			level, err := r.client.Management.LogLevel(r.Context(), part)
			r.ok(err)
			r.is(string(part), level, want)
		}
	}},
	"management-purge": {test: func(r *crossRig) {
		old := r.sim.Raise(ersim.AlertSpec{Rule: "Run key written", CreatedAt: time.Now().Add(-73 * time.Hour)})
		recent := r.sim.Raise(ersim.AlertSpec{Rule: "Run key written", CreatedAt: time.Now().Add(-71 * time.Hour)})
		if err := r.client.Management.Purge(r.Context(), 3, connector.DeleteForGood); !errors.Is(err, connector.ErrInvalid) {
			r.Errorf("without consent: %v", err)
		}
		r.is("calls without consent", r.sim.Calls()["management-purge"], 0)
		r.ok(r.client.Management.Purge(r.Context(), 3, connector.PurgeOldData))
		if _, err := r.client.Alerts.Get(r.Context(), old); !errors.Is(err, connector.ErrNotFound) {
			r.Errorf("old alert: %v", err)
		}
		_, err := r.client.Alerts.Get(r.Context(), recent)
		r.ok(err)
	}},
	"management-logs-list": {test: func(r *crossRig) {
		names, err := r.client.Management.LogFiles(r.Context(), connector.PartER)
		r.ok(err)
		r.is("names", names, []string{"er_log", "er_log.1"})
	}},
	"management-logs-download": {test: func(r *crossRig) {
		r.create()
		var got bytes.Buffer
		n, err := r.client.Management.DownloadLog(r.Context(), connector.PartUI, "log", &got)
		r.ok(err)
		r.is("length", n, int64(got.Len()))
		if !strings.Contains(got.String(), "admin created User mia.maker") {
			r.Errorf("log: %s", got.String())
		}
		if _, err := r.client.Management.DownloadLog(r.Context(), connector.PartUI, "nolog", &got); !errors.Is(err, connector.ErrNotFound) {
			r.Errorf("unknown file: %v", err)
		}
	}},
	"management-metrics": {user: "analyst", test: func(r *crossRig) {
		host := r.sim.Hosts()[2]
		for range 2 {
			r.sim.Raise(ersim.AlertSpec{Host: host.Identifier})
		}
		m, err := r.client.Management.Metrics(r.Context(), time.Now().Add(-5*time.Hour))
		r.ok(err)
		r.is("measurements", []int{len(m.Nginx), len(m.Postgres), len(m.RabbitMQ)}, []int{5, 5, 5})
		if !slices.ContainsFunc(m.TopHosts, func(h connector.HostVolume) bool { return h.Hostname == host.Name && h.Results >= 2 }) {
			r.Errorf("top hosts: %+v", m.TopHosts)
		}
		if m.Disk.Free <= 0 || m.Disk.Total < m.Disk.Free || m.Disk.Unit != "GB" {
			r.Errorf("disk: %+v", m.Disk)
		}
		newest := m.Postgres[0]
		if newest.Unit != "MB" || len(newest.Value) == 0 || !newest.At.After(m.Postgres[1].At) {
			r.Errorf("newest: %+v", newest)
		}
	}},

	"email-get": {user: "analyst", test: func(r *crossRig) {
		e, err := r.client.Email.Settings(r.Context())
		r.ok(err)
		r.is("before", e, connector.EmailSettings{})
	}},
	"email-update": {test: func(r *crossRig) {
		r.ok(r.client.Email.Update(r.Context(), mailSettings))
		e, err := r.client.Email.Settings(r.Context())
		r.ok(err)
		r.is("after", e, mailSettings)
		r.is("test mails", len(r.sim.Mails()), 1)
		unknown := mailSettings
		unknown.Server = "smtp.invalid"
		if err := r.client.Email.Update(r.Context(), unknown); !errors.Is(err, connector.ErrRefused) {
			r.Errorf("unknown mail server: %v", err)
		}
		e, err = r.client.Email.Settings(r.Context())
		r.ok(err)
		r.is("after the refusal", e.Server, "smtp.example.com")
	}},
	"email-test": {test: func(r *crossRig) {
		r.ok(r.client.Email.Test(r.Context(), mailSettings))
		r.is("mails", r.sim.Mails(), []ersim.Mail{{Server: "smtp.example.com", From: "er@example.com", To: mailSettings.To}})
		e, err := r.client.Email.Settings(r.Context())
		r.ok(err)
		r.is("settings", e, connector.EmailSettings{})
	}},
}

const feedKey = "44c8b4325d9579f701cd4cc01c0c84c1c3887b67ca4eeb6cc2f923b24dbed31f"

// changesPassword changes the password of the client's account. The client does not
// know it then, and says so instead of going on with its old session.
func (r *crossRig) changesPassword(change func(ctx context.Context, p connector.PasswordChange) error) {
	ctx := r.Context()
	me, err := r.client.Users.Me(ctx)
	r.ok(err)
	if err := change(ctx, connector.PasswordChange{New: soar.SecretValue("weak")}); !errors.Is(err, connector.ErrRefused) {
		r.Errorf("weak password: %v", err)
	}
	if err := change(ctx, connector.PasswordChange{Old: soar.SecretValue("wrong"), New: soar.SecretValue(goodPassword)}); !errors.Is(err, connector.ErrRefused) {
		r.Errorf("wrong present password: %v", err)
	}
	other, err := r.loginAs(me.Username, "admin")
	r.ok(err)
	r.ok(change(ctx, connector.PasswordChange{New: soar.SecretValue(goodPassword)}))
	for name, client := range map[string]*connector.Client{"own": r.client, "other": other} {
		if _, err := client.Users.Me(ctx); !errors.Is(err, connector.ErrBadCredentials) {
			r.Errorf("%s session after the change: %v", name, err)
		}
	}
	_, err = r.loginAs(me.Username, goodPassword)
	r.ok(err)
}

// TestPasswordOfRelease2 changes a password where sessions outlive that.
func TestPasswordOfRelease2(t *testing.T) {
	r := newCrossRig(t, cross{profile: "2.1.2"})
	other, err := r.loginAs("admin", "admin")
	r.ok(err)
	r.ok(r.client.Management.ChangePassword(r.Context(), connector.PasswordChange{New: soar.SecretValue("short")}))
	_, err = other.Hosts.Count(r.Context())
	r.ok(err)
	if _, err := r.client.Hosts.Count(r.Context()); !errors.Is(err, connector.ErrBadCredentials) {
		t.Errorf("the client goes on with the password that it has: %v", err)
	}
}

// TestReleaseTwoLacksUsersAndDownloads says so in words.
func TestReleaseTwoLacksUsersAndDownloads(t *testing.T) {
	r := newCrossRig(t, cross{profile: "2.1.2"})
	ctx := r.Context()
	_, list := r.client.Users.Page(ctx, connector.UserQuery{})
	var file bytes.Buffer
	_, download := r.client.Downloads.Certificate(ctx, &file)
	_, sso := r.client.SSOLogin(ctx)
	for what, err := range map[string]error{
		"users": list, "download": download, "sso": sso,
		"purge":    r.client.Management.Purge(ctx, 1, connector.PurgeOldData),
		"settings": r.client.Management.UpdateSettings(ctx, connector.SettingsChange{SSOEnabled: new(true)}),
	} {
		if !errors.Is(err, connector.ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	r.is("written", file.Len(), 0)
}

// TestSettingsOfRelease2 reads numbers where release 4.0 has text.
func TestSettingsOfRelease2(t *testing.T) {
	r := newCrossRig(t, cross{profile: "2.1.2"})
	ctx := r.Context()
	r.ok(r.client.Management.UpdateSettings(ctx, connector.SettingsChange{AggregationWindow: new(90 * time.Second)}))
	set, err := r.client.Management.Settings(ctx)
	r.ok(err)
	r.is("settings", set, connector.Settings{RetentionDays: 7, AggregationWindow: new(90 * time.Second)})
	if err := r.client.Management.UpdateSettings(ctx, connector.SettingsChange{AggregationWindow: new(time.Duration(0))}); !errors.Is(err, connector.ErrRefused) {
		t.Errorf("no aggregation: %v", err)
	}
	// One key of three is failure there, and stored all the same.
	out, err := r.client.Management.UpdateAPIKeys(ctx, connector.APIKeys{VirusTotal: soar.SecretValue(feedKey)})
	r.ok(err)
	r.is("stored", out.Stored, []string{"virustotal"})
	d, err := r.client.Dashboard(ctx)
	r.ok(err)
	r.is("hosts", d.Online, 6)
	mail := mailSettings
	mail.TLS = false
	r.ok(r.client.Email.Update(ctx, mail))
	e, err := r.client.Email.Settings(ctx)
	r.ok(err)
	r.is("mail", e, mail)
}
