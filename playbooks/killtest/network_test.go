package killtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

var errDead = errors.New("the process is dead")

// network is one within the process, so that all of it goes by the clock of a synctest
// bubble.
type network struct {
	conns chan net.Conn
	done  chan struct{}
	close func()
}

func newNetwork() *network {
	n := &network{conns: make(chan net.Conn), done: make(chan struct{})}
	n.close = sync.OnceFunc(func() { close(n.done) })
	return n
}

func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case n.conns <- far:
		return near, nil
	case <-n.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *network) Accept() (net.Conn, error) {
	select {
	case conn := <-n.conns:
		return conn, nil
	case <-n.done:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error   { n.close(); return nil }
func (n *network) Addr() net.Addr { return &net.TCPAddr{} }

// wire is what a process has between itself and the server.
type wire struct {
	p    *process
	next http.RoundTripper
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	if w.p.dead() {
		return nil, errDead
	}
	n, sending := w.p.request()
	if !sending {
		return w.next.RoundTrip(req)
	}
	if w.p.dies("call", n) {
		return nil, errDead
	}
	before := w.p.scene.effects()
	if w.p.first && w.p.scene.late > 0 && n == w.p.scene.effectAt {
		return nil, w.lose(req)
	}
	res, err := w.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if w.p.scene.effects() > before {
		w.p.effectAt = n
	}
	if w.p.dies("called", n) {
		return nil, errors.Join(errDead, res.Body.Close())
	}
	return res, nil
}

// lose lets a request arrive when nobody waits for its answer any more.
func (w *wire) lose(req *http.Request) error {
	ctx := req.Context()
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return err
		}
	}
	// A clone would be cancelled with the original.
	later, err := http.NewRequestWithContext(context.WithoutCancel(ctx), req.Method, req.URL.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	later.Header = req.Header.Clone()
	w.p.scene.stragglers.Go(func() {
		time.Sleep(w.p.scene.late)
		res, err := w.next.RoundTrip(later)
		if err != nil {
			w.p.scene.Errorf("the late request: %v", err)
			return
		}
		_ = res.Body.Close() // nobody reads it
	})
	<-ctx.Done()
	return context.Cause(ctx)
}
