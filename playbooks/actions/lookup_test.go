package actions

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// entry is a row of a list: an id, and the minute it was created in.
type entry struct{ id, minute int }

var listStart = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

func (e entry) key() (string, time.Time) {
	if e.minute < 0 {
		return strconv.Itoa(e.id), time.Time{}
	}
	return strconv.Itoa(e.id), listStart.Add(time.Duration(e.minute) * time.Minute)
}

// newest are the entries from one id down to another, created in that minute.
func newest(from, to int) []entry {
	var rows []entry
	for id := from; id >= to; id-- {
		rows = append(rows, entry{id, id})
	}
	return rows
}

// part is what a server gives of its rows.
func part(rows []entry, start, limit int) connector.Page[entry] {
	if rows == nil {
		rows = []entry{}
	}
	start = min(start, len(rows))
	return connector.Page[entry]{Count: len(rows), Total: len(rows), Results: rows[start:min(start+limit, len(rows))]}
}

// A list that is not complete back to since would let the engine send a call with
// an effect a second time, so it must never come without an error.
func TestRowsSince(t *testing.T) {
	ascending := newest(1000, 1)
	slices.Reverse(ascending)
	undated := newest(300, 1)
	undated[150].minute = -1
	reads := 0
	for _, tt := range []struct {
		name  string
		since int // minute
		page  func(start, limit int) connector.Page[entry]
		want  int // rows found, or below 0: incomplete
	}{
		{"nothing there", 0, func(start, limit int) connector.Page[entry] { return part(nil, start, limit) }, 0},
		{"one row", 0, func(start, limit int) connector.Page[entry] { return part(newest(1, 1), start, limit) }, 1},
		{"one old row", 5, func(start, limit int) connector.Page[entry] { return part(newest(1, 1), start, limit) }, 0},
		{"one page", 40, func(start, limit int) connector.Page[entry] { return part(newest(50, 1), start, limit) }, 11},
		{"a whole page and no more", 0, func(start, limit int) connector.Page[entry] { return part(newest(100, 1), start, limit) }, 100},
		{"many pages", 500, func(start, limit int) connector.Page[entry] { return part(newest(1000, 1), start, limit) }, 501},
		{"many pages to the end", 0, func(start, limit int) connector.Page[entry] { return part(newest(1000, 1), start, limit) }, 1000},
		{"oldest first", 990, func(start, limit int) connector.Page[entry] { return part(ascending, start, limit) }, 11},
		{"smaller pages than asked for", 900, func(start, limit int) connector.Page[entry] { return part(newest(1000, 1), start, min(limit, 10)) }, 101},
		{"a count of the page only", 900, func(start, limit int) connector.Page[entry] {
			p := part(newest(1000, 1), start, min(limit, 10))
			p.Count, p.Total = len(p.Results), len(p.Results)
			return p
		}, 101},
		{"no count", 900, func(start, limit int) connector.Page[entry] {
			p := part(newest(1000, 1), start, limit)
			p.Count, p.Total = 0, 0
			return p
		}, 101},
		{"grows meanwhile", 500, func(start, limit int) connector.Page[entry] {
			reads++
			return part(newest(1000+5*reads, 1), start, limit)
		}, 506},
		{"start is ignored", 500, func(_, limit int) connector.Page[entry] { return part(newest(1000, 1), 0, limit) }, -1},
		{"start is ignored, and there is no count", 500, func(_, limit int) connector.Page[entry] {
			p := part(newest(1000, 1), 0, limit)
			p.Count, p.Total = 0, 0
			return p
		}, -1},
		{"rows are deleted meanwhile", 500, func(start, limit int) connector.Page[entry] {
			return part(newest(1000-start/9, 1), start, limit)
		}, -1},
		{"a row without a date", 10, func(start, limit int) connector.Page[entry] { return part(undated, start, limit) }, -1},
		{"a malformed row", 280, func(start, limit int) connector.Page[entry] {
			p := part(newest(300, 1), start, limit)
			p.Malformed = []*connector.MalformedError{{Reason: "no id"}}
			return p
		}, -1},
		{"an empty page that counts rows", 0, func(int, int) connector.Page[entry] { return connector.Page[entry]{Count: 3, Results: []entry{}} }, -1},
		{"more than the bound", 0, func(start, limit int) connector.Page[entry] { return part(newest(maxLookedUp+200, 1), start, limit) }, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reads = 0
			got, err := rowsSince(t.Context(), listStart.Add(time.Duration(tt.since)*time.Minute), func(_ context.Context, start, limit int) (connector.Page[entry], error) {
				return tt.page(start, limit), nil
			}, entry.key)
			switch {
			case tt.want < 0:
				if !errors.Is(err, errIncomplete) || got != nil {
					t.Errorf("found %d rows: %v", len(got), err)
				}
			case err != nil || len(got) != tt.want:
				t.Errorf("found %d rows, want %d: %v", len(got), tt.want, err)
			}
			for i, e := range got {
				if e.minute < tt.since || slices.Index(got, e) != i {
					t.Fatalf("row %+v is too old or there twice", e)
				}
			}
		})
	}
}

func TestRowsSinceHandsErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	_, err := rowsSince(t.Context(), listStart, func(_ context.Context, start, limit int) (connector.Page[entry], error) {
		if start > 0 {
			return connector.Page[entry]{}, broken
		}
		return part(newest(1000, 1), start, limit), nil
	}, entry.key)
	if !errors.Is(err, broken) {
		t.Error(err)
	}
}

// A call whose answer was lost is found behind pages of what others sent since.
func TestLostAnswersAreFoundBehindNewerOnes(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	alert := b.raise(h, evil)
	since := time.Now().Add(-time.Minute)
	lost := []string{"process.kill", "file.delete", "host.contain", "script.run", "defender.scan"}
	for _, action := range lost {
		b.sim.Inject(ersim.Fault{Kind: ersim.DropAfter, Call: endpoints[action]})
		if _, err := b.actions[action].Do(t.Context(), effects(h, alert)[action]); !errors.Is(err, playbooks.ErrUncertain) {
			t.Fatalf("%s: %v", action, err)
		}
	}
	for i := range 2*lookUpPage + 50 {
		stop := connector.StopProcess{Hosts: []string{h.Identifier}, PID: strconv.Itoa(20000 + i), Name: "other.exe"}
		if _, err := b.deps.Client.Responses.StopProcess(t.Context(), stop); err != nil {
			t.Fatal(err)
		}
	}
	for _, action := range lost {
		found, err := b.actions[action].Find(t.Context(), effects(h, alert)[action], since)
		if err != nil || len(found) != 1 {
			t.Errorf("%s: found %+v: %v", action, found, err)
		}
	}
	b.sim.Inject(ersim.Fault{Kind: ersim.ServerError, Call: "response-list", After: 1, Count: -1})
	if found, err := b.actions["file.delete"].Find(t.Context(), effects(h, alert)["file.delete"], since); err == nil {
		t.Errorf("the second page was not read, and it found %+v", found)
	}
}

