package ersim

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// socket opens a websocket.
func (l *live) socket(path string) *websocket.Conn {
	l.t.Helper()
	dialer := websocket.Dialer{TLSClientConfig: l.client.Transport.(*http.Transport).TLSClientConfig}
	conn, res, err := dialer.DialContext(l.t.Context(), "wss"+strings.TrimPrefix(l.s.URL(), "https")+path, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = conn.Close() }) // some tests close it themselves
	return conn
}

// dial opens the results of a query.
func (l *live) dial(path string, id any) *websocket.Conn {
	l.t.Helper()
	conn := l.socket(path)
	text := fmt.Sprint(id)
	if err := conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		l.t.Fatal(err)
	}
	kind, ack, err := conn.ReadMessage()
	if err != nil || kind != websocket.TextMessage || strings.Replace(string(ack), "id :", "id:", 1) != "Fetching results for query with query id: "+text {
		l.t.Fatalf("ack %d %q %v", kind, ack, err)
	}
	return conn
}

type frame struct {
	Node struct {
		ID             int64
		Name           string
		HostIdentifier string `json:"host_identifier"`
	}
	Data    []map[string]string
	QueryID int64 `json:"query_id"`
	Status  int
}

func (l *live) read(conn *websocket.Conn) frame {
	l.t.Helper()
	kind, data, err := conn.ReadMessage()
	if err != nil || kind != websocket.BinaryMessage {
		l.t.Fatalf("frame %d %q %v", kind, data, err)
	}
	var f frame
	if err := json.Unmarshal(data, &f); err != nil {
		l.t.Fatal(err)
	}
	return f
}

func (l *live) ask(body obj) (id int64, online int) {
	l.t.Helper()
	data := l.data("POST", "/distributed/add", body).(obj)
	return int64(data["query_id"].(float64)), int(data["onlineNodes"].(float64))
}

func TestLiveQuery(t *testing.T) {
	l := newLive(t, Options{Hosts: 9, CommandDelay: time.Millisecond})
	id, online := l.ask(obj{"query": "select name, pid from processes where name like '%osqueryd%' order by pid", "tags": "server"})
	if online != 4 {
		t.Fatalf("%d online", online)
	}
	seen := map[string]bool{}
	conn := l.dial("/esp-ui/distributed/result", id)
	for range online {
		f := l.read(conn)
		if f.QueryID != id || f.Status != 0 || len(f.Data) != 1 || !strings.Contains(f.Data[0]["name"], "osqueryd") {
			t.Errorf("%+v", f)
		}
		seen[f.Node.HostIdentifier] = true
	}
	if len(seen) != online {
		t.Errorf("answers of %d hosts", len(seen))
	}
	id, _ = l.ask(obj{"query": "select * from windows_firewall_rules", "nodes": l.s.Hosts()[2].Identifier})
	if f := l.read(l.dial("/esp-ui/websocket/distributed/result", id)); f.Status != 1 || len(f.Data) != 0 {
		t.Errorf("a Windows table on Linux: %+v", f)
	}
	if _, _, err := l.dial("/esp-ui/distributed/result", 999).ReadMessage(); err == nil {
		t.Error("an unknown id did not end the socket")
	}
	if n := l.s.Calls()["ws-distributed-result"]; n != 3 {
		t.Errorf("%d sockets counted", n)
	}
}

// TestSocketsShareResults: frames go to listeners in turn, once.
func TestSocketsShareResults(t *testing.T) {
	l := newLive(t, Options{Hosts: 2, CommandDelay: time.Hour})
	hosts := l.s.Hosts()
	id, _ := l.ask(obj{"query": "select 1 as one", "nodes": hosts[0].Identifier + "," + hosts[1].Identifier})
	first := l.dial("/esp-ui/distributed/result", id)
	l.listening(id, 1)
	second := l.dial("/esp-ui/distributed/result", id)
	l.listening(id, 2)
	l.answers(id, 1, 2)
	a, b := l.read(first), l.read(second)
	if a.Node.ID+b.Node.ID != 3 || a.Data[0]["one"] != "1" {
		t.Errorf("%+v %+v", a, b)
	}
}

