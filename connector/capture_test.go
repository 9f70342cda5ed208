package connector

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

var update = flag.Bool("update", false, "rewrite the files below testdata that tests compare with")

const (
	captureDir    = "testdata/captures"
	captureGolden = "testdata/captures.golden"
)

// TestCapture replays recorded exchanges with a real server, release 2.1.2, to
// the real client. Recordings of testdata/captures must give what stands in
// testdata/captures.golden. ERBRIDGE_CAPTURES names another folder; recordings
// there that are not among ours must be explained: decoded, or named by the error
// that they hold; files that are not .txt are passed over. What was decoded is
// compared with what encoding/json alone makes of the same body in either case.
func TestCapture(t *testing.T) {
	dir := captureDir
	if other := os.Getenv("ERBRIDGE_CAPTURES"); other != "" {
		dir = other
	}
	golden := readCaptureGolden(t)
	results := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if filepath.Ext(path) != ".txt" {
			t.Logf("passed over, not a .txt: %s", path)
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		ours, _ := os.ReadFile(filepath.Join(captureDir, name))
		known := len(ours) > 0 && bytes.Equal(ours, text)
		t.Run(name, func(t *testing.T) {
			if bytes.Contains(text, []byte("RECV opcode")) {
				replayTranscript(t, string(text))
				return
			}
			ex, err := parseExchange(text)
			if err != nil {
				t.Fatalf("not an exchange: %v", err)
			}
			got := replay(t, ex)
			t.Log(got.headline())
			results[name] = got.String()
			if !got.explained() {
				t.Errorf("cannot be explained: %s", got)
			}
			if known && !*update && got.String() != golden[name] {
				t.Errorf("differs from %s\n--- got\n%s\n--- want\n%s", captureGolden, got, golden[name])
			}
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if *update && dir == captureDir {
		writeCaptureGolden(t, results)
	}
}

func readCaptureGolden(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(captureGolden)
	if err != nil && !*update {
		t.Fatal(err)
	}
	golden := make(map[string]string)
	for section := range strings.SplitSeq("\n"+string(text), "\n=== ") {
		name, body, _ := strings.Cut(section, "\n")
		golden[name] = strings.TrimSuffix(body, "\n")
	}
	return golden
}

func writeCaptureGolden(t *testing.T, results map[string]string) {
	t.Helper()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(results)) {
		fmt.Fprintf(&b, "=== %s\n%s\n", name, results[name])
	}
	if err := os.WriteFile(captureGolden, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// exchange is a recorded request with its answer.
type exchange struct {
	method  string
	base    string // /services/api/v1
	path    string // below base, as recorded
	query   url.Values
	body    []byte
	args    map[string]any // body as JSON, if it is an object
	noToken bool

	status int
	header http.Header
	answer []byte
}

var basePattern = regexp.MustCompile(`^(.*/services/api/v[0-9]+)(/.*)?$`)

// parseExchange reads the two forms of recordings: raw HTTP below "### REQUEST"
// and "### RESPONSE", and the shorter one made behind the server's proxy.
func parseExchange(text []byte) (*exchange, error) {
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	var request, response []byte
	if _, rest, ok := bytes.Cut(text, []byte("### REQUEST\n")); ok {
		if request, response, ok = bytes.Cut(rest, []byte("### RESPONSE\n")); !ok {
			return nil, errors.New("no ### RESPONSE")
		}
	} else if request, response, ok = bytes.Cut(text, []byte("\n\n")); !ok {
		return nil, errors.New("no answer")
	}
	ex := new(exchange)
	line, rest, _ := bytes.Cut(request, []byte("\n"))
	words := strings.Fields(string(line))
	if len(words) < 2 || !strings.HasPrefix(words[1], "/") {
		return nil, fmt.Errorf("%q is not a request line", line)
	}
	ex.method = words[0]
	target, err := url.Parse(words[1])
	if err != nil {
		return nil, err
	}
	ex.query = target.Query()
	if m := basePattern.FindStringSubmatch(target.EscapedPath()); m != nil {
		ex.base, ex.path = m[1], m[2]
	} else {
		ex.path = target.EscapedPath()
	}
	head, body, _ := bytes.Cut(rest, []byte("\n\n"))
	ex.noToken = !bytes.Contains(bytes.ToLower(head), []byte("x-access-token"))
	ex.body = bytes.TrimSpace(body)
	if json.Unmarshal(ex.body, &ex.args) != nil {
		ex.args = nil
	}
	return ex, ex.parseAnswer(response)
}

func (ex *exchange) parseAnswer(text []byte) error {
	line, rest, _ := bytes.Cut(text, []byte("\n"))
	words := strings.Fields(strings.TrimPrefix(string(line), "HTTP/1.1 "))
	if len(words) == 0 {
		return errors.New("no status line")
	}
	var err error
	if ex.status, err = strconv.Atoi(words[0]); err != nil {
		return fmt.Errorf("status line: %w", err)
	}
	head, body, _ := bytes.Cut(rest, []byte("\n\n"))
	header, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(head, "\n\n"...)))).ReadMIMEHeader()
	if err != nil {
		return fmt.Errorf("headers: %w", err)
	}
	ex.header = http.Header(header)
	if ex.header.Get("Transfer-Encoding") == "chunked" && ex.header.Get("Content-Encoding") == "" {
		body = joinChunks(body)
	}
	ex.answer = body
	return nil
}

// joinChunks undoes chunked encoding. The line ends of recordings were changed,
// so the sizes no longer fit and only the lines that hold them are taken out.
func joinChunks(body []byte) []byte {
	var out []byte
	for line := range bytes.Lines(body) {
		if text := bytes.TrimSpace(line); len(text) > 0 && len(text) < 8 {
			if _, err := strconv.ParseUint(string(text), 16, 32); err == nil {
				continue
			}
		}
		out = append(out, line...)
	}
	return bytes.TrimRight(out, "\n")
}

// replayed is what the client made of an exchange.
type replayed struct {
	call  string // as in Alerts.Page
	note  string
	value any
	err   error
}

func (r replayed) headline() string {
	s := r.call
	if r.note != "" {
		s += " (" + r.note + ")"
	}
	return s + ": " + outcome(r.err)
}

func (r replayed) String() string {
	s := r.headline()
	if r.err != nil {
		return s + "\n" + r.err.Error()
	}
	text, err := json.MarshalIndent(r.value, "", " ")
	if err != nil {
		return s + "\n" + err.Error()
	}
	return s + "\n" + string(text)
}

// explained reports whether the exchange was decoded or holds an error that has a
// name.
func (r replayed) explained() bool {
	return r.err == nil || outcome(r.err) != "error"
}

// errNotOurs means that the client never sends such a request.
var errNotOurs = errors.New("the client does not send such a request")

// route finds the client's call for a method and path.
type route struct {
	method, pattern, name string
	do                    func(ctx context.Context, c *Client, ex *exchange, parts []string) (any, error)
}

var routes = []route{
	{"POST", "/login", "Login", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		if ex.args["username"] == nil || ex.args["password"] == nil {
			return nil, errNotOurs
		}
		err := c.Login(ctx)
		return map[string]any{"token": c.session.token.text}, err
	}},
	{"POST", "/logout", "Logout", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		return nil, c.Logout(ctx)
	}},
	{"GET", "/index", "Index", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) { return c.Index(ctx) }},
	{"POST", "/hosts", "Hosts.Page", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		page, err := c.Hosts.Page(ctx, HostQuery{Start: ex.int("start"), Limit: ex.int("limit")})
		return page, errors.Join(ours(err), sameRows(ex, err, page, func(h Host) map[string]any {
			return map[string]any{"id": h.ID, "host_identifier": h.Identifier, "display_name": h.Name, "last_ip": h.LastIP,
				"alerts_count": h.AlertCount, "tags": h.Tags, "is_active": h.Online}
		}))
	}},
	{"GET", "/hosts/count", "Hosts.Count", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		return c.Hosts.Count(ctx)
	}},
	{"GET", "/hosts/{}", "Hosts.Get", func(ctx context.Context, c *Client, ex *exchange, p []string) (any, error) {
		h, err := c.Hosts.Get(ctx, p[0])
		return map[string]any{"host": h, "normal": NormalizeHost(h)}, errors.Join(err, sameData(ex, err,
			map[string]any{"id": h.ID, "host_identifier": h.Identifier, "last_ip": h.LastIP}))
	}},
	{"GET", "/hosts/{}/tags", "Hosts.Tags", func(ctx context.Context, c *Client, _ *exchange, p []string) (any, error) {
		return c.Hosts.Tags(ctx, p[0])
	}},
	{"POST", "/hosts/{}/tags", "Hosts.AddTag", func(ctx context.Context, c *Client, ex *exchange, p []string) (any, error) {
		return nil, ours(c.Hosts.AddTag(ctx, p[0], ex.text("tag")))
	}},
	{"DELETE", "/hosts/{}/tags", "Hosts.RemoveTag", func(ctx context.Context, c *Client, ex *exchange, p []string) (any, error) {
		return nil, ours(c.Hosts.RemoveTag(ctx, p[0], ex.text("tag")))
	}},
	{"POST", "/alerts", "Alerts.Page", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		page, err := c.Alerts.Page(ctx, AlertQuery{Start: ex.int("start"), Limit: ex.int("limit"), Source: ex.text("source")})
		if errors.Is(err, ErrInvalid) {
			return nil, ours(err)
		}
		normal := make([]soar.Alert, 0)
		for _, a := range page.Results {
			normal = append(normal, Normalize("er", "https://er.example", a, nil, nil))
		}
		return map[string]any{"count": page.Count, "total": page.Total, "malformed": page.Malformed, "alerts": normal},
			errors.Join(err, sameRows(ex, err, page, func(a Alert) map[string]any {
				return map[string]any{"id": a.ID, "query_name": a.QueryName, "node_id": a.NodeID, "severity": a.Severity,
					"source": a.Source, "status": a.Status, "alerted_entry": a.Columns, "hostname": a.Hostname,
					"result_log_uid": a.ResultLogUID, "aggregated_events_count": a.EventCount, "intel_data": a.Intel}
			}))
	}},
	{"GET", "/alerts/count_by_source", "Alerts.CountBySource", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		return c.Alerts.CountBySource(ctx, AlertCountQuery{}) // with a host, that would be looked up before
	}},
	{"POST", "/alerts/alert_source/export", "Alerts.Export", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		var text strings.Builder
		_, err := c.Alerts.Export(ctx, AlertFilter{Source: ex.text("source")}, &text)
		return strings.Split(strings.ReplaceAll(text.String(), "\r", ""), "\n"), ours(err)
	}},
	{"PUT", "/alerts", "Alerts.Resolve", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		var ids []int64
		list, _ := ex.args["alert_ids"].([]any)
		for _, id := range list {
			if n, ok := id.(float64); ok {
				ids = append(ids, int64(n))
			}
		}
		resolve, _ := ex.args["resolve"].(bool)
		if len(ids) == 0 || !resolve {
			return nil, errNotOurs
		}
		return nil, c.Alerts.Resolve(ctx, ids, true, ex.text("comment"))
	}},
	{"GET", "/alerts/{}", "Alerts.Get", func(ctx context.Context, c *Client, ex *exchange, p []string) (any, error) {
		id, err := strconv.ParseInt(p[0], 10, 64)
		if err != nil {
			return nil, errNotOurs
		}
		a, err := c.Alerts.Get(ctx, id)
		return Normalize("er", "https://er.example", a, nil, nil), errors.Join(err, sameData(ex, err, map[string]any{
			"query_name": a.QueryName, "node_id": a.NodeID, "severity": a.Severity, "platform": a.Platform,
			"message": a.Columns, "source_data": a.Intel, "status": a.Status}))
	}},
	{"GET", "/alerts/{}/alerted_events", "Alerts.AggregatedEvents", aggregatedRoute},
	{"POST", "/alerts/{}/alerted_events", "Alerts.AggregatedEvents", aggregatedRoute},
	{"GET", "/alerts/{}/events", "Alerts.RelatedEvents", func(ctx context.Context, c *Client, _ *exchange, p []string) (any, error) {
		return c.Alerts.RelatedEvents(ctx, number(p[0]))
	}},
	{"POST", "/alerts/process", "Alerts.ProcessTree", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		return c.Alerts.ProcessTree(ctx, ProcessQuery{GUID: "G", NodeID: 1})
	}},
	{"POST", "/alerts/process/child", "Alerts.ProcessChildren", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		return c.Alerts.ProcessChildren(ctx, ChildQuery{GUID: "G", NodeID: 1, Action: "PROC_CREATE"})
	}},
	{"GET", "/alerts/{}/analyst/notes", "Alerts.Notes", func(ctx context.Context, c *Client, _ *exchange, p []string) (any, error) {
		return c.Alerts.Notes(ctx, number(p[0]))
	}},
	{"POST", "/alerts/{}/analyst/notes", "Alerts.AddNote", func(ctx context.Context, c *Client, ex *exchange, p []string) (any, error) {
		return result(c.Alerts.AddNote(ctx, number(p[0]), ex.text("notes")))
	}},
	{"PUT", "/alerts/{}/analyst/notes", "Alerts.UpdateNote", func(ctx context.Context, c *Client, ex *exchange, p []string) (any, error) {
		return nil, ours(c.Alerts.UpdateNote(ctx, number(p[0]), int64(ex.int("note_id")), ex.text("notes")))
	}},
	{"DELETE", "/alerts/{}/analyst/notes", "Alerts.DeleteNote", func(ctx context.Context, c *Client, ex *exchange, p []string) (any, error) {
		return nil, c.Alerts.DeleteNote(ctx, number(p[0]), int64(ex.int("note_id")), DeleteForGood)
	}},
	{"POST", "/response", "Responses.Page", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		return c.Responses.Page(ctx, ResponseQuery{})
	}},
	{"POST", "/response/view", "Responses.View", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		return c.Responses.View(ctx, 1)
	}},
	{"GET", "/response/status/all", "Responses.StatusAll", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		return c.Responses.StatusAll(ctx)
	}},
	{"GET", "/response/{}", "Responses.Get", func(ctx context.Context, c *Client, _ *exchange, p []string) (any, error) {
		return c.Responses.Get(ctx, p[0])
	}},
	{"POST", "/response/status", "Responses.Status", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		return c.Responses.Status(ctx, "H")
	}},
	{"POST", "/response/add", "Responses.StopProcess", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		return c.Responses.StopProcess(ctx, StopProcess{Hosts: []string{"H"}, PID: "1"})
	}},
	{"POST", "/response/custom-action", "Responses.RunScript", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		return c.Responses.RunScript(ctx, Script{Hosts: []string{"H"}, Kind: ScriptShell, Content: "id"})
	}},
	{"POST", "/response/cancel", "Responses.Cancel", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		return nil, c.Responses.Cancel(ctx, "c")
	}},
	{"POST", "/response/restart-agent", "Responses.RestartAgent", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		return nil, c.Responses.RestartAgent(ctx, "H")
	}},
	{"POST", "/defender-management/scan-now", "Defender.Scan", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		return c.Defender.Scan(ctx, "H", ScanQuick, "")
	}},
	{"POST", "/defender-management/computer-status", "Defender.ComputerStatus",
		func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
			return c.Defender.ComputerStatus(ctx, "H")
		}},
	{"POST", "/defender-management/get-quarantine", "Defender.Quarantine",
		func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
			return c.Defender.Quarantine(ctx, "H")
		}},
	{"POST", "/defender-management/quarantine_file/carve", "Defender.CarveQuarantined",
		func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
			return nil, c.Defender.CarveQuarantined(ctx, "H", `C:\x`)
		}},
	{"POST", "/carves", "Carves.Page", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		page, err := c.Carves.Page(ctx, CarveQuery{Host: ex.text("host_identifier")})
		return page, errors.Join(err, sameRows(ex, err, page, func(c Carve) map[string]any {
			return map[string]any{"id": c.ID, "session_id": c.SessionID, "status": c.Status, "archive": c.Archive, "carve_size": c.Size}
		}))
	}},
	{"POST", "/carves/query", "Carves.ByQuery", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		carve, err := c.Carves.ByQuery(ctx, int64(ex.int("query_id")), "H")
		return carve, errors.Join(err, sameData(ex, err, map[string]any{"id": carve.ID, "session_id": carve.SessionID, "status": carve.Status}))
	}},
	{"GET", "/carves/download/{}", "Carves.Download", func(ctx context.Context, c *Client, _ *exchange, p []string) (any, error) {
		return c.Carves.Download(ctx, p[0], io.Discard)
	}},
	{"POST", "/carves/delete", "Carves.Delete", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		return nil, ours(c.Carves.Delete(ctx, DeleteForGood, ex.text("session_id")))
	}},
	{"POST", "/distributed/add", "Queries.Live", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		q := LiveQuery{SQL: ex.text("query")}
		if nodes := ex.text("nodes"); nodes != "" {
			q.Hosts = strings.Split(nodes, ",")
		}
		if tags := ex.text("tags"); tags != "" {
			q.Tags = strings.Split(tags, ",")
		}
		ticket, err := c.Queries.Live(ctx, q)
		if errors.Is(err, ErrEmptyTarget) || errors.Is(err, ErrInvalid) {
			return nil, fmt.Errorf("%w: %w", errNotOurs, err)
		}
		return ticket, errors.Join(err, sameData(ex, err, map[string]any{"query_id": ticket.QueryID}))
	}},
	{"GET", "/dashboard", "Dashboard", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		d, err := c.Dashboard(ctx)
		return d, errors.Join(err, sameData(ex, err, map[string]any{"purge_duration": d.RetentionDays}))
	}},
	{"POST", "/management/changepw", "Management.ChangePassword", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		return nil, ours(c.Management.ChangePassword(ctx, PasswordChange{
			Old: soar.SecretValue(ex.text("old_password")), New: soar.SecretValue(ex.text("new_password")),
		}))
	}},
	{"GET", "/management/settings", "Management.Settings", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		return c.Management.Settings(ctx)
	}},
	{"PUT", "/management/settings", "Management.UpdateSettings", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		change := SettingsChange{RetentionDays: ex.int("purge_data_duration")}
		if _, given := ex.args["alert_aggregation_duration"]; given {
			change.AggregationWindow = new(time.Duration(ex.int("alert_aggregation_duration")) * time.Second)
		}
		if on, err := strconv.ParseBool(ex.text("sso_enable")); err == nil {
			change.SSOEnabled = &on
		}
		return nil, ours(c.Management.UpdateSettings(ctx, change))
	}},
	{"GET", "/management/apikeys", "Management.APIKeys", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		keys, err := c.Management.APIKeys(ctx)
		return map[string]bool{"virustotal": keys.VirusTotal.IsSet(), "alienvault": keys.AlienVault.IsSet(), "ibmxforce": keys.XForceKey.IsSet()}, err
	}},
	{"GET", "/management/virustotal/av_engine", "Management.AVEngines", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		return c.Management.AVEngines(ctx)
	}},
	{"GET", "/email/configure", "Email.Settings", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		e, err := c.Email.Settings(ctx)
		return e, errors.Join(err, sameData(ex, err, map[string]any{"email": e.From, "smtpAddress": e.Server, "smtpPort": e.Port}))
	}},
	{"GET", "/rules/{}", "Rules.Get", func(ctx context.Context, c *Client, ex *exchange, p []string) (any, error) {
		r, err := c.Rules.Get(ctx, number(p[0]))
		return map[string]any{"rule": r, "normal": NormalizeRule(r)}, errors.Join(err, sameData(ex, err,
			map[string]any{"id": r.ID, "name": r.Name, "tactics": r.Tactics, "severity": r.Severity, "technique_id": strings.Join(r.Techniques, ",")}))
	}},
}

