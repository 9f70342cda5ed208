package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// ManagementService is the section "Management" of the REST guide: settings of the
// server, its keys for threat intelligence, its logs, its numbers.
type ManagementService struct {
	c    *Client
	turn turn
}

// ChangePassword changes the password of the account that this client uses. Since
// release 3.5 that ends all sessions of the account, this client's included: it
// forgets its token, and its next call logs in with the password of Options. So
// the configured password has to be changed too, and a new Client be made; until
// then every call is ErrBadCredentials.
// API: POST /management/changepw (REST guide 4.0.0, "Change password for a user").
func (s *ManagementService) ChangePassword(ctx context.Context, p PasswordChange) error {
	return s.c.changePassword(ctx, callManagementChangepw, p)
}

// VerifyPassword reports whether a password is that of the account that this client
// uses.
// API: POST /management/verifypw (REST guide 4.0.0, "Verify password for a user";
// since release 3.5).
func (s *ManagementService) VerifyPassword(ctx context.Context, password soar.Secret) (bool, error) {
	text, err := reveal("verify password", password)
	if err != nil {
		return false, err
	}
	err = s.c.do(ctx, callManagementVerifypw, map[string]any{"password": text}, nil)
	if refusal, ok := errors.AsType[*APIError](err); ok && good(refusal.Status) && errors.Is(err, ErrRefused) {
		return false, nil
	}
	return err == nil, err
}

// Settings are settings of the whole server.
type Settings struct {
	// RetentionDays is how many days data is kept before the server purges it; 0 if
	// that is not set.
	RetentionDays int
	// AggregationWindow is how long an alert absorbs further matches of its rule on
	// its host, in whole seconds; nil if that is not set: the server takes 60s.
	AggregationWindow *time.Duration
	// SSOEnabled tells whether single sign-on is on; nil if it never was set, which
	// is off, and before release 3.5.
	SSOEnabled *bool
	// SSO is how the server is known to the identity provider; nil if not set.
	SSO *SSOSettings
}

// SSOSettings connect the server with an identity provider. All are needed.
type SSOSettings struct {
	MetadataURL string // of the identity provider
	AppName     string
	EntityID    string
}

// Settings fetches the settings.
// API: GET /management/settings (REST guide 4.0.0, "Get server configuration
// settings").
func (s *ManagementService) Settings(ctx context.Context) (set Settings, err error) {
	err = s.c.do(ctx, callManagementSettingsGet, nil, data(func(v value) {
		set.RetentionDays = v.at("purge_data_duration").count()
		if seconds, ok := v.at("alert_aggregation_duration").integer(); ok && seconds >= 0 && seconds <= maxSeconds {
			set.AggregationWindow = new(time.Duration(seconds) * time.Second)
		}
		set.SSOEnabled = v.at("sso_enable").boolean()
		if sso := v.at("sso_configuration"); sso.raw() != nil {
			set.SSO = &SSOSettings{
				MetadataURL: sso.at("idp_metadata_url").text(), AppName: sso.at("app_name").text(), EntityID: sso.at("entity_id").text(),
			}
		}
	}))
	return set, err
}

const maxSeconds = 100 * 365 * 24 * 3600

// SettingsChange is what shall be different. Zero and nil fields leave things as
// they are.
type SettingsChange struct {
	RetentionDays     int            // 1 to 69, unless the server is set up otherwise
	AggregationWindow *time.Duration // whole seconds, 0 to 24 hours; before release 3.5 not 0
	SSOEnabled        *bool          // since release 3.5
	SSO               *SSOSettings   // since release 3.5
}

