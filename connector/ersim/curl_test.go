package ersim

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/erbridge/erbridge/internal/testenv"
)

// curl drives a simulator as a script does, knowing nothing of our client.
type curl struct {
	*testing.T
	s                   *Server
	program, ca, token  string
	status, contentType string // of the last answer
}

func newCurl(t *testing.T, o Options) *curl {
	c := &curl{T: t, program: testenv.Need(t, "curl")[0], ca: filepath.Join(t.TempDir(), "ca.pem")}
	c.s = newServer(t, o)
	if err := os.WriteFile(c.ca, c.s.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.s.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	stopped := make(chan error, 1)
	go func() { stopped <- c.s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Errorf("simulator: %v", err)
		}
	})
	return c
}

// call makes one call below the base path and returns the answer's body.
func (c *curl) call(method, path, body string) []byte {
	c.Helper()
	args := []string{"-sS", "--max-time", "30", "--cacert", c.ca, "-X", method, "-w", "\n%{http_code} %{content_type}"}
	if c.token != "" {
		args = append(args, "-H", "x-access-token: "+c.token)
	}
	if body != "" {
		args = append(args, "-H", "Content-Type: application/json", "-d", body)
	}
	cmd := exec.CommandContext(c.Context(), c.program, append(args, c.s.URL()+path)...)
	var trouble bytes.Buffer
	cmd.Stderr = &trouble
	out, err := cmd.Output()
	if err != nil {
		c.Fatalf("curl %s %s: %v: %s", method, path, err, trouble.Bytes())
	}
	end := bytes.LastIndexByte(out, '\n')
	c.status, c.contentType, _ = strings.Cut(string(out[end+1:]), " ")
	return out[:end]
}

// ask is call for an answer that must be a success, and returns it.
func (c *curl) ask(method, path, body string) map[string]any {
	c.Helper()
	text := c.call(method, path, body)
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil || c.status != "200" || c.contentType != typeJSON {
		c.Fatalf("%s %s: %s %s %v: %s", method, path, c.status, c.contentType, err, text)
	}
	return out
}

// like makes the call of a capture and compares status, content type, and keys with
// types. It returns the answer.
func (c *curl) like(name string, replace *strings.Replacer) any {
	c.Helper()
	want := readCapture(c.T, "testdata/2.1.2/"+name+".txt")
	text := c.call(want.method, replace.Replace(want.path), replace.Replace(want.body))
	if c.status != strconv.Itoa(want.status) || c.contentType != want.answer.Get("Content-Type") {
		c.Fatalf("%s: got %s %s, want %d %s: %s", name, c.status, c.contentType, want.status, want.answer.Get("Content-Type"), text)
	}
	var got, shown any
	if err := json.Unmarshal(text, &got); err != nil {
		c.Fatalf("%s: %v", name, err)
	}
	if err := json.Unmarshal([]byte(want.text), &shown); err != nil {
		c.Fatal(err)
	}
	if g, w := shape(got, ""), shape(shown, ""); g != w {
		c.Errorf("%s: shape\n got %s\nwant %s", name, g, w)
	}
	return got
}

// socket sends text on a websocket and returns what comes until a binary frame.
func (c *curl) socket(path, text string) (acknowledged string, frame map[string]any) {
	c.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.s.CAPEM())
	dialer := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, HandshakeTimeout: 30 * time.Second}
	conn, resp, err := dialer.DialContext(c.Context(), strings.Replace(c.s.URL(), "https", "wss", 1)+path, nil)
	if err != nil {
		c.Fatal(err)
	}
	defer resp.Body.Close()
	defer conn.Close()
	if err := conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.Fatal(err)
	}
	for {
		kind, data, err := conn.ReadMessage()
		if err != nil {
			c.Fatal(err)
		}
		if kind == websocket.TextMessage {
			acknowledged = string(data)
			continue
		}
		if err := json.Unmarshal(data, &frame); err != nil {
			c.Fatal(err)
		}
		return acknowledged, frame
	}
}

