package connector

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
)

// pipes is a network within the process, so that tests of waiting can run on the
// clock of a synctest bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	close func()
}

func newPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.done) })
	return p
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.close(); return nil }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// inPipes serves handle over pipes and returns a client of it. All ends with the test.
func inPipes(t *testing.T, handle http.Handler, change ...func(*Options)) *Client {
	t.Helper()
	network := newPipes()
	server := &http.Server{Handler: handle}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(network)
	}()
	transport := &http.Transport{DialContext: network.dial}
	c := newClient(t, "http://127.0.0.1", append([]func(*Options){func(o *Options) {
		o.BasePath, o.Transport, o.Dial = "/esp-ui/services/api/v1", transport, network.dial
	}}, change...)...)
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		<-served
	})
	return c
}