// UpdateSettings changes settings and leaves the others alone. The guide calls the
// retention needed, and release 4.0 stores single sign-on alone and then crashes;
// so where the change does not name the retention it is read and sent along, and a
// change of it that somebody else makes between the two is lost. Releases that do
// not know single sign-on say success to it: it is read back, and ErrUnavailable
// if it is not there. Of several settings the first may be stored before another is
// refused: ErrUncertain. It needs the admin role in release 4.0.
// API: PUT /management/settings (REST guide 4.0.0, "Update server configuration
// settings").
func (s *ManagementService) UpdateSettings(ctx context.Context, change SettingsChange) error {
	in, err := change.body()
	if err != nil {
		return err
	}
	k := callManagementSettingsUpdate
	release, err := s.turn.take(ctx)
	if err != nil {
		return before(k, err)
	}
	defer release()
	if change.RetentionDays == 0 {
		now, err := s.Settings(ctx)
		switch {
		case err != nil:
			return before(k, err)
		case now.RetentionDays > 0:
			in["purge_data_duration"] = strconv.Itoa(now.RetentionDays)
		case change.AggregationWindow == nil && change.SSO == nil:
			return fmt.Errorf("update settings: %w: the server has no retention set; give one, because it crashes on single sign-on alone", ErrInvalid)
		}
	}
	err = s.c.do(ctx, k, in, nil)
	if change.RetentionDays > 0 && len(in) > 1 {
		err = halfway(err) // the server stores one setting after the other
	}
	if err != nil {
		return err
	}
	if change.SSOEnabled == nil && change.SSO == nil {
		return nil
	}
	now, err := s.Settings(ctx)
	switch {
	case err != nil:
		return unread("update settings", nil, err)
	case change.SSOEnabled != nil && now.SSOEnabled == nil || change.SSO != nil && now.SSO == nil:
		return fmt.Errorf("update settings: single sign-on: %w", unavailable{call{releases: "since 3.5"}})
	}
	return nil
}

func (c SettingsChange) body() (map[string]any, error) {
	in := map[string]any{}
	wrong := func(text string) (map[string]any, error) {
		return nil, fmt.Errorf("update settings: %w: %s", ErrInvalid, text)
	}
	switch {
	case c == SettingsChange{}:
		return wrong("nothing to change")
	case c.RetentionDays < 0:
		return wrong(fmt.Sprintf("retention of %d days; 1 is the least", c.RetentionDays))
	case c.RetentionDays > 0:
		in["purge_data_duration"] = strconv.Itoa(c.RetentionDays)
	}
	if window := c.AggregationWindow; window != nil {
		if *window < 0 || *window > 24*time.Hour || *window%time.Second != 0 {
			return wrong(fmt.Sprintf("aggregation window %s; whole seconds from 0s to 24h", *window))
		}
		in["alert_aggregation_duration"] = strconv.FormatInt(int64(*window/time.Second), 10)
	}
	if c.SSOEnabled != nil {
		in["sso_enable"] = strconv.FormatBool(*c.SSOEnabled) // text, not a boolean
	}
	if sso := c.SSO; sso != nil {
		if sso.MetadataURL == "" || sso.AppName == "" || sso.EntityID == "" {
			return wrong("single sign-on needs the metadata URL, the application's name and the entity id")
		}
		in["sso_configuration"] = map[string]any{"idp_metadata_url": sso.MetadataURL, "app_name": sso.AppName, "entity_id": sso.EntityID}
	}
	return in, nil
}

// AVEngines says how the server reads an answer of VirusTotal.
type AVEngines struct {
	// MinMatches is how many of the engines that are not selected must be exceeded for
	// an alert.
	MinMatches int
	// RetentionDays is after how many days the server asks for a hash again; 0 before
	// release 3.5.
	RetentionDays int
	// Engines tells which engines are selected: one of those is enough for an alert.
	Engines map[string]bool
}

// AVEngines fetches how the server reads an answer of VirusTotal.
// API: GET /management/virustotal/av_engine (REST guide 4.0.0, "Get VirusTotal
// engine configuration").
func (s *ManagementService) AVEngines(ctx context.Context) (av AVEngines, err error) {
	given := false
	err = s.c.do(ctx, callManagementAvGet, nil, data(func(v value) {
		given = v.isObject()
		av = AVEngines{
			MinMatches:    v.at("min_match_count").count(),
			RetentionDays: v.at("vt_scan_retention_period").count(),
			Engines:       make(map[string]bool),
		}
		for name, engine := range v.at("av_engines").fields() {
			av.Engines[name] = engine.at("status").truth()
		}
	}))
	if err == nil && !given {
		err = missing(callManagementAvGet)
	}
	return av, err
}

