package ersim

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

func TestPaths(t *testing.T) {
	for _, tt := range []struct {
		profile, method, path string
		status                int
		kind                  string
	}{
		{"4.0", "GET", "/", 200, typeHTML},
		{"4.0", "GET", "/services/api/v1/hosts/count", 200, typeHTML}, // the console, not the API
		{"4.0", "GET", "/esp-ui/services/api/v1/hosts/count", 200, typeJSON},
		{"4.0", "GET", "/esp-ui/services/api/v1/hosts/count/", 404, typeHTML},
		{"4.0", "GET", "/esp-ui/services/api/v1/Hosts/count", 404, typeHTML},
		{"4.0", "GET", "/esp-ui/services/api/v1/nosuch", 404, typeHTML},
		{"4.0", "GET", "/esp-ui/services/api/v1/alerts/abc", 404, typeHTML},
		{"4.0", "GET", "/esp-ui/services/api/v1/alerts", 405, typeJSON},
		{"4.0", "GET", "/esp-ui/services/api/v1/login", 405, typeHTML},
		{"4.0", "GET", "/esp-ui/services/api/v1/response/status/all", 200, typeJSON},
		{"4.0", "HEAD", "/esp-ui/services/api/v1/hosts/count", 200, typeJSON},
		{"4.0-community", "GET", "/esp-ui/services/api/v1/response/status/all", 404, typeHTML},
		{"4.0-community", "GET", "/esp-ui/services/api/v1/alerts/1/analyst/notes", 404, typeHTML},
		{"4.0-community", "GET", "/esp-ui/services/api/v1/hosts/count", 200, typeJSON},
		{"2.1.2", "GET", "/services/api/v1/hosts/count", 200, typeJSON},
		{"2.1.2", "GET", "/services/api/v1/index", 404, typeHTML},
		{"2.1.2", "GET", "/services/api/v1/response/status/all", 404, typeHTML},
		{"2.1.2", "GET", "/esp-ui/services/api/v1/hosts/count", 200, typeHTML},
	} {
		t.Run(tt.profile+" "+tt.method+" "+tt.path, func(t *testing.T) {
			r := newRig(t, Options{Profile: tt.profile})
			req := httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, nil)
			req.Header.Set("x-access-token", r.token)
			w := httptest.NewRecorder()
			r.s.ServeHTTP(w, req)
			if got := w.Header().Get("Content-Type"); w.Code != tt.status || got != tt.kind {
				t.Errorf("got %d %s, want %d %s", w.Code, got, tt.status, tt.kind)
			}
		})
	}
}

func TestArguments(t *testing.T) {
	r := newRig(t, Options{})
	for _, tt := range []struct {
		name, kind, body string
		status           int
		want             string
	}{
		{"text for a number", typeJSON, `{"limit":"2","start":"1"}`, 200, `"count":12`},
		{"bad number", typeJSON, `{"limit":"x"}`, 400, `{"message":{"limit":"limit"}}`},
		{"null", typeJSON, `{"limit":null}`, 200, `"count":12`},
		{"unknown argument", typeJSON, `{"nosuch":1}`, 200, `"count":12`},
		{"status false as text means true", typeJSON, `{"status":"false"}`, 200, `"count":12`},
		{"status false", typeJSON, `{"status":false}`, 200, `"count":0`},
		{"form", "application/x-www-form-urlencoded", `limit=1`, 200, `"count":12`},
		{"empty JSON body", typeJSON, ``, 400, `message`},
		{"array", typeJSON, `[1]`, 500, `Internal Server Error`},
		{"bad JSON", typeJSON, `{oops`, 400, `Failed to decode JSON object`},
		{"NUL, which the database does not take", typeJSON, `{"searchterm":"a\u0000b"}`, 500, `Internal Server Error`},
		{"negative start", typeJSON, `{"start":-1}`, 500, `Internal Server Error`},
		{"beyond the end", typeJSON, `{"start":100,"limit":5}`, 200, `"count":0`},
		{"too large", typeJSON, `{"searchterm":"` + strings.Repeat("x", maxBodyBytes) + `"}`, 413, `{"message":{"message":`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := httptest.NewRequestWithContext(t.Context(), "POST", r.s.BasePath()+"/hosts", strings.NewReader(tt.body))
			req.Header.Set("Content-Type", tt.kind)
			req.Header.Set("x-access-token", r.token)
			w := httptest.NewRecorder()
			r.s.ServeHTTP(w, req)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
				t.Errorf("got %d %.200s", w.Code, w.Body)
			}
		})
	}
}

