package sinks

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"
)

// stream sends frames over TCP or TLS to a peer that never answers. TCP tells
// the sender little: the first write after the peer has closed still succeeds,
// and its data is gone. Four things together make up for that:
//
//   - A goroutine reads each connection; whatever comes of it but data means that
//     the connection is dead, and nothing more is written to it.
//   - send returns nil only when the peer's kernel has acknowledged every byte
//     and the connection is still whole after that (Linux only).
//   - Frames stay in a window for some time after that. A peer can die with what
//     its kernel had acknowledged, unread or half worked on; when a connection
//     breaks, the window is sent again on the next one, before anything new.
//   - That happens at once, not with the next event, which may be hours away.
//
// So a peer gets frames twice rather than not at all. What remains: a frame that
// the peer lost longer ago than the window reaches, and a window whose peer does
// not come back before erbridge ends.
type stream struct {
	address string
	timeout time.Duration
	keep    time.Duration // how far the window reaches back
	tls     *tls.Config   // nil on plain TCP
	log     *slog.Logger
	now     func() time.Time

	watchers sync.WaitGroup

	mu         sync.Mutex
	conn       *watched
	window     []sentFrame // oldest first
	recovering bool        // a watcher is sending the window again
	// life ends with close. It has the values of the first send's context, and
	// outlives it: connections are for many sends.
	life context.Context
	end  context.CancelFunc
}

type sentFrame struct {
	data []byte
	at   time.Time
}

// watched is one connection and what its reader knows.
type watched struct {
	net.Conn
	raw  *net.TCPConn // under TLS
	dead chan struct{}
	// The reader sets these before it closes dead.
	err error
	at  time.Time
	// accepted is set where the peer may still refuse our certificate, and closed
	// when it has not.
	accepted <-chan struct{}
}

const (
	// maxWindowBytes bounds the memory of the window, and how much comes twice
	// when a peer restarts under load. Collectors read 64 to 128 KiB ahead.
	maxWindowBytes = 1 << 20
	// verdictWait is how long a peer gets to refuse our certificate.
	verdictWait = time.Second
	// writeBytes is how much is written before the time-out starts anew.
	writeBytes = 64 << 10
)

// Waits between attempts to send the window again.
const (
	minReconnect = 500 * time.Millisecond
	maxReconnect = 30 * time.Second
)

// errPeerClosed says that the peer ended the connection in good order.
var errPeerClosed = errors.New("closed by the collector")

func newStream(address string, timeout, keep time.Duration, env Env) *stream {
	return &stream{address: address, timeout: timeout, keep: keep, log: env.Log, now: env.Now}
}

// secure makes the stream TLS.
func (s *stream) secure(config *tls.Config) {
	s.tls = config
	if s.tls.ServerName == "" {
		s.tls.ServerName = hostOf(s.address)
	}
}

// send returns nil when the peer's machine has all frames. With an error, some
// may have arrived; the caller sends all of them again.
func (s *stream) send(ctx context.Context, frames [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life == nil {
		s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	}
	// A collector that closes idle connections does so between two batches: that
	// is no failure, and worth one more try at once.
	used := s.conn != nil
	err := s.attempt(ctx, frames)
	if err != nil && used && ctx.Err() == nil && !errors.Is(err, ErrConfig) {
		err = s.attempt(ctx, frames)
	}
	return err
}

func (s *stream) attempt(ctx context.Context, frames [][]byte) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if err := s.write(ctx, frames); err != nil {
		return err
	}
	s.remember(frames)
	return nil
}

// ready makes sure of a connection that was whole a moment ago, and that the
// window of the one before has been sent on it.
func (s *stream) ready(ctx context.Context) error {
	if s.conn != nil && s.conn.ended() {
		s.drop()
	}
	if s.conn != nil {
		return nil
	}
	conn, err := s.dial(ctx)
	if err != nil {
		return judgeDial(err)
	}
	s.conn = conn
	life := s.life
	s.watchers.Go(func() { s.watch(life, conn) })
	if err := s.accepted(ctx, conn); err != nil {
		err = s.explain(ctx, conn, err)
		s.drop()
		return err
	}
	if len(s.window) == 0 {
		return nil
	}
	again := make([][]byte, len(s.window))
	for i, f := range s.window {
		again[i] = f.data
	}
	s.log.Info("the connection broke, sending its last messages again", "messages", len(again))
	if err := s.write(ctx, again); err != nil {
		return fmt.Errorf("send again: %w", err)
	}
	for i := range s.window {
		s.window[i].at = s.now()
	}
	return nil
}

func (s *stream) dial(ctx context.Context) (*watched, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}
	// The name is looked up on each connect.
	conn, err := dialer.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, err
	}
	w := &watched{Conn: conn, raw: conn.(*net.TCPConn), dead: make(chan struct{})}
	if s.tls == nil {
		return w, nil
	}
	config, asked, ticket := s.tls.Clone(), false, newTicket()
	config.ClientSessionCache = ticket
	own := config.GetClientCertificate
	config.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		if own == nil {
			return new(tls.Certificate), nil // none
		}
		return own(r)
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS handshake with %s: %w", s.address, err)
	}
	w.Conn = secure
	if asked && secure.ConnectionState().Version >= tls.VersionTLS13 {
		w.accepted = ticket.arrived
	}
	return w, nil
}

// accepted waits for the peer's verdict on our certificate. In TLS 1.3 the
// handshake ends here before the peer has looked at it (RFC 8446, section 4.4.2),
// so that messages would go to a peer that is about to refuse us. A peer that is
// content sends a session ticket; one that sends none gets a moment to refuse.
func (s *stream) accepted(ctx context.Context, conn *watched) error {
	if conn.accepted == nil {
		return nil
	}
	select {
	case <-conn.accepted:
		return nil
	case <-conn.dead:
		return conn.err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(verdictWait):
		return nil
	}
}