// TestResultsWait: what came before the socket is delivered, what was delivered is
// not repeated, and release 4.0 puts back what a lost socket was not sent.
func TestResultsWait(t *testing.T) {
	l := newLive(t, Options{Hosts: 2, CommandDelay: time.Hour})
	hosts := l.s.Hosts()
	id, _ := l.ask(obj{"query": "select 1", "nodes": hosts[0].Identifier + "," + hosts[1].Identifier})
	l.answers(id, 1)
	conn := l.dial("/esp-ui/distributed/result", id)
	if f := l.read(conn); f.Node.ID != 1 {
		t.Errorf("%+v", f)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	l.listening(id, 0)
	l.answers(id, 2)
	if f := l.read(l.dial("/esp-ui/distributed/result", id)); f.Node.ID != 2 {
		t.Errorf("%+v", f)
	}
}

// TestLostSocketStealsResults is what was observed on release 2.1.2.
func TestLostSocketStealsResults(t *testing.T) {
	l := newLive(t, Options{Profile: "2.1.2", Hosts: 2, CommandDelay: time.Hour})
	id, online := l.ask(obj{"query": "select 1"})
	if online != 2 {
		t.Fatalf("no target at all asked %d hosts", online)
	}
	conn := l.dial("/distributed/result", id)
	l.listening(id, 1)
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	l.listening(id, 0)
	second := l.dial("/distributed/result", id)
	l.listening(id, 1)
	l.answers(id, 1, 2) // the first one goes to the socket that is gone
	if f := l.read(second); f.Node.ID != 2 || f.Node.HostIdentifier != "" {
		t.Errorf("%+v", f)
	}
}

// listening waits until so many sockets are there for a query. The server learns
// of a socket's end from the network, which nobody can wait for but by looking.
func (l *live) listening(id int64, want int) {
	l.t.Helper()
	for l.t.Context().Err() == nil {
		runtime.Gosched()
		l.s.mu.Lock()
		n := 0
		for _, one := range l.s.queries[id].listeners {
			n += boolRank(one.gone.IsZero())
		}
		l.s.mu.Unlock()
		if n == want {
			return
		}
	}
	l.t.Fatal("the test ended first")
}

// answers makes hosts answer a query now.
func (l *live) answers(id int64, hosts ...int64) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	st := &statement{columns: []column{{name: "1", as: "one", constant: true}}, limit: -1}
	for _, h := range hosts {
		l.s.answerQuery(l.s.queries[id], l.s.host(strconv.FormatInt(h, 10)), st)
	}
}

func TestResultsExpire(t *testing.T) {
	r := newRig(t, Options{Hosts: 1})
	r.data("POST", "/distributed/add", obj{"query": "select 1", "nodes": r.s.Hosts()[0].Identifier})
	r.wait(time.Second)
	r.clock.add(resultLifetime)
	r.s.Tick()
	if r.s.listen(1) != nil {
		t.Error("the results are still there")
	}
}

func TestDistributedAddRefuses(t *testing.T) {
	for _, tt := range []struct {
		profile, query string
		target         obj
		status         string
	}{
		{"4.0", "select 1", obj{}, "failure"},
		{"2.1.2", "select 1", obj{}, "success"},
		{"4.0", "select 1", obj{"nodes": "nosuch"}, "failure"},
		{"4.0", "select 1", obj{"os_name": []string{"macOS"}}, "success"},
		{"4.0", "select 1", obj{"os_name": "macOS,Ubuntu"}, "failure"}, // one element, no such system
		{"4.0", "select frm", obj{"tags": "server"}, "failure"},
		{"4.0", "select * from nosuch", obj{"tags": "server"}, "failure"},
		{"4.0", "select nosuch from processes", obj{"tags": "server"}, "failure"},
		{"4.0", "select pid from processes where nosuch = 1", obj{"tags": "server"}, "failure"},
		{"4.0", "delete from users;", obj{"tags": "server"}, "failure"},
		{"2.1.2", "delete from users;", obj{"tags": "server"}, "success"},
		{"4.0", "drop table users", obj{"tags": "server"}, "failure"},
	} {
		r := newRig(t, Options{Profile: tt.profile})
		tt.target["query"] = tt.query
		out := r.call("POST", "/distributed/add", tt.target)
		if out["status"] != tt.status {
			t.Errorf("%s %v: %v", tt.profile, tt.target, out)
		}
	}
	r := newRig(t, Options{})
	for _, h := range r.s.Hosts() {
		r.s.SetOnline(h.Identifier, false)
	}
	if out := r.call("POST", "/distributed/add", obj{"query": "select 1", "tags": "server"}); out["message"] != noActive {
		t.Errorf("all are offline: %v", out)
	}
}

