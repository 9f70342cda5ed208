package connector

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// PushSettings configures the listener for the server's own rsyslog alerter.
type PushSettings struct {
	// Listen is the TCP address to listen on, such as ":514". Point the server's
	// RSYSLOG_ADDRESS and RSYSLOG_PORT at it. The line carries no sender
	// identity and is not encrypted: open the port to the server only.
	Listen string `yaml:"listen" required:"true"`

	// MaxConnections bounds how many connections are served at a time; further
	// ones wait in the system's queue.
	MaxConnections int `yaml:"max_connections"`

	// IdleTimeout closes a connection on which nothing arrives for so long.
	IdleTimeout time.Duration `yaml:"idle_timeout"`

	// Telemetry forwards the result rows that come beside the alerts. Without it they
	// are counted and dropped.
	Telemetry *TelemetrySettings `yaml:"telemetry"`
}

// DefaultPush are the settings that hold unless the configuration says otherwise.
func DefaultPush() PushSettings {
	return PushSettings{MaxConnections: 128, IdleTimeout: 5 * time.Minute}
}

// maxPushLineBytes bounds one line. The largest lines seen carry a virus-scanner
// answer of some 200 KiB.
const maxPushLineBytes = 1 << 20

// When the listener stops, what senders believe to be delivered is still taken.
const (
	pushLastAccept = 50 * time.Millisecond  // connections that wait in the system's queue
	pushLastRead   = 250 * time.Millisecond // without another byte
	pushLastWord   = 2 * time.Second        // all of it, of one that never stops talking
)

// Push listens for the lines that the server's rsyslog alerter sends: one JSON
// object a line over plain TCP, with or without a syslog prefix, alerts and query
// result rows mixed. A line has no alert id, so it is a doorbell and not the
// alert itself: it makes the poller fetch at once. Result rows are telemetry.
//
// Source: the rsyslog alerter of releases 2.1.2 to 4.0; the payload and its
// newline are separate writes, and a connection may carry many lines.
type Push struct {
	settings  PushSettings
	ring      func()
	env       SourceEnv
	rejects   *rejects
	lines     *prometheus.CounterVec
	telemetry *telemetry // nil: result rows are counted only

	mu       sync.Mutex
	listener net.Listener
}

// NewPush makes the listener. server is the name of the server that pushes; ring is
// called for every alert line, and must not block.
func NewPush(server string, settings PushSettings, ring func(), env SourceEnv) (*Push, error) {
	env = env.withDefaults()
	if _, _, err := net.SplitHostPort(settings.Listen); err != nil {
		return nil, fmt.Errorf("push listener: address %q: %w", settings.Listen, err)
	}
	if settings.MaxConnections <= 0 || settings.IdleTimeout <= 0 {
		return nil, errors.New("push listener: max_connections and idle_timeout must be above zero")
	}
	p := &Push{settings: settings, ring: ring, env: env, rejects: newRejects("push", env)}
	p.lines = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "erbridge_push_lines_total", Help: "Lines of the server's rsyslog alerter, by what they hold."}, []string{"kind"})
	env.Registerer.MustRegister(p.lines)
	if settings.Telemetry != nil {
		var err error
		if p.telemetry, err = newTelemetry(server, *settings.Telemetry, env, p.rejects); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Listen opens the port. Run does it when it was not done before.
func (p *Push) Listen(ctx context.Context) (net.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener == nil {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", p.settings.Listen)
		if err != nil {
			return nil, fmt.Errorf("push listener: %w", err)
		}
		p.listener = l
	}
	return p.listener.Addr(), nil
}

// Run accepts connections until ctx ends. It returns after the last of them: lines that
// were sent before are taken, and rows that were taken are stored.
func (p *Push) Run(ctx context.Context) error {
	addr, err := p.Listen(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = p.listener.Close() }()
	p.env.Log.Info("push listener is open", "address", addr.String())
	if p.telemetry != nil {
		var rows sync.WaitGroup
		rows.Go(func() { p.telemetry.run(ctx) })
		defer rows.Wait()
		defer close(p.telemetry.queue) // after the last connection
	}
	// What has been sent already is taken although ctx has ended.
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var serving sync.WaitGroup
	defer serving.Wait()
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(pushLastWord, cancel)
		if l, ok := p.listener.(interface{ SetDeadline(t time.Time) error }); !ok || l.SetDeadline(time.Now().Add(pushLastAccept)) != nil {
			_ = p.listener.Close()
		}
	})
	defer stop()
	slots := make(chan struct{}, p.settings.MaxConnections)
	for {
		select {
		case slots <- struct{}{}:
		case <-last.Done():
			return context.Cause(ctx)
		}
		conn, err := p.listener.Accept()
		switch {
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("push listener: %w", err)
		case err != nil:
			// Out of file descriptors, or the peer gave up: neither lasts.
			p.env.Log.Warn("push connection not accepted", "err", err)
			<-slots
			if err := pause(ctx, 100*time.Millisecond); err != nil {
				return err
			}
			continue
		}
		serving.Go(func() {
			defer func() { <-slots }()
			p.serve(ctx, last, conn)
		})
	}
}