func aggregatedRoute(ctx context.Context, c *Client, ex *exchange, p []string) (any, error) {
	page, err := c.Alerts.AggregatedEvents(ctx, number(p[0]), AggregatedQuery{QueryName: ex.text("query_name")})
	return page, errors.Join(err, sameRows(ex, err, page, func(e AggregatedEvent) map[string]any {
		return map[string]any{"id": e.ID, "columns": e.Columns, "action": e.Action}
	}))
}

func number(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

// ours turns a refusal by the client itself into errNotOurs.
func ours(err error) error {
	if errors.Is(err, ErrInvalid) || errors.Is(err, ErrEmptyTarget) {
		return fmt.Errorf("%w: %w", errNotOurs, err)
	}
	return err
}

func result[T any](v T, err error) (any, error) { return v, ours(err) }

func (ex *exchange) text(key string) string {
	if s := ex.query.Get(key); s != "" {
		return s
	}
	s, _ := ex.args[key].(string)
	return s
}

func (ex *exchange) int(key string) int {
	switch v := ex.args[key].(type) {
	case float64:
		return int(v)
	case string:
		return int(number(v))
	}
	return 0
}

var (
	errDiffers   = errors.New("decoded otherwise than by encoding/json alone")
	errWrongPath = errors.New("the client asked for something else")
)

// sameRows compares rows with what encoding/json reads.
func sameRows[T any](ex *exchange, err error, page Page[T], keys func(T) map[string]any) error {
	var env struct{ Data json.RawMessage }
	if err != nil || !decodes(ex.answer, &env) {
		return nil //nolint:nilerr // it is in the result already
	}
	var list struct{ Results []any }
	if json.Unmarshal(env.Data, &list) != nil {
		_ = json.Unmarshal(env.Data, &list.Results)
	}
	if len(list.Results) != len(page.Results)+len(page.Malformed) {
		return fmt.Errorf("%w: %d rows and %d malformed of %d", errDiffers, len(page.Results), len(page.Malformed), len(list.Results))
	}
	if len(page.Malformed) > 0 { // those have no id
		list.Results = slices.DeleteFunc(list.Results, func(row any) bool {
			m, ok := row.(map[string]any)
			return !ok || flat(m["id"]) == "nothing"
		})
	}
	for i, row := range page.Results {
		want, _ := list.Results[i].(map[string]any)
		if err := sameKeys(want, keys(row)); err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
	}
	return nil
}

func decodes(text []byte, v any) bool { return json.Unmarshal(text, v) == nil }

func sameData(ex *exchange, err error, keys map[string]any) error {
	var env struct{ Data map[string]any }
	if err != nil || !decodes(ex.answer, &env) {
		return nil //nolint:nilerr // it is in the result already
	}
	return sameKeys(env.Data, keys)
}

// sameKeys compares by JSON. Null, {}, "", [] and 0 are all nothing.
func sameKeys(want, got map[string]any) error {
	for key, v := range got {
		a, b := flat(want[key]), flat(v)
		if a != b {
			return fmt.Errorf("%w: %s is %s, not %s", errDiffers, key, b, a)
		}
	}
	return nil
}

func flat(v any) string {
	text, _ := json.Marshal(v)
	var plain any
	_ = json.Unmarshal(text, &plain)
	text, _ = json.Marshal(texts(plain))
	switch string(text) {
	case `""`, `"null"`, `"0"`, `{}`, `[]`:
		return "nothing"
	}
	return string(text)
}

// texts makes text of all that is not an object or array, and opens objects and
// arrays in text, because the client does either.
func texts(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			v[key] = texts(v[key])
		}
		return v
	case []any:
		for i := range v {
			v[i] = texts(v[i])
		}
		return v
	case string:
		var inner any
		if (strings.HasPrefix(v, "{") || strings.HasPrefix(v, "[")) && json.Unmarshal([]byte(v), &inner) == nil {
			return texts(inner)
		}
		return v
	case nil:
		return ""
	}
	text, _ := json.Marshal(v)
	return string(text)
}