func TestSQL(t *testing.T) {
	rows := []row{
		{"pid": "9", "name": "a.exe", "path": `C:\A\a.exe`}, {"pid": "10", "name": "it's", "path": "/tmp/it's"},
		{"pid": "100", "name": "B.exe", "path": `C:\B\b.exe`},
	}
	known := []string{"pid", "name", "path"}
	for _, tt := range []struct{ sql, want string }{
		{"select pid from t", "9 10 100"},
		{"SELECT pid FROM t;", "9 10 100"},
		{"select * from t where pid = 10", "10"},
		{"select pid from t where pid = '10'", "10"},
		{"select pid from t where pid > 9 and pid < 100", "10"},
		{"select pid from t where pid >= 10 order by pid desc", "100 10"},
		{"select pid from t order by pid desc limit 1", "100"},
		{"select pid from t where name = 'it''s'", "10"},
		{"select pid from t where name like '%.EXE'", "9 100"},
		{"select pid from t where name not like '%.exe'", "10"},
		{"select pid from t where name like '_.exe'", "9 100"},
		{`select pid from t where path like 'c:\a\%'`, "9"},
		{"select pid from t where pid in (9, '100')", "9 100"},
		{"select pid from t where pid not in (9)", "10 100"},
		{"select pid from t where not (pid = 9 or pid = 10)", "100"},
		{"select pid from t where pid = 9 or pid = 10 and name = 'x'", "9"},
		{"select t.pid from t where t.pid != 9 and pid <> 10", "100"},
		{"select count(*) as pid from t where pid > 9", "2"},
		{"select coalesce(pid, '') as pid from t where pid = 9", "9"},
		{"select coalesce(nothing, 'none') as pid from t where pid = 9", "none"},
	} {
		st, err := parseSQL(tt.sql)
		if err != nil {
			t.Errorf("%s: %v", tt.sql, err)
			continue
		}
		var got []string
		for _, r := range st.run(rows, known) {
			got = append(got, defaultText(r["pid"], "?"))
		}
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%s: got %s, want %s", tt.sql, text, tt.want)
		}
	}
	for _, bad := range []string{
		"", "select", "select from t", "select pid t", "select * from", "select pid from t where", "select pid from t where pid",
		"select pid from t where pid = ", "select pid from t where (pid = 1", "select pid from t limit x", "select pid from t order pid",
		"select pid from t where pid = 'x", "insert into t values (1)", "select 1; select 2", "select pid from a join b", "select count(pid) from t",
		"select coalesce(pid) from t", "select coalesce(pid, '' from t", "select coalesce('', pid) from t", "select pid from t where pid not = 1", strings.Repeat("(", 20_000),
	} {
		if _, err := parseSQL(bad); err == nil {
			t.Errorf("%.40q was understood", bad)
		}
	}
}

// FuzzSQL looks for statements that break the parser or the evaluation.
func FuzzSQL(f *testing.F) {
	for _, seed := range []string{
		"select * from processes where pid = 1", "select count(*) from file where not (a like '%x_' or b in (1,'2'))", "delete from users;",
		"select 1 as x", "select '", "select (((", "select a from b where c not in (",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(_ *testing.T, sql string) {
		if st, err := parseSQL(sql); err == nil {
			st.run([]row{{"pid": "1"}, {}}, []string{"pid"})
			carveTarget(st)
		}
	})
}

