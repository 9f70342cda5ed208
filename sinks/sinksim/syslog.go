package sinksim

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// SyslogOptions are the choices for a syslog receiver. The zero value is an
// octet-counting TCP receiver on a free port of the loopback.
type SyslogOptions struct {
	Network         string      // tcp (default) or udp
	Listen          string      // default 127.0.0.1:0
	TLS             *tls.Config // nil: plain
	LF              bool        // messages end with LF; default: octet counting
	MaxMessageBytes int         // default 8192, as in rsyslog
	// OnMessage is called for each message, from one goroutine a connection.
	OnMessage func(message string)
}

// Syslog receives syslog messages. It can be cut off and started again at the
// same address.
type Syslog struct {
	o SyslogOptions

	mu       sync.Mutex
	address  string
	listener net.Listener
	packets  net.PacketConn
	conns    map[net.Conn]bool
	messages []string
	wrong    []error
	changed  chan struct{} // closed at each message
	serving  sync.WaitGroup
}

// NewSyslog makes a receiver; Start makes it listen.
func NewSyslog(o SyslogOptions) *Syslog {
	if o.Network == "" {
		o.Network = "tcp"
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.MaxMessageBytes == 0 {
		o.MaxMessageBytes = 8192
	}
	return &Syslog{o: o, address: o.Listen, conns: map[net.Conn]bool{}, changed: make(chan struct{})}
}

// Start listens, at the address of the first Start if there was one. Stop ends
// what it starts.
func (s *Syslog) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lc net.ListenConfig
	if s.o.Network == "udp" {
		packets, err := lc.ListenPacket(ctx, "udp", s.address)
		if err != nil {
			return err
		}
		s.packets, s.address = packets, packets.LocalAddr().String()
		s.serving.Go(func() { s.datagrams(packets) })
		return nil
	}
	l, err := lc.Listen(ctx, "tcp", s.address)
	if err != nil {
		return err
	}
	s.listener, s.address = l, l.Addr().String()
	s.serving.Go(func() { s.accept(l) })
	return nil
}

// Stop closes the listener and all connections, as a process that is killed:
// what was read and not yet looked at is lost. With reset, peers get a reset
// instead of an orderly end.
func (s *Syslog) Stop(reset bool) {
	s.mu.Lock()
	if s.listener != nil {
		_ = s.listener.Close()
		s.listener = nil
	}
	if s.packets != nil {
		_ = s.packets.Close()
		s.packets = nil
	}
	for c := range s.conns {
		if reset {
			if raw, ok := c.(*net.TCPConn); ok {
				_ = raw.SetLinger(0)
			}
		}
		_ = c.Close()
		delete(s.conns, c)
	}
	s.mu.Unlock()
	s.serving.Wait()
}

// Address is where it listens, as host:port.
func (s *Syslog) Address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.address
}

// Messages are all messages so far, repeats included.
func (s *Syslog) Messages() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.messages...)
}

// Wrong are the mistakes that senders have made, such as a frame without a length.
func (s *Syslog) Wrong() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]error(nil), s.wrong...)
}

// Wait returns when there are at least n messages, or ctx ends.
func (s *Syslog) Wait(ctx context.Context, n int) error {
	for {
		s.mu.Lock()
		have, changed := len(s.messages), s.changed
		s.mu.Unlock()
		if have >= n {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d messages: %w", have, n, context.Cause(ctx))
		case <-changed:
		}
	}
}

func (s *Syslog) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return // closed
		}
		s.mu.Lock()
		if s.listener != l { // stopped in between
			s.mu.Unlock()
			_ = conn.Close()
			return
		}
		s.conns[conn] = true
		s.serving.Go(func() { s.connection(conn) })
		s.mu.Unlock()
	}
}

func (s *Syslog) connection(raw net.Conn) {
	defer func() {
		s.mu.Lock()
		delete(s.conns, raw)
		s.mu.Unlock()
		_ = raw.Close()
	}()
	conn := raw
	if s.o.TLS != nil {
		conn = tls.Server(raw, s.o.TLS)
	}
	next := s.counted
	if s.o.LF {
		next = s.line
	}
	for in := bufio.NewReader(conn); ; {
		message, err := next(in)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			s.mistake(err)
			return
		}
		if !s.take(raw, message) {
			return
		}
	}
}

// counted reads a frame of RFC 6587, section 3.4.1.
func (s *Syslog) counted(in *bufio.Reader) (string, error) {
	length := 0
	for digits := 0; ; digits++ {
		c, err := in.ReadByte()
		if err != nil {
			return "", err
		}
		if c == ' ' && digits > 0 {
			break
		}
		if c < '0' || c > '9' || digits == 0 && c == '0' || digits > 6 {
			return "", fmt.Errorf("frame does not begin with a length: %q", c)
		}
		length = 10*length + int(c-'0')
	}
	if length > s.o.MaxMessageBytes {
		return "", fmt.Errorf("message of %d bytes, the limit is %d", length, s.o.MaxMessageBytes)
	}
	message := make([]byte, length)
	if _, err := io.ReadFull(in, message); err != nil {
		return "", io.EOF // the sender broke off, and sends it again
	}
	return string(message), nil
}

// line reads a frame of RFC 6587, section 3.4.2.
func (s *Syslog) line(in *bufio.Reader) (string, error) {
	var message []byte
	for {
		c, err := in.ReadByte()
		switch {
		case err != nil:
			return "", err
		case c == '\n':
			return string(message), nil
		case len(message) == s.o.MaxMessageBytes:
			return "", fmt.Errorf("message of more than %d bytes", s.o.MaxMessageBytes)
		}
		message = append(message, c)
	}
}

func (s *Syslog) datagrams(packets net.PacketConn) {
	buffer := make([]byte, 64<<10)
	for {
		n, _, err := packets.ReadFrom(buffer)
		if err != nil {
			return // closed
		}
		s.take(nil, string(buffer[:n]))
	}
}

// take keeps a message, unless its connection was stopped.
func (s *Syslog) take(from net.Conn, message string) bool {
	s.mu.Lock()
	if from != nil && !s.conns[from] {
		s.mu.Unlock()
		return false
	}
	s.messages = append(s.messages, message)
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	if s.o.OnMessage != nil {
		s.o.OnMessage(message)
	}
	return true
}

func (s *Syslog) mistake(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, broken := errors.AsType[*net.OpError](err); broken {
		return // a reset is not the sender's mistake
	}
	s.wrong = append(s.wrong, err)
}