// JSON is packed for a client that asks for it, other answers never.
func TestPackedAnswers(t *testing.T) {
	r := newRig(t, Options{})
	for _, tt := range []struct {
		path, accept string
		packed       bool
	}{
		{r.s.BasePath() + "/hosts/count", "gzip, deflate", true},
		{r.s.BasePath() + "/hosts/count", "identity", false},
		{"/", "gzip", false},
	} {
		req := httptest.NewRequestWithContext(t.Context(), "GET", tt.path, nil)
		req.Header.Set("x-access-token", r.token)
		req.Header.Set("Accept-Encoding", tt.accept)
		w := httptest.NewRecorder()
		r.s.ServeHTTP(w, req)
		if got := w.Header().Get("Content-Encoding") == "gzip"; got != tt.packed || w.Header().Get("Content-Length") != strconv.Itoa(w.Body.Len()) {
			t.Errorf("%s with %q: packed is %t, %d bytes, %v", tt.path, tt.accept, got, w.Body.Len(), w.Header())
		}
		if !tt.packed {
			continue
		}
		z, err := gzip.NewReader(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(z); err != nil || !strings.Contains(string(body), `"windows"`) {
			t.Errorf("unpacked %q: %v", body, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, o := range map[string]Options{
		"profile":         {Profile: "9.9"},
		"hosts":           {Hosts: -1},
		"control address": {ControlListen: "0.0.0.0:0"},
		"control text":    {ControlListen: "nonsense"},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestHostAnswers(t *testing.T) {
	r := newRig(t, Options{Hosts: 5})
	first := r.s.Hosts()[0]
	byID, byIdentifier := r.data("GET", "/hosts/1", nil).(obj), r.data("GET", "/hosts/"+first.Identifier, nil).(obj)
	if byID["host_identifier"] != first.Identifier || byIdentifier["id"] != 1.0 || byID["platform"] != "windows" {
		t.Errorf("%v\n%v", byID, byIdentifier)
	}
	if out := r.call("GET", "/hosts/nosuch", nil); out["status"] != "failure" {
		t.Error(out)
	}
	r.s.SetOnline(first.Identifier, false)
	rows := r.results("/hosts", obj{})
	if last := rows[len(rows)-1]; last["id"] != 1.0 || last["is_active"] != false {
		t.Errorf("the offline host is not last: %v", last)
	}
	count := r.data("GET", "/hosts/count", nil).(obj)["windows"].(obj)
	if count["offline"] != 1.0 || count["online"] != 2.0 || count["removed"] != 0.0 {
		t.Error(count)
	}
	if r.data("POST", "/hosts/1/tags", obj{"tag": "seen"}); len(r.data("GET", "/hosts/1/tags", nil).([]any)) != 3 {
		t.Error("tag was not added")
	}
	if out := r.call("POST", "/hosts/1/tags", obj{"tag": "a,b"}); out["status"] != "failure" {
		t.Errorf("a tag with a comma: %v", out)
	}
	if rows := r.results("/hosts", obj{"searchterm": "SEEN"}); ids(rows) != "1" {
		t.Errorf("search by tag: %s", ids(rows))
	}
	r.data("DELETE", "/hosts/1/tags", obj{"tag": "seen"})
	if out := r.call("DELETE", "/hosts/1/tags", obj{"tag": "seen"}); out["status"] != "failure" {
		t.Error(out)
	}
	if w := r.send("GET", "/hosts/1", nil); w.Code != http.StatusOK {
		t.Error(w.Code)
	}
}

// TestOptions: the framework answers OPTIONS by itself, without a token, so that
// browsers can ask before they send the header of the token.
func TestOptions(t *testing.T) {
	for _, profile := range []string{"4.0", "2.1.2"} {
		r := newRig(t, Options{Profile: profile, Hosts: 1})
		r.token = ""
		for path, want := range map[string]string{"/alerts": "POST, PUT, OPTIONS", "/login": "POST, OPTIONS", "/hosts/count": "GET, HEAD, OPTIONS"} {
			w := r.send("OPTIONS", path, nil)
			if w.Code != http.StatusOK || w.Header().Get("Allow") != want || w.Body.Len() != 0 ||
				!strings.Contains(w.Header().Get("Access-Control-Allow-Headers"), "x-access-token") {
				t.Errorf("%s %s: %d %v %q", profile, path, w.Code, w.Header(), w.Body)
			}
		}
		if w := r.send("OPTIONS", "/nosuch", nil); w.Code != http.StatusNotFound {
			t.Errorf("%s: unknown path: %d", profile, w.Code)
		}
	}
}

// TestBodiesOfScripts: what scripts send, and what the framework makes of it. A
// semicolon, in which SQL ends, is part of a form or query string.
func TestBodiesOfScripts(t *testing.T) {
	r := newRig(t, Options{Hosts: 2})
	send := func(path, kind, accept string, body io.Reader) *httptest.ResponseRecorder {
		t.Helper()
		req := httptest.NewRequestWithContext(t.Context(), "POST", r.s.BasePath()+path, body)
		req.Header.Set("x-access-token", r.token)
		req.Header.Set("Content-Type", kind)
		req.Header.Set("Accept-Encoding", accept)
		w := httptest.NewRecorder()
		r.s.ServeHTTP(w, req)
		return w
	}
	const form, upload, asJSON = "application/x-www-form-urlencoded", "multipart/form-data", "application/json"
	for _, tt := range []struct {
		name, path, kind, body string
		want                   string
	}{
		{"form", "/distributed/add", form, "query=select+1;&tags=finance%2Chr", `200 {"data":{"onlineNodes"`},
		{"query string", "/distributed/add?query=select%201;&tags=hr", "", "", `200 {"data":{"onlineNodes"`},
		{"first of two", "/alerts?limit=1&limit=x", "", "", `200 {"status":"success"`},
		{"no escape", "/hosts?searchterm=100%", "", "", `200 {"data":{"count":0`},
		{"JSON that calls itself a form", "/distributed/add", form, `{"query": "select 1;"}`, `400 {"message":{"query":"query"}}`},
		{"JSON that calls itself text", "/distributed/add", "text/plain", `{"query": "select 1;"}`, `400 {"message":{"query":"query"}}`},
		{"multipart without boundary", "/distributed/add", upload, "x", `400 {"message":{"query":"query"}}`},
		{"multipart that ends early", "/distributed/add", upload + "; boundary=x", "--x\r\nContent-Dis", `400 {"message":{"query":"query"}}`},
		{"two values", "/alerts", asJSON, `{} []`, `400 {"message":"Failed to decode JSON object: Extra data: line 1 column 4 (char 3)"}`},
		{"white space behind", "/alerts", asJSON, "{} \n", `200 {"status":"success"`},
		{"no rows", "/alerts", asJSON, `{"limit": -1}`, `500 {"message":"Internal Server Error"}`},
		{"NUL in the path", "/hosts/%00/tags", asJSON, `{"tag": "x"}`, `500 {"message":"Internal Server Error"}`},
		{"too much", "/alerts", asJSON, strings.Repeat(" ", maxBodyBytes+1), `413 {"message":{"message":"The data value`},
	} {
		w := send(tt.path, tt.kind, "", strings.NewReader(tt.body))
		if got := fmt.Sprint(w.Code, " ", w.Body); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
	for method, want := range map[string]int{"GET": 200, "POST": 400, "PUT": 400} {
		path := map[string]string{"GET": "/hosts/count", "POST": "/hosts", "PUT": "/alerts"}[method]
		req := httptest.NewRequestWithContext(t.Context(), method, r.s.BasePath()+path, http.NoBody)
		req.Header.Set("x-access-token", r.token)
		req.Header.Set("Content-Type", asJSON)
		w := httptest.NewRecorder()
		if r.s.ServeHTTP(w, req); w.Code != want {
			t.Errorf("%s of type JSON without a body: %d", method, w.Code)
		}
	}
	for accept, want := range map[string]string{"gzip": "gzip", "deflate, GZIP;q=0.5": "gzip", "gzip;q=0": "", "gzip; q=0.0, identity": "", "": ""} {
		if w := send("/hosts", asJSON, accept, strings.NewReader("{}")); w.Header().Get("Content-Encoding") != want {
			t.Errorf("Accept-Encoding %q: %q", accept, w.Header().Get("Content-Encoding"))
		}
	}
	tooLarge := io.LimitReader(zeros{}, maxProxyBytes+1)
	req := httptest.NewRequestWithContext(t.Context(), "POST", r.s.BasePath()+"/login", tooLarge)
	req.ContentLength = maxProxyBytes + 1
	w := httptest.NewRecorder()
	r.s.ServeHTTP(w, req)
	if w.Code != http.StatusRequestEntityTooLarge || w.Header().Get("Content-Type") != typeHTML {
		t.Errorf("for the proxy: %d %s", w.Code, w.Header().Get("Content-Type"))
	}
}

// zeros is a body without end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