// UpdateAVEngines changes how the server reads an answer of VirusTotal. Zero numbers
// and engines that are not named stay as they are; engines that the server does not
// know are passed over without a word. It needs the admin role in release 4.0.
// API: POST /management/virustotal/av_engine (REST guide 4.0.0, "Update VirusTotal
// engine configuration").
func (s *ManagementService) UpdateAVEngines(ctx context.Context, av AVEngines) error {
	switch {
	case av.MinMatches == 0 && av.RetentionDays == 0 && len(av.Engines) == 0:
		return fmt.Errorf("update engines: %w: nothing to change", ErrInvalid)
	case av.MinMatches < 0 || av.RetentionDays < 0:
		return fmt.Errorf("update engines: %w: numbers below 0", ErrInvalid)
	}
	in := map[string]any{}
	if av.MinMatches > 0 {
		in["min_match_count"] = av.MinMatches
	}
	if av.RetentionDays > 0 {
		in["vt_scan_retention_period"] = av.RetentionDays
	}
	if len(av.Engines) > 0 {
		engines := map[string]any{}
		for name, on := range av.Engines {
			engines[name] = map[string]any{"status": on}
		}
		in["av_engines"] = engines
	}
	return s.c.do(ctx, callManagementAvUpdate, in, nil)
}

// ServerPart is one of the two programs that a server consists of.
type ServerPart string

// The parts.
const (
	PartER ServerPart = "ER"    // talks with agents and raises alerts
	PartUI ServerPart = "ER-UI" // serves the API and the console
)

func (p ServerPart) check(what string) error {
	if p == "" {
		return fmt.Errorf("%s: %w: part is missing; it is ER or ER-UI", what, ErrInvalid)
	}
	return inSet(what, "part", p, PartER, PartUI)
}

// LogLevel fetches how much a part of the server logs: WARNING, INFO or DEBUG. It
// needs the admin role.
// API: GET /management/log_setting (REST guide 4.0.0, "Get server log level
// setting"; since release 3.5).
func (s *ManagementService) LogLevel(ctx context.Context, part ServerPart) (level string, err error) {
	if err := part.check("log level"); err != nil { // the server takes any other for ER-UI
		return "", err
	}
	k := callManagementLogLevelGet.asking(map[string]string{"server_name": string(part)})
	err = s.c.do(ctx, k, nil, data(func(v value) { level = v.at("log_level").text() }))
	if err == nil && level == "" {
		err = missing(k)
	}
	return level, err
}

// SetLogLevel sets how much a part of the server logs: WARNING, INFO or DEBUG.
// DEBUG writes the bodies of requests to the log, passwords included. It needs the
// admin role.
// API: PUT /management/log_setting (REST guide 4.0.0, "Update server log level
// setting"; since release 3.5).
func (s *ManagementService) SetLogLevel(ctx context.Context, part ServerPart, level string) error {
	if err := part.check("set log level"); err != nil {
		return err
	}
	if level == "" { // the server says success and does nothing
		return fmt.Errorf("set log level: %w: level is missing", ErrInvalid)
	}
	if err := inSet("set log level", "level", level, "WARNING", "INFO", "DEBUG"); err != nil {
		return err
	}
	key := "er_log_level"
	if part == PartUI {
		key = "er_ui_log_level"
	}
	return s.c.do(ctx, callManagementLogLevelUpdate, map[string]any{key: level}, nil)
}

// Purge deletes alerts, events and logs that are older than days, for good and on
// all hosts, so it takes the consent PurgeOldData. The server does it in the
// background and does not tell when it is done. It needs the admin role.
// API: POST /management/manual_purge (REST guide 4.0.0, "Purge server data"; since
// release 3.5).
func (s *ManagementService) Purge(ctx context.Context, days int, consent Consent) error {
	if err := consent.must(PurgeOldData, "purge"); err != nil {
		return err
	}
	if days < 1 {
		return fmt.Errorf("purge: %w: %d days; 1 is the least", ErrInvalid, days)
	}
	// The server's own spelling; the guide's table has another one.
	return s.c.do(ctx, callManagementPurge, map[string]any{"rentention_days": days}, nil)
}

