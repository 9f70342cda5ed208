package connector

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

func TestStatusLogFrame(t *testing.T) {
	link := func(path string) string { return `{"status":"success","download_path":"` + path + `"}` }
	for _, tt := range []struct {
		name, frame, want string
		err               error
	}{
		{"sentence", "Fetching results for task with id: 1", "", nil},
		{"other JSON", `{"node":{}}`, "", nil},
		{"array", `[{"status":"success"}]`, "", nil},
		{"link", link("https://10.0.0.7/downloads/status_log/status_log_1_2026-11-22_03:22:30.754074.csv"), "status_log_1_2026-11-22_03:22:30.754074.csv", nil},
		{"path alone", link("/downloads/status_log/a.csv"), "a.csv", nil},
		{"Success", `{"status":"Success","download_path":"/downloads/status_log/a.csv"}`, "a.csv", nil},
		{"another host counts for nothing", link("https://evil.example/downloads/status_log/a.csv"), "a.csv", nil},
		{"nothing to tell", `{"status":"Failure","message":"No data found"}`, "", ErrRefused},
		{"no link", `{"status":"success"}`, "", ErrNotJSON},
		{"another folder", link("https://h/downloads/certificate.crt"), "", ErrNotJSON},
		{"climbing", link("https://h/downloads/status_log/../certificate.crt"), "", ErrNotJSON},
		{"climbing, escaped", link("https://h/downloads/status_log/%2e%2e%2fsecret"), "", ErrNotJSON},
		{"the folder itself", link("https://h/downloads/status_log/"), "", ErrNotJSON},
		{"its parent", link("https://h/downloads/status_log/.."), "", ErrNotJSON},
		{"a line break", link(`https://h/downloads/status_log/a%0ab`), "", ErrNotJSON},
		{"no URL", link("https://h:port/downloads/status_log/a.csv"), "", ErrNotJSON},
		{"endless", link("/downloads/status_log/" + strings.Repeat("a", 300)), "", ErrNotJSON},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readStatusLogFrame([]byte(tt.frame))
			if got != tt.want || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Errorf("got %q, %v; want %q, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func FuzzStatusLogFrame(f *testing.F) {
	for _, frame := range []string{
		"Fetching results for task with id: 1",
		`{"status":"success","message":"please fetch csv file from  download path","download_path":"https://10.0.0.7/downloads/status_log/a.csv"}`,
		`{"status":"Failure","message":"No data found"}`, `{"status":"success","download_path":"https://h/downloads/status_log/%2e%2e"}`,
	} {
		f.Add([]byte(frame))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		name, err := readStatusLogFrame(frame)
		if err != nil && (name != "" || strings.ContainsAny(err.Error(), "\r\n\x00")) {
			t.Errorf("%q, %q", name, err)
		}
		if strings.ContainsAny(name, "/\\ \r\n\x00") || name == "." || name == ".." {
			t.Errorf("%q is no name of a file", name)
		}
	})
}

// exportServer tells frames over the websocket after the task, and serves a file, over
// pipes.
func exportServer(t *testing.T, file http.HandlerFunc, frames ...string) *Client {
	t.Helper()
	return inPipes(t, withLogin(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/api/websocket/csv/export" && frames != nil:
			conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if _, task, err := conn.ReadMessage(); err != nil || string(task) != "T" {
				t.Errorf("task %q, %v", task, err)
			}
			for _, frame := range frames {
				if frame == "hang" {
					_, _, _ = conn.ReadMessage() // until the client goes away
					return
				}
				if err := conn.WriteMessage(websocket.BinaryMessage, []byte(frame)); err != nil {
					return
				}
			}
		case strings.HasPrefix(r.URL.Path, statusLogFolder):
			if r.Header.Get("X-Access-Token") != "" {
				t.Error("the token went along")
			}
			file(w, r)
		case r.URL.Path == "/api/hosts/1":
			answerJSON(w, 200, `{"status":"success","data":{"id":1}}`)
		case r.URL.Path == "/api/hosts/status_log/export":
			answerJSON(w, 200, `{"status":"Success","data":{"task_id":"T"}}`)
		default:
			http.NotFound(w, r)
		}
	}), func(o *Options) { o.BasePath = "/api" })
}

const toldLink = `{"status":"success","download_path":"https://elsewhere.example/downloads/status_log/a b.csv"}`

func TestStatusLogDownload(t *testing.T) {
	told := strings.Replace(toldLink, "a b", "a:b", 1)
	send := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != statusLogFolder+"a:b.csv" {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	for _, tt := range []struct {
		name   string
		file   http.HandlerFunc
		frames []string
		want   string
		err    error
	}{
		{"file", send(200, "application/octet-stream", "line\r\n1\r\n"), []string{"hello", told}, "line\r\n1\r\n", nil},
		{"CSV", send(200, "text/csv", "line\r\n"), []string{told}, "line\r\n", nil},
		{"empty", send(200, "application/octet-stream", ""), []string{told}, "", ErrNotJSON},
		{"page of the console", send(200, "text/html", htmlPage), []string{told}, "", ErrNotJSON},
		{"gone", send(404, "text/html", htmlPage), []string{told}, "", ErrNotFound},
		{"no lines", nil, []string{`{"status":"Failure","message":"No data found"}`}, "", ErrRefused},
		{"bad link", nil, []string{toldLink}, "", ErrNotJSON},
		{"no socket", nil, nil, "", ErrUnavailable},
		{"closed early", nil, []string{"hello"}, "", errAny},
		{"silent", nil, []string{"hello", "hang"}, "", context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := exportServer(t, tt.file, tt.frames...)
				var out bytes.Buffer
				n, err := c.Hosts.DownloadStatusLogs(t.Context(), "1", time.Minute, &out)
				if out.String() != tt.want || n != int64(out.Len()) {
					t.Errorf("got %q, %d bytes", out.String(), n)
				}
				if errors.Is(tt.err, errAny) && err != nil {
					return
				}
				if !errors.Is(err, tt.err) {
					t.Errorf("got %v, want %v", err, tt.err)
				}
			})
		})
	}
}

// errAny stands for an error that nobody tells apart.
var errAny = errors.New("any")

func TestStatusLogLinkCancelled(t *testing.T) {
	waits := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _, _ = conn.ReadMessage()
		close(waits)
		_, _, _ = conn.ReadMessage()
	}))
	t.Cleanup(server.Close)
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-waits
		cancel(why)
	}()
	_, err := newClient(t, server.URL).Hosts.StatusLogLink(ctx, StatusLogTask{ID: "T"}, 0)
	if !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

func TestStatusLogTask(t *testing.T) {
	server := newServer(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s was sent", r.URL) })
	for _, id := range []string{"", "a b", "a\n", strings.Repeat("x", 129)} {
		if _, err := newClient(t, server.URL).Hosts.StatusLogLink(t.Context(), StatusLogTask{ID: id}, 0); !errors.Is(err, ErrInvalid) {
			t.Errorf("task %q: %v", id, err)
		}
	}
}