// serve reads one connection to its end, or until ctx ends and nothing more comes;
// last ends the patience with one that goes on talking.
func (p *Push) serve(ctx, last context.Context, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now().Add(pushLastRead)) })()
	defer context.AfterFunc(last, func() { _ = conn.Close() })()
	lines := bufio.NewReaderSize(conn, 64<<10)
	for {
		err := conn.SetReadDeadline(time.Now().Add(p.settings.IdleTimeout))
		if err == nil && ctx.Err() != nil { // looked at last: the deadline just set may have come after that of the stop
			err = conn.SetReadDeadline(time.Now().Add(pushLastRead))
		}
		if err != nil {
			return
		}
		line, size, err := readLine(lines, maxPushLineBytes)
		if len(line) > 0 {
			if err := p.take(last, line, size); err != nil {
				// The store takes nothing: stop reading, so that the sender's own
				// buffers hold what comes, instead of losing it here.
				p.env.Log.Error("push line not kept", "err", err)
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && ctx.Err() == nil {
				p.env.Log.Debug("push connection ended", "peer", conn.RemoteAddr().String(), "err", err)
			}
			return
		}
	}
}

// take handles one line, of which size bytes came. An error means that the store
// takes nothing now.
func (p *Push) take(ctx context.Context, line []byte, size int) error {
	kind, fields, err := parsePush(line)
	if size > maxPushLineBytes {
		err = fmt.Errorf("the line has %d bytes, of which %d are read", size, maxPushLineBytes)
	}
	if err != nil {
		p.lines.WithLabelValues("malformed").Inc()
		// A line that a syslog relay cut in two is no JSON any more, but an alert
		// may well be behind it: ask the server all the same.
		p.ring()
		_, err = p.rejects.keep(ctx, line, err)
		return err
	}
	p.lines.WithLabelValues(string(kind)).Inc()
	switch {
	case kind == pushAlert:
		p.ring()
	case kind == pushResult && p.telemetry != nil:
		p.telemetry.offer(fields, size)
	}
	return nil
}

// Replay takes a line again that was kept as a dead letter. An error means that it
// still cannot be understood.
func (p *Push) Replay(ctx context.Context, line []byte) error {
	kind, fields, err := parsePush(line)
	if err != nil {
		return fmt.Errorf("push line: %w", err)
	}
	p.lines.WithLabelValues(string(kind)).Inc()
	switch {
	case kind == pushAlert:
		p.ring()
	case kind == pushResult && p.telemetry != nil:
		return p.telemetry.replay(ctx, fields)
	}
	return nil
}

// pushKind is what a line holds.
type pushKind string

const (
	pushAlert  pushKind = "alert"
	pushResult pushKind = "result"
	pushEmpty  pushKind = "empty"
)

// parsePush reads a line and its kind. Release 4.0 writes _event_type "alert"
// for rule alerts, "trigger" for threat intelligence and "log" for result rows;
// releases up to 3.5.1 write event_type "trigger" for alerts, and log_type
// "result" for rows. A column of the event may overwrite a field of the older
// form, so a line with a rule or an incident key is an alert whatever else it says,
// unless it has the mark that the older releases put on result rows only.
func parsePush(line []byte) (pushKind, pushFields, error) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return pushEmpty, nil, nil
	}
	start := bytes.IndexByte(line, '{')
	if start < 0 {
		return "", nil, errors.New("no JSON object in the line")
	}
	var fields pushFields
	if err := json.Unmarshal(line[start:], &fields); err != nil {
		return "", nil, fmt.Errorf("not a JSON object: %w", err)
	}
	kind := fields.kind()
	if kind == "" {
		return "", nil, errors.New("neither an alert nor a result row: no known event type")
	}
	return kind, fields, nil
}

// kind is empty for a line of no known kind.
func (f pushFields) kind() pushKind {
	text := func(key string) string {
		value, _ := f.text(key)
		return value
	}
	has := func(keys ...string) bool {
		return slices.ContainsFunc(keys, func(key string) bool {
			_, ok := f[key]
			return ok
		})
	}
	switch text("_event_type") {
	case "alert", "trigger":
		return pushAlert
	case "log":
		return pushResult
	}
	switch {
	case has("@host_identifier", "@version"):
		return pushResult
	case has("incident_key", "service_key", "rule_name", "_rule_name", "alert_type", "_alert_type"):
		return pushAlert
	case text("_log_type") == "result" || text("log_type") == "result":
		return pushResult
	case text("event_type") == "trigger":
		return pushAlert
	}
	return ""
}

// readLine reads up to a newline or the end. A line over limit is read to its end
// and returned cut; size is what it had.
func readLine(r *bufio.Reader, limit int) (line []byte, size int, err error) {
	for {
		part, err := r.ReadSlice('\n')
		size += len(part)
		line = append(line, part[:min(len(part), limit-len(line))]...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimRight(line, "\r\n"), size, err
		}
	}
}

// pause waits, or ends with ctx.
func pause(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