// LogFiles lists the log files of a part of the server. It needs the admin role.
// API: GET /management/download_log (REST guide 4.0.0, "Get a list of all log file
// names"; since release 3.5).
func (s *ManagementService) LogFiles(ctx context.Context, part ServerPart) (names []string, err error) {
	if err := part.check("log files"); err != nil {
		return nil, err
	}
	k := callManagementLogsList.asking(map[string]string{"server_name": string(part)})
	return listed(ctx, s.c, k, func(v value) (string, error) {
		name := v.text()
		if name == "" {
			return "", errors.New("file without a name")
		}
		return name, nil
	})
}

// DownloadLog copies a log file, named by LogFiles, to w while it arrives, and
// returns its length. A log may be empty. After an error, what w has is not the
// whole file. A file that there is not is ErrNotFound. It needs the admin role.
// API: POST /management/download_log (REST guide 4.0.0, "Download a specific log
// file"; since release 3.5).
func (s *ManagementService) DownloadLog(ctx context.Context, part ServerPart, name string, w io.Writer) (int64, error) {
	if err := part.check("download log"); err != nil {
		return 0, err
	}
	if name == "" || strings.ContainsAny(name, `/\`) {
		return 0, fmt.Errorf("download log: %w: %q is not the name of a file", ErrInvalid, clip(name, 128))
	}
	in := map[string]any{"server_name": string(part), "filename": name}
	return s.c.fetch(ctx, callManagementLogsDownload, in, isNoPage, w)
}

// Metrics are numbers about the server itself.
type Metrics struct {
	// TopHosts are the five hosts that sent most results today.
	TopHosts []HostVolume
	Disk     DiskUsage
	// Nginx, Postgres and RabbitMQ are taken about once an hour, newest first, and
	// kept for a day.
	Nginx, Postgres, RabbitMQ []Metric
}

// HostVolume is how many results a host sent.
type HostVolume struct {
	Hostname string
	Results  int64
}

// DiskUsage is the room on the server's disk.
type DiskUsage struct {
	Total, Free float64
	Unit        string // GB
}

// Metric is one measurement.
type Metric struct {
	At    time.Time
	Unit  string          // such as MB; may be empty
	Value json.RawMessage // a number or an object
}

// Metrics fetches the measurements since a time, to the second.
// API: POST /management/metrics (REST guide 4.0.0, "Fetch server metrics"; since
// release 3.5).
func (s *ManagementService) Metrics(ctx context.Context, from time.Time) (m Metrics, err error) {
	given := false
	in := map[string]any{"from_time": from.UTC().Format("2006-01-02 15:04:05")}
	err = s.c.do(ctx, callManagementMetrics, in, data(func(v value) {
		given = v.isObject()
		disk := v.at("DISKUSAGE")
		m = Metrics{
			Disk:  DiskUsage{Total: decimal(disk.at("total")), Free: decimal(disk.at("free")), Unit: disk.at("unit").text()},
			Nginx: measurements(v.at("NGINX")), Postgres: measurements(v.at("POSTGRES")), RabbitMQ: measurements(v.at("RABBITMQ")),
		}
		for row := range v.at("TOPHOSTS").items() {
			m.TopHosts = append(m.TopHosts, HostVolume{Hostname: row.at("hostname").text(), Results: row.at("value").id()})
		}
	}))
	if err == nil && !given {
		err = missing(callManagementMetrics)
	}
	return m, err
}

func measurements(v value) []Metric {
	var list []Metric
	for row := range v.items() {
		list = append(list, Metric{At: row.at("created_at").time(), Unit: row.at("unit").text(), Value: row.at("value").raw()})
	}
	return list
}

// decimal is a number with a fraction, 0 for anything else.
func decimal(v value) float64 {
	n, err := strconv.ParseFloat(v.text(), 64)
	if err != nil {
		return 0
	}
	return n
}
