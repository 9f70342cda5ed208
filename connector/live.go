package connector

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// maxLiveWait is when the server gives up on a live query or a live response.
	maxLiveWait = 10 * time.Minute
	// pingInterval keeps the socket open: proxies cut idle ones after 60 s.
	pingInterval = 20 * time.Second
	// maxLiveBytes bounds all that comes over one socket.
	maxLiveBytes = 64 << 20
)

// liveURLs derives the addresses that a socket may have from the base: below the
// prefix of the API, where release 4.0 has them, and that of the first path at the
// root of the host, where 2.x has it.
func liveURLs(base string, paths ...string) []string {
	prefix, _, _ := strings.Cut(base, "/services/api/")
	if scheme, rest, ok := strings.Cut(prefix, "://"); ok {
		prefix = strings.Replace(scheme, "http", "ws", 1) + "://" + rest
	}
	var list []string
	for _, path := range paths {
		list = append(list, prefix+path)
	}
	if u, err := url.Parse(prefix); err == nil && u.Path != "" {
		list = append(list, u.Scheme+"://"+u.Host+paths[0])
	}
	return list
}

// liveDialer opens websockets with the TLS options of the client.
type liveDialer struct {
	ws    websocket.Dialer
	agent string
}

func newLiveDialer(tlsConfig *tls.Config, agent string) *liveDialer {
	return &liveDialer{agent: agent, ws: websocket.Dialer{
		Proxy:            http.ProxyFromEnvironment,
		TLSClientConfig:  tlsConfig,
		HandshakeTimeout: 15 * time.Second,
	}}
}

func (l *liveDialer) dial(ctx context.Context, address string) (*websocket.Conn, error) {
	conn, resp, err := l.ws.DialContext(ctx, address, http.Header{"User-Agent": {l.agent}})
	if resp != nil && resp.Body != nil {
		_ = resp.Body.Close()
	}
	if err != nil {
		if resp != nil {
			return nil, fmt.Errorf("open websocket: %w (HTTP %d)", err, resp.StatusCode)
		}
		return nil, fmt.Errorf("open websocket: %w", plainError(err))
	}
	return conn, nil
}

// dialAny opens a socket at the first address that has one. A refused handshake
// opens nothing on the server, so the next address may be tried; the error of the
// last is websocket.ErrBadHandshake when all were refused.
func (l *liveDialer) dialAny(ctx context.Context, addresses []string) (conn *websocket.Conn, err error) {
	for _, address := range addresses {
		if conn, err = l.dial(ctx, address); err == nil {
			return conn, nil
		}
		if !errors.Is(err, websocket.ErrBadHandshake) {
			return nil, err
		}
	}
	return nil, err
}

// listen sends a text and hands every frame to take, until take says that it has
// all. ctx ending ends it, with an error of reading. It closes the socket.
func listen(ctx context.Context, conn *websocket.Conn, text string, take func(frame []byte) (all bool)) error {
	var keeper sync.WaitGroup
	done := make(chan struct{})
	keeper.Go(func() { keepOpen(ctx, conn, done) })
	defer keeper.Wait()
	defer close(done)

	if err := conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	left := int64(maxLiveBytes)
	for {
		_, reader, err := conn.NextReader()
		if err != nil {
			return err
		}
		frame, err := io.ReadAll(io.LimitReader(reader, left+1))
		if err != nil {
			return fmt.Errorf("within a frame: %w", err)
		}
		if left -= int64(len(frame)); left < 0 {
			return fmt.Errorf("more than %d MiB came", maxLiveBytes>>20)
		}
		if take(frame) {
			return nil
		}
	}
}

// keepOpen pings until done and closes the socket when ctx ends, which ends the
// read, or at done. It does not wait for answers to the pings: the server reads a
// socket only between two results.
func keepOpen(ctx context.Context, conn *websocket.Conn, done <-chan struct{}) {
	defer conn.Close()
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	for {
		select {
		case <-ping.C:
			// An error shows up in the read as well.
			_ = conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(5*time.Second))
			continue
		case <-done:
		case <-ctx.Done():
		}
		_ = conn.WriteControl(websocket.CloseMessage,
			websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
		return
	}
}

// liveDeadline bounds how long a socket is listened to.
func liveDeadline(ctx context.Context, deadline time.Duration) (context.Context, context.CancelFunc) {
	if deadline <= 0 || deadline > maxLiveWait {
		deadline = maxLiveWait
	}
	return context.WithTimeout(ctx, deadline)
}

// liveEnd says what the end of listening means: that the deadline is over is no
// error, what came until then is a partial result.
func liveEnd(outer, inner context.Context, err error) error {
	switch {
	case outer.Err() != nil:
		return context.Cause(outer)
	case inner.Err() != nil:
		return nil //nolint:nilerr // the deadline was to end it
	}
	return err
}
