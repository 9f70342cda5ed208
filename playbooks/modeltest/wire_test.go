package modeltest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
)

var (
	errDead = errors.New("the process is dead")
	errCut  = errors.New("connection reset by peer")
)

// wire is what a life has between itself and the server. What was sent arrives, also
// when nobody waits for the answer any more.
type wire struct{ l *life }

// late is a fault of the way: the next requests to a place take that long to arrive.
type late struct {
	call  string // as in the endpoint catalogue
	by    time.Duration
	count int
}

// effects are the requests that change something, by how their paths end.
var effects = []struct{ method, suffix, call string }{
	{http.MethodPost, "/response/add", "response-add"},
	{http.MethodPost, "/response/custom-action", "response-custom-action"},
	{http.MethodPost, "/response/restart-agent", "response-restart-agent"},
	{http.MethodPost, "/defender-management/scan-now", "defender-scan-now"},
	{http.MethodPost, "/tags", "hosts-tags-add"},
	{http.MethodPost, "/analyst/notes", "alerts-notes-add"},
	{http.MethodPut, "/alerts", "alerts-update"},
}

// effectOf names the call that changes something; empty for all others.
func effectOf(req *http.Request) string {
	for _, e := range effects {
		if req.Method == e.method && strings.HasSuffix(req.URL.Path, e.suffix) {
			return e.call
		}
	}
	return ""
}

// RoundTrip implements http.RoundTripper.
func (n wire) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		_ = req.Body.Close()
	}
	l, effect := n.l, effectOf(req)
	if effect != "" && l.meets(beforeCall) || l.gone() {
		return nil, errDead
	}
	call, _ := req.Context().Value(callKey{}).(*sentCall)
	if effect != "" {
		l.w.sends(call, req.URL.Path)
	}
	var wait time.Duration
	if effect != "" {
		wait = l.w.delay(effect)
	}
	arriving := httptest.NewRequest(req.Method, req.URL.String(), bytes.NewReader(body))
	arriving.Header, arriving.TLS = req.Header.Clone(), nil
	answers := make(chan answer, 1)
	serve := func() {
		time.Sleep(wait)
		answers <- l.w.serve(arriving, call, effect)
	}
	if wait == 0 && effect != "" {
		serve()
	} else {
		l.w.onTheWay.Go(serve)
	}
	select {
	case a := <-answers:
		if effect != "" && l.meets(afterCall) {
			return nil, errDead
		}
		if a.err != nil {
			return nil, a.err
		}
		a.res.Request = req
		return a.res, nil
	case <-req.Context().Done():
		return nil, context.Cause(req.Context())
	case <-l.died:
		return nil, errDead
	}
}

// answer is what comes back, if anything does.
type answer struct {
	res *http.Response
	err error
}

// serve lets the server take a request, and counts what came of it.
func (w *world) serve(req *http.Request, call *sentCall, effect string) (a answer) {
	rec := httptest.NewRecorder()
	if effect != "" { // one at a time, to tell which commands are whose
		w.taking.Lock()
		defer w.taking.Unlock()
		before := len(w.sim.Commands())
		defer func() { w.took(call, w.sim.Commands()[before:]) }()
	}
	cut := aborted(func() { w.sim.ServeHTTP(rec, req) })
	if cut && rec.Body.Len() == 0 {
		return answer{err: errCut}
	}
	res := rec.Result()
	res.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if cut {
		res.Body = io.NopCloser(io.MultiReader(res.Body, failing{}))
	}
	return answer{res: res}
}

// failing is the end of an answer that breaks off.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// aborted tells whether a handler cut the connection.
func aborted(serve func()) (cut bool) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			cut = true
		default:
			panic(v)
		}
	}()
	serve()
	return false
}

// dial opens a websocket.
func (n wire) dial(context.Context, string, string) (net.Conn, error) {
	if n.l.gone() {
		return nil, errDead
	}
	near, far := net.Pipe()
	n.l.w.onTheWay.Go(func() {
		defer far.Close()
		reader := bufio.NewReader(far)
		req, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		socket := &socket{ResponseRecorder: httptest.NewRecorder(), conn: far, reader: reader}
		cut := aborted(func() { n.l.w.sim.ServeHTTP(socket, req) })
		if !cut && !socket.taken {
			_ = socket.Result().Write(far) // who asked sees the end
		}
	})
	return near, nil
}

// socket is a request that may become a websocket.
type socket struct {
	*httptest.ResponseRecorder
	conn   net.Conn
	reader *bufio.Reader
	taken  bool
}

// Hijack implements http.Hijacker.
func (s *socket) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	s.taken = true
	return s.conn, bufio.NewReadWriter(s.reader, bufio.NewWriter(s.conn)), nil
}

var _ http.Handler = (*ersim.Server)(nil)