// ticket is a session cache that keeps nothing and tells when a ticket comes.
type ticket struct {
	arrived chan struct{}
	once    sync.Once
}

func newTicket() *ticket { return &ticket{arrived: make(chan struct{})} }

func (t *ticket) Get(string) (*tls.ClientSessionState, bool) { return nil, false }

func (t *ticket) Put(_ string, state *tls.ClientSessionState) {
	if state != nil {
		t.once.Do(func() { close(t.arrived) })
	}
}

// watch reads until the connection ends, and then sees to it that the window is
// sent again.
func (s *stream) watch(ctx context.Context, conn *watched) {
	_, err := io.Copy(io.Discard, conn) // collectors have nothing to say
	if err == nil {
		err = errPeerClosed
	}
	conn.err, conn.at = err, s.now()
	close(conn.dead)

	s.mu.Lock()
	first := !s.recovering
	s.recovering = true
	s.mu.Unlock()
	if !first {
		return // each attempt of the one that is at it has a watcher, too
	}
	for wait := minReconnect; ; wait = min(2*wait, maxReconnect) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if s.recovered(ctx) {
			return
		}
	}
}

// recovered reports that nothing is left to send again: the window was empty,
// send was faster, or it is done now.
func (s *stream) recovered(ctx context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil && s.conn.ended() {
		s.drop()
	}
	if s.conn == nil && len(s.window) > 0 {
		if err := s.ready(ctx); err != nil {
			s.log.Debug("cannot send the last messages again yet", "err", err)
			return false
		}
	}
	s.recovering = false
	return true
}

// ended reports what the reader knows.
func (w *watched) ended() bool {
	select {
	case <-w.dead:
		return true
	default:
		return false
	}
}

// drop gives the connection up. The window keeps what was sent on it in the last
// moments before its end was noticed.
func (s *stream) drop() {
	if s.conn == nil {
		return
	}
	_ = s.conn.Close()
	at := s.now()
	if s.conn.ended() {
		at = s.conn.at
	}
	s.conn = nil
	s.prune(at)
}

func (s *stream) remember(frames [][]byte) {
	at := s.now()
	for _, f := range frames {
		s.window = append(s.window, sentFrame{f, at})
	}
	s.prune(at)
}

// prune forgets what was sent before the window, counted back from at, and what
// is too much.
func (s *stream) prune(at time.Time) {
	first, size := len(s.window), 0
	for first > 0 {
		f := s.window[first-1]
		if size += len(f.data); size > maxWindowBytes || f.at.Before(at.Add(-s.keep)) || s.keep == 0 {
			break
		}
		first--
	}
	s.window = slices.Delete(s.window, 0, first)
}

// write puts frames on the wire and waits until the peer has acknowledged them.
// After an error the connection is gone, because nobody knows where in a frame
// it stopped.
func (s *stream) write(ctx context.Context, frames [][]byte) (err error) {
	conn := s.conn
	// A deadline in the past makes a blocked write return.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Unix(1, 0)) })
	defer func() {
		stop()
		if err != nil {
			err = s.explain(ctx, conn, err)
			s.drop()
		}
	}()
	for data := slices.Concat(frames...); len(data) > 0; {
		if conn.ended() {
			return conn.err
		}
		if err := conn.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil {
			return err
		}
		if ctx.Err() != nil { // after the deadline was moved on, lest it undo the past one
			return context.Cause(ctx)
		}
		n, err := conn.Write(data[:min(len(data), writeBytes)])
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return s.acknowledged(ctx, conn)
}

// explain prefers what the reader saw to what the writer got: the reader knows
// the peer's reason, such as a TLS alert.
func (s *stream) explain(ctx context.Context, conn *watched, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	if conn.ended() && !errors.Is(err, conn.err) {
		err = fmt.Errorf("%w: %w", err, conn.err)
	}
	return judgeDial(err)
}

// acknowledged waits until the peer's kernel has everything. The kernel tells
// nobody when that is, so this asks, at once and then ever more slowly. Each
// progress starts the time-out anew.
func (s *stream) acknowledged(ctx context.Context, conn *watched) error {
	const firstWait, longestWait = 50 * time.Microsecond, 20 * time.Millisecond
	least, deadline := -1, time.Now().Add(s.timeout)
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		queued, whole, err := sendQueue(conn.raw)
		switch {
		case err != nil:
			return err
		case !whole:
			// The reader is about to learn why.
			select {
			case <-conn.dead:
				return conn.err
			case <-time.After(longestWait):
				return errPeerClosed
			}
		case queued == 0:
			return nil
		case least < 0 || queued < least:
			least, deadline = queued, time.Now().Add(s.timeout)
		case time.Now().After(deadline):
			return fmt.Errorf("the collector has not taken %d bytes for %s", queued, s.timeout)
		}
		select {
		case <-conn.dead:
			return conn.err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// close ends the connection and waits for its reader. If the window still waits
// for the peer to come back, it makes one last attempt.
func (s *stream) close() error {
	err := s.hangUp()
	s.watchers.Wait()
	return err
}

func (s *stream) hangUp() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life == nil {
		return nil // nothing was ever sent
	}
	s.end()
	if s.conn != nil && s.conn.ended() {
		s.drop()
	}
	if s.conn == nil && len(s.window) > 0 {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.life), s.timeout)
		defer cancel()
		if err = s.ready(ctx); err != nil {
			err = fmt.Errorf("syslog: %d messages may not have arrived: %w", len(s.window), err)
		}
	}
	if s.conn != nil {
		err = errors.Join(err, s.conn.Close())
		s.conn = nil
	}
	return err
}
