package connector

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/erbridge/erbridge/internal/soar"
)

// transcriptSession is one recorded websocket.
type transcriptSession struct {
	name, sent string
	frames     []transcriptFrame
	broken     bool
}

type transcriptFrame struct {
	opcode int
	body   []byte
}

var (
	transcriptLine = regexp.MustCompile(`^\[ *[0-9.]+s\] (\S+) (.*)$`)
	transcriptRecv = regexp.MustCompile(`^RECV opcode (\d+) b'(.*)'$`)
	transcriptSend = regexp.MustCompile(`^SEND text '(.*)'$`)
)

func parseTranscript(t testing.TB, text string) (sessions []*transcriptSession) {
	t.Helper()
	byName := make(map[string]*transcriptSession)
	for line := range strings.Lines(text) {
		m := transcriptLine.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
		if m == nil {
			t.Errorf("line not understood: %s", line)
			continue
		}
		s := byName[m[1]]
		if s == nil {
			s = &transcriptSession{name: m[1]}
			byName[m[1]] = s
			sessions = append(sessions, s)
		}
		if send := transcriptSend.FindStringSubmatch(m[2]); send != nil {
			s.sent = send[1]
		}
		if recv := transcriptRecv.FindStringSubmatch(m[2]); recv != nil {
			opcode, _ := strconv.Atoi(recv[1])
			s.frames = append(s.frames, transcriptFrame{opcode, pythonBytes(recv[2])})
		}
		s.broken = s.broken || strings.HasPrefix(m[2], "EXC")
	}
	return sessions
}

// pythonBytes undoes the escapes of a Python bytes literal.
func pythonBytes(text string) []byte {
	var out []byte
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			out = append(out, text[i])
			continue
		}
		i++
		switch text[i] {
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'x':
			if n, err := strconv.ParseUint(text[i+1:min(i+3, len(text))], 16, 8); err == nil {
				out = append(out, byte(n))
				i += 2
			}
		default:
			out = append(out, text[i])
		}
	}
	return out
}

// replayTranscript plays recorded websockets to the real client, over a real one.
func replayTranscript(t *testing.T, text string) {
	for _, s := range parseTranscript(t, text) {
		t.Run(s.name, func(t *testing.T) {
			id, err := strconv.ParseInt(s.sent, 10, 64)
			if err != nil {
				t.Logf("the client sends numbers only, not %q, and refuses to send none", s.sent)
				c := newClient(t, "http://127.0.0.1:1")
				if _, err := c.Queries.Results(t.Context(), LiveTicket{}, time.Minute); !errors.Is(err, ErrInvalid) {
					t.Errorf("got %v", err)
				}
				return
			}
			replaySession(t, s, id)
		})
	}
}

func replaySession(t *testing.T, s *transcriptSession, id int64) {
	type node struct {
		ID   int64
		Name string
	}
	type frame struct {
		Node   *node
		Data   []map[string]any
		Status int
	}
	var want []frame
	for _, f := range s.frames {
		var v frame
		if json.Unmarshal(f.body, &v) == nil && v.Node != nil {
			want = append(want, v)
		}
	}
	say := func(t *testing.T, conn *websocket.Conn, got string) {
		if got != s.sent {
			t.Errorf("the client sent %q, not %q", got, s.sent)
		}
		for _, f := range s.frames {
			if err := conn.WriteMessage(f.opcode, f.body); err != nil {
				t.Error(err)
			}
		}
	}
	if len(want) == 0 && !s.broken { // one host is waited for in vain
		synctest.Test(t, func(t *testing.T) {
			c := inPipes(t, socketHandler(t, resultPath, untilGone(func(conn *websocket.Conn, got string) { say(t, conn, got) })))
			got, err := c.Queries.Results(t.Context(), LiveTicket{QueryID: id, Online: 1}, time.Minute)
			if err != nil || len(got.Hosts) > 0 || got.Complete {
				t.Errorf("got %d hosts, complete %v, %v; want none", len(got.Hosts), got.Complete, err)
			}
		})
		return
	}
	c := liveServer(t, func(conn *websocket.Conn, got string) { say(t, conn, got) }, s.broken)
	got, err := c.Queries.Results(t.Context(), LiveTicket{QueryID: id, Online: max(len(want), 1)}, time.Minute)
	if s.broken {
		if err == nil {
			t.Error("a broken socket is no error")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Hosts) != len(want) || !got.Complete {
		t.Fatalf("got %d hosts, complete %v; want %d", len(got.Hosts), got.Complete, len(want))
	}
	for i, f := range want {
		h := got.Hosts[i]
		if h.NodeID != f.Node.ID || h.Name != f.Node.Name || h.Failed != (f.Status != 0) || len(h.Rows) != len(f.Data) {
			t.Errorf("host %d: got %+v, want %+v", i, h, f)
			continue
		}
		for j, row := range f.Data {
			if flat(h.Rows[j]) != flat(row) {
				t.Errorf("host %d row %d: got %v, want %v", i, j, h.Rows[j], row)
			}
		}
	}
}

// liveServer serves the result websocket and returns a client of it. After each
// says what it has to say, the socket stays open until the client leaves, or is
// cut when broken.
func liveServer(t *testing.T, serve func(conn *websocket.Conn, id string), broken bool) *Client {
	t.Helper()
	upgrader := websocket.Upgrader{}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/distributed/result" {
			http.NotFound(w, r)
			return
		}
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, id, err := conn.ReadMessage()
		if err != nil {
			return
		}
		serve(conn, string(id))
		if broken {
			_ = conn.NetConn().Close()
			return
		}
		for err == nil {
			_, _, err = conn.ReadMessage()
		}
	}))
	t.Cleanup(server.Close)
	c, err := New(Options{
		URL: server.URL, BasePath: "/services/api/v1", Username: "u", Password: soar.SecretValue("p"),
		PinSHA256: pinOf(server),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLiveLeavesWhenCalledOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := liveServer(t, func(conn *websocket.Conn, _ string) {
		_ = conn.WriteMessage(websocket.BinaryMessage, []byte(`{"node":{"id":1,"name":"a"},"data":[],"query_id":7,"status":0}`))
		cancel()
	}, false)
	if _, err := c.Queries.Results(ctx, LiveTicket{QueryID: 7, Online: 2}, time.Minute); err == nil {
		t.Error("no error although called off")
	}
}