// A record that does not show all hosts yet may be of the lost call.
func TestRecordsWithoutTheirHosts(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	c := effects(h, b.raise(h, evil))["file.delete"]
	if _, err := b.actions["file.delete"].Do(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	actions := b.answering("/response/view", `{"status": "success", "message": "", "data": {"count": 0, "total_count": 0, "results": []}}`)
	found, err := actions["file.delete"].Find(t.Context(), c, time.Now().Add(-time.Minute))
	if !errors.Is(err, errIncomplete) || len(found) != 0 {
		t.Errorf("found %+v: %v", found, err)
	}
}

// An answer without a list is no empty one, after which the call would be sent again.
func TestRecordsWithoutAList(t *testing.T) {
	b := newBench(t, ersim.Options{})
	c := effects(b.windows(), b.raise(b.windows(), evil))["file.delete"]
	actions := b.answering("/response", `{"status": "success", "message": "", "data": {}}`)
	found, err := actions["file.delete"].Find(t.Context(), c, time.Now().Add(-time.Minute))
	if !errors.Is(err, connector.ErrNotJSON) || !errors.Is(err, playbooks.ErrTransient) || len(found) != 0 {
		t.Errorf("found %+v: %v", found, err)
	}
}

// A row that does not tell its host is not taken for that of another host.
func TestRowsThatDoNotTellTheirHost(t *testing.T) {
	node := connector.Host{ID: 7, Name: "WIN-7"}
	incomplete := errIncomplete
	for _, tt := range []struct {
		name  string
		hosts int
		rows  []connector.HostCommand
		id    int64 // of the row found; 0: none
		err   error
	}{
		{"its own", 1, []connector.HostCommand{{ID: 1, NodeID: 7, CommandID: "a"}}, 1, nil},
		{"another's", 1, []connector.HostCommand{{ID: 1, NodeID: 8, CommandID: "a"}}, 0, nil},
		{"among others", 2, []connector.HostCommand{{ID: 1, CommandID: "a"}, {ID: 2, NodeID: 7, CommandID: "b"}}, 2, nil},
		{"no host", 1, []connector.HostCommand{{ID: 1, CommandID: "a"}}, 0, incomplete},
		{"no host, and its name", 1, []connector.HostCommand{{ID: 1, CommandID: "a", Hostname: "win-7"}}, 1, nil},
		{"no host, and another's name", 1, []connector.HostCommand{{ID: 1, CommandID: "a", Hostname: "WIN-8"}}, 0, incomplete},
		{"no host among many", 2, []connector.HostCommand{{ID: 1, Hostname: "WIN-7"}, {ID: 2, NodeID: 8}}, 0, incomplete},
	} {
		row, sent, err := rowOf(node, connector.ResponseAction{ID: 3, Hosts: tt.hosts}, tt.rows)
		if row.ID != tt.id || sent != (tt.id != 0) || !errors.Is(err, tt.err) {
			t.Errorf("%s: row %d, sent %t: %v", tt.name, row.ID, sent, err)
		}
	}
}

// A command without an id of its own is followed by the action's.
func TestRowWithoutCommandID(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	c := effects(h, b.raise(h, evil))["file.delete"]
	if _, err := b.actions["file.delete"].Do(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	actions := b.answering("/response/view", `{"status": "success", "message": "", "data": {"count": 1, "results": [
		{"id": 1, "node_id": `+strconv.FormatInt(h.ID, 10)+`, "status": "failure", "message": "FILE_NOT_FOUND"}]}}`)
	found, err := actions["file.delete"].Find(t.Context(), c, time.Now().Add(-time.Minute))
	if err != nil || len(found) != 1 || !strings.HasPrefix(found[0].Ref, "openc2:") {
		t.Fatalf("found %+v: %v", found, err)
	}
	out, err := actions["file.delete"].Poll(t.Context(), c, found[0].Ref)
	if err != nil || out.State != soar.StepFailed {
		t.Errorf("%+v: %v", out, err)
	}
}

// An answer without a list does not say that the call never arrived.
func TestAnswersWithoutAList(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	alert := b.raise(h, evil)
	for _, tt := range []struct{ action, path, data string }{
		{"file.delete", "/v1/response", `null`},
		{"file.delete", "/v1/response", `{}`},
		{"file.delete", "/v1/response", `{"count": 0, "results": null}`},
		{"carve.file", "/v1/carves", `null`},
		{"alert.note", "/analyst/notes", `null`},
		{"alert.note", "/analyst/notes", `{"results": {}}`},
		{"alert.note", "/analyst/notes", `[{"id": 1, "notes": "other"}, "note"]`},
		{"alert.note", "/analyst/notes", `[{"id": 1}]`},
	} {
		actions := b.answering(tt.path, `{"status": "success", "message": "", "data": `+tt.data+`}`)
		found, err := actions[tt.action].Find(t.Context(), effects(h, alert)[tt.action], time.Now().Add(-time.Minute))
		if err == nil || errors.Is(err, playbooks.ErrCannotTell) || len(found) != 0 {
			t.Errorf("%s, data %s: found %+v: %v", tt.action, tt.data, found, err)
		}
	}
}

// answering binds the actions to the simulated server, but for one path, which
// has always the same answer.
func (b *bench) answering(path, body string) map[string]playbooks.Action {
	b.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(b.sim.CAPEM())
	client, err := connector.New(connector.Options{
		URL: b.sim.URL(), Username: "admin", Password: soar.SecretValue("admin"), Retries: -1,
		Transport: &answering{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}, path: path, body: body},
	})
	if err != nil {
		b.Fatal(err)
	}
	deps := b.deps
	deps.Client = client
	return All(deps)
}

// speakV0 binds the actions to the same server, by the older API.
func (b *bench) speakV0() {
	b.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(b.sim.CAPEM())
	client, err := connector.New(connector.Options{
		URL: b.sim.URL(), Username: "admin", Password: soar.SecretValue("admin"), Retries: -1, API: "v0",
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.deps.Client = client
	b.actions = All(b.deps)
}

// answering is a connection with one answer of its own.
type answering struct {
	*http.Transport
	path, body string
}

func (a *answering) RoundTrip(req *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(req.URL.Path, a.path) {
		return a.Transport.RoundTrip(req)
	}
	kind := "application/json"
	if !strings.HasPrefix(a.body, "{") {
		kind = "application/octet-stream"
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {kind}}, Request: req, ContentLength: int64(len(a.body)),
		Body: io.NopCloser(strings.NewReader(a.body)),
	}, nil
}

// The server's record of a stopped process may show the name or the path.
func TestKillIsFoundByNameOrPath(t *testing.T) {
	for name, same := range map[string]bool{"evil.exe": true, `C:\\Temp\\Evil.exe`: true, "other.exe": false} {
		record := connector.ResponseAction{Action: "stop", Target: "process", Command: []byte(`{"target":{"process":{"pid":"7","name":"` + name + `"}}}`)}
		if got := (wanted{action: "stop", target: "process", values: []string{"7", "evil.exe"}, program: true}).like(record); got != same {
			t.Errorf("%s: %t, want %t", strings.ReplaceAll(name, `\\`, `\`), got, same)
		}
	}
}