// TestCurl makes the calls that a script's author makes first. On release 2.1.2
// status, content type, keys and types are those of the captures.
func TestCurl(t *testing.T) {
	c := newCurl(t, Options{Profile: "2.1.2", Seed: 7, Hosts: 3, CommandDelay: time.Millisecond})
	raiseLikeCaptured(c.s)
	prepareSearch(c.s, "search")
	hosts := c.s.Hosts()
	replace := strings.NewReplacer("EC2A1111-0000-0000-0000-00000000000A", hosts[0].Identifier,
		"EC2B2222-0000-0000-0000-00000000000B", hosts[2].Identifier, `"password": "admin1"`, `"password": "admin"`, `"rule_id": 2`, `"rule_id": 13`)

	in, _ := c.like("login_ok", replace).(map[string]any)
	if c.token, _ = in["token"].(string); c.token == "" {
		t.Fatalf("no token in %v", in)
	}
	c.like("hosts_list_all", replace)
	c.like("alerts_rule_limit3", replace)
	c.like("alert_detail_rule", replace)
	c.like("hosts_recent_activity", replace)
	c.like("search", replace)

	asked, _ := c.like("distributed_add", replace).(map[string]any)
	data, _ := asked["data"].(map[string]any)
	id, _ := data["query_id"].(float64)
	query := strconv.Itoa(int(id))
	said, frame := c.socket("/distributed/result", query)
	if said != "Fetching results for query with query id : "+query || frame["query_id"] != id {
		t.Errorf("query %s: %q, then %v", query, said, frame)
	}
	node, _ := frame["node"].(map[string]any)
	rows, isList := frame["data"].([]any)
	if shape(node, "") != "{id:float64 name:string}" || !isList || len(rows) == 0 || frame["status"] != float64(0) {
		t.Errorf("frame %v", frame)
	}

	c.ask("POST", c.s.BasePath()+"/distributed/add",
		`{"query": "select * from carves where path='/etc/passwd' and carve=1;", "nodes": "`+hosts[2].Identifier+`"}`)
	for done := false; !done; { // the agent works at it
		data, _ := c.ask("POST", c.s.BasePath()+"/carves", "{}")["data"].(map[string]any)
		text, err := json.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		done = bytes.Contains(text, []byte("COMPLETED"))
	}
	c.like("carves_list_done", replace)

	// Response actions are for the Enterprise edition: there the server has no such path.
	c.call("POST", c.s.BasePath()+"/response/add", `{"action": "delete"}`)
	if c.status != "404" || !strings.HasPrefix(c.contentType, typeHTML) {
		t.Errorf("response/add on a Community server: %s %s", c.status, c.contentType)
	}
}

// TestCurlResponse makes the calls of the Enterprise edition of release 4.0: an
// action, and what has become of it.
func TestCurlResponse(t *testing.T) {
	c := newCurl(t, Options{Seed: 7, Hosts: 3, CommandDelay: time.Millisecond})
	base := c.s.BasePath()
	c.token, _ = c.ask("POST", base+"/login", `{"username": "admin", "password": "admin"}`)["token"].(string)
	host := c.s.Hosts()[0]

	status := c.ask("POST", base+"/response/status", `{"host_identifier": "`+host.Identifier+`"}`)
	if status["responseEnabled"] != true || status["endpointOnline"] != true {
		t.Errorf("status of the host: %v", status)
	}
	path, err := json.Marshal(host.Files[0])
	if err != nil {
		t.Fatal(err)
	}
	added := c.ask("POST", base+"/response/add",
		`{"action": "delete", "target": "file", "actuator_id": "`+host.Identifier+`", "file_name": `+string(path)+`}`)
	id, _ := added["command_id"].(string)
	if added["status"] != "success" || len(id) != 32 {
		t.Fatalf("answer to response/add: %v", added)
	}
	for {
		command := c.ask("GET", base+"/response/"+id, "")
		data, _ := command["data"].(map[string]any)
		if data["status"] == "success" {
			break
		}
		if data["status"] == "failure" {
			t.Fatalf("the deletion failed: %v", data)
		}
	}
}