// notIDs are calls of the server that the client lacks and that stand where others
// have an id.
var notIDs = map[string]bool{"export": true, "count_by_source": true, "graph": true, "config": true, "names": true}

// match compares a path with a pattern and returns the parts at {}.
func match(pattern, path string) ([]string, bool) {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return nil, false
	}
	var parts []string
	for i := range want {
		if want[i] == "{}" && got[i] != "" && !notIDs[got[i]] {
			part, err := url.PathUnescape(got[i])
			if err != nil {
				return nil, false
			}
			parts = append(parts, part)
		} else if want[i] != got[i] {
			return nil, false
		}
	}
	return parts, true
}

// replay lets the client make the recorded call against a server that gives the
// recorded answer.
func replay(t *testing.T, ex *exchange) (r replayed) {
	t.Helper()
	var seen atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.Method == ex.method && req.URL.EscapedPath() == ex.base+ex.path:
			seen.Add(1)
			ex.write(w)
		case req.URL.Path == ex.base+"/login":
			answerJSON(w, http.StatusOK, `{"token": "replay"}`)
		case strings.HasSuffix(req.URL.Path, "/alerted_events") && req.Method != ex.method:
			w.Header().Set("Content-Type", "application/json") // as release 2.1.2 does
			w.WriteHeader(http.StatusMethodNotAllowed)
			_, _ = io.WriteString(w, `{"message": "The method is not allowed for the requested URL."}`)
		default:
			status, answer := besides(ex, req)
			if answer == "" {
				w.WriteHeader(status)
				return
			}
			answerJSON(w, status, answer)
		}
	}))
	t.Cleanup(server.Close)
	base := ex.base
	if base == "" {
		base = "/"
	}
	api, routes := "v1", routes
	if strings.HasSuffix(base, "/v0") {
		api, routes = "v0", routesV0
	}
	c, err := New(Options{URL: server.URL, BasePath: base, API: api, Username: "admin", Password: soar.SecretValue("admin"), Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	if ex.path == "/logout" {
		c.session.token.text = "replay"
	}

	for _, route := range routes {
		parts, ok := match(route.pattern, ex.path)
		if !ok || route.method != ex.method || !strings.HasSuffix(ex.base, "/"+api) {
			continue
		}
		value, err := route.do(t.Context(), c, ex, parts)
		if errors.Is(err, errNotOurs) {
			r.note = err.Error()
			break
		}
		if seen.Load() == 0 {
			err = errors.Join(errWrongPath, err)
		}
		return replayed{call: route.name, value: value, err: unlessDiffers(err)}
	}
	// Raw logs in first, and the recording may be that of a login.
	c.session.token = token{text: "replay", generation: 1, at: time.Now()}
	r.call = "Raw " + ex.method + " " + ex.path
	if r.note == "" {
		r.note = "the client has no call of its own for it"
	}
	r.value, r.err = rawReplay(t.Context(), c, ex)
	return r
}

// unlessDiffers makes sure that a disagreement is not hidden by an error that has
// a name.
func unlessDiffers(err error) error {
	if errors.Is(err, errDiffers) || errors.Is(err, errWrongPath) {
		return errors.New(err.Error())
	}
	return err
}

// rawReplay makes the call through Raw and says what kind of answer it is.
func rawReplay(ctx context.Context, c *Client, ex *exchange) (any, error) {
	path := ex.path
	if len(ex.query) > 0 {
		path += "?" + ex.query.Encode()
	}
	a, err := c.Raw(ctx, ex.method, path, ex.body)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(a.ContentType, ex.header.Get("Content-Type")) {
		return nil, fmt.Errorf("content type %q came back as %q", ex.header.Get("Content-Type"), a.ContentType)
	}
	kind := "JSON"
	switch {
	case ex.method == http.MethodHead:
		return "headers only", nil
	case good(a.Status) && strings.HasPrefix(a.ContentType, "text/csv"):
		return map[string]any{"csv_lines": bytes.Count(a.Body, []byte("\n")) + 1}, nil
	case good(a.Status) && strings.HasPrefix(a.ContentType, "application/octet-stream"):
		return map[string]any{"file_bytes": len(a.Body)}, nil
	}
	k := call{id: "raw", method: ex.method, path: ex.path}
	var keys []string
	err = c.judge(k, answer{status: a.Status, header: http.Header{"Content-Type": {a.ContentType}}, body: a.Body},
		func(v value) {
			for key := range v.fields() {
				if key != "status" && key != "message" {
					keys = append(keys, key)
				}
			}
		})
	return map[string]any{"kind": kind, "keys": keys}, err
}

// write sends the recorded answer. Lengths are left to the server: tokens and
// paths in the recordings were replaced.
func (ex *exchange) write(w http.ResponseWriter) {
	header := ex.header.Clone()
	body := ex.answer
	if header.Get("Content-Encoding") == "gzip" {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, _ = z.Write(body)
		_ = z.Close()
		body = packed.Bytes()
	}
	for _, name := range []string{"Content-Length", "Transfer-Encoding", "Connection", "Date"} {
		header.Del(name)
	}
	maps.Copy(w.Header(), header)
	w.WriteHeader(ex.status)
	_, _ = w.Write(body)
}