func TestCarve(t *testing.T) {
	for _, tt := range []struct {
		name, host, sql, suffix string
		files                   int
	}{
		{"tar", "1", `select * from carves where path = 'c:\windows\system32\VSSADMIN.exe' and carve = 1`, ".tar", 1},
		{"zstd", "3", `select * from carves where path like '/etc/%' and carve=1;`, ".zst", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, Options{})
			host := r.s.host(tt.host).identifier
			id := r.data("POST", "/distributed/add", obj{"query": tt.sql, "nodes": host}).(obj)["query_id"]
			ask := obj{"query_id": id, "host_identifier": host}
			if out := r.call("POST", "/carves/query", ask); out["status"] != "failure" {
				t.Fatalf("before it started: %v", out)
			}
			var seen []string
			var c obj
			for range 1000 {
				r.wait(10 * time.Millisecond)
				out := r.call("POST", "/carves/query", ask)
				if out["status"] != "success" {
					continue
				}
				c = out["data"].(obj)
				if status := c["status"].(string); len(seen) == 0 || seen[len(seen)-1] != status {
					seen = append(seen, status)
					if status == carveProgress {
						if w := r.send("GET", "/carves/download/"+c["session_id"].(string), nil); w.Code != http.StatusInternalServerError {
							t.Errorf("download before completion: %d", w.Code)
						}
						if c["archive"] != nil {
							t.Errorf("archive before completion: %v", c["archive"])
						}
					}
				}
			}
			if got := strings.Join(seen, ","); got != "INITIALIZED,IN PROGRESS,BUILDING,COMPLETED" {
				t.Errorf("states %s", got)
			}
			session := c["session_id"].(string)
			if c["archive"] != session+c["carve_guid"].(string)+tt.suffix || len(session) != 10 {
				t.Errorf("archive %v", c["archive"])
			}
			w := r.send("GET", "/carves/download/"+session, nil)
			data := w.Body.Bytes()
			if w.Header().Get("Content-Type") != "application/octet-stream" || float64(len(data)) != c["carve_size"] ||
				w.Header().Get("Content-Length") != strconv.Itoa(len(data)) {
				t.Fatalf("%d bytes of %v: %v", len(data), c["carve_size"], w.Header())
			}
			if blocks := c["block_count"].(float64) * c["block_size"].(float64); blocks < float64(len(data)) {
				t.Errorf("blocks hold %v bytes of %d", blocks, len(data))
			}
			checkArchive(t, r.s.host(tt.host), data, tt.files)

			req := httptest.NewRequestWithContext(t.Context(), "GET", r.s.BasePath()+"/carves/download/"+session, nil)
			req.Header.Set("x-access-token", r.token)
			req.Header.Set("Range", "bytes=512-")
			part := httptest.NewRecorder()
			r.s.ServeHTTP(part, req)
			if part.Code != http.StatusPartialContent || !bytes.Equal(part.Body.Bytes(), data[512:]) {
				t.Errorf("range: %d", part.Code)
			}
			if rows := r.results("/carves", obj{"host_identifier": host}); len(rows) != 1 || !strings.HasSuffix(rows[0]["created_at"].(string), " -0000") {
				t.Error(rows)
			}
			r.data("POST", "/carves/delete", obj{"session_id": "X," + session})
			if out := r.call("GET", "/carves/download/"+session, nil); out["status"] != "failure" {
				t.Errorf("after deletion: %v", out)
			}
		})
	}
}

func checkArchive(t *testing.T, h *host, data []byte, files int) {
	t.Helper()
	if binary.LittleEndian.Uint32(data) == 0xfd2fb528 {
		data = unstore(t, data)
	}
	archive := tar.NewReader(bytes.NewReader(data))
	for n := 0; ; n++ {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			if n != files {
				t.Errorf("%d files, want %d", n, files)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range h.files {
			if baseName(f.path) == baseName(header.Name) && !bytes.Equal(content, f.content()) {
				t.Errorf("%s has another content than on the host", header.Name)
			}
		}
	}
}

// unstore reads a Zstandard frame of raw blocks.
func unstore(t *testing.T, data []byte) (out []byte) {
	t.Helper()
	want := binary.LittleEndian.Uint64(data[5:])
	for rest := data[13:]; ; {
		header := uint32(rest[0]) | uint32(rest[1])<<8 | uint32(rest[2])<<16
		n := header >> 3
		out = append(out, rest[3:3+n]...)
		if rest = rest[3+n:]; header&1 == 1 {
			break
		}
	}
	if uint64(len(out)) != want {
		t.Errorf("%d bytes, the frame says %d", len(out), want)
	}
	return out
}

func TestCarveOfNothing(t *testing.T) {
	r := newRig(t, Options{})
	host := r.s.Hosts()[0].Identifier
	r.data("POST", "/distributed/add", obj{"query": "select * from carves where path = '/nosuch' and carve = 1", "nodes": host})
	r.wait(10 * time.Second)
	if out := r.call("POST", "/carves/query", obj{"query_id": 1, "host_identifier": host}); out["message"] != "Carve not started" {
		t.Error(out)
	}
}

// TestOSNameIsForNewReleases asks for one operating system. Release 2.1.2 does not
// know the argument, so that nothing is left that names hosts, and every host is asked.
func TestOSNameIsForNewReleases(t *testing.T) {
	for profile, every := range map[string]bool{"4.0": false, "2.1.2": true} {
		r := newRig(t, Options{Profile: profile, Hosts: 12})
		data := r.data("POST", "/distributed/add", obj{"query": "select * from users;", "os_name": []string{r.s.hosts[0].role.os}})
		online, _ := data.(obj)["onlineNodes"].(float64)
		if got := int(online) == len(r.s.hosts); got != every || online == 0 {
			t.Errorf("%s: %v of %d hosts", profile, online, len(r.s.hosts))
		}
	}
}
