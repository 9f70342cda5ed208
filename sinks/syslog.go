package sinks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/format"
)

// SyslogSettings configure a syslog sink.
type SyslogSettings struct {
	// Address is the collector, as host:port. Usual ports are 514 for udp and
	// tcp, 6514 for tls.
	Address string `yaml:"address" required:"true"`

	// Transport is udp (RFC 5426), tcp (RFC 6587) or tls (RFC 5425). Only tcp and
	// tls tell erbridge when messages do not arrive.
	Transport string `yaml:"transport" enum:"udp,tcp,tls"`

	// Framing says how messages are told apart on tcp and tls: octet (the length
	// in front of each) or lf (a line each). The default is octet, except for cef,
	// leef and RFC 3164 on tcp, where many collectors read lines only. tls takes octet
	// only, udp none.
	Framing string `yaml:"framing" enum:"octet,lf"`

	// RFC is the form of the header: 5424, or 3164 for collectors that know only
	// the older one.
	RFC int `yaml:"rfc"`

	FormatSettings `yaml:",inline"`

	// Payload is the older name of format.
	Payload string `yaml:"payload" enum:"json,cef,leef,text"`

	// Facility is the syslog facility.
	Facility string `yaml:"facility" enum:"kern,user,mail,daemon,auth,syslog,lpr,news,uucp,cron,authpriv,ftp,local0,local1,local2,local3,local4,local5,local6,local7"`

	// AppName is the name of the program in the header.
	AppName string `yaml:"app_name"`

	// Hostname says whose name stands in the header: endpoint is the host that an
	// alert is about, erbridge the machine that erbridge runs on.
	Hostname string `yaml:"hostname" enum:"endpoint,erbridge"`

	// EnterpriseNumber is the private enterprise number in the name of the
	// structured data, erbridge@32473 without other advice. 0 sends no structured
	// data. RFC 3164 has none.
	EnterpriseNumber int64 `yaml:"enterprise_number"`

	// MaxMessageBytes bounds a message, without framing; what is longer is
	// shortened and marked with …, and set aside as a dead letter where even that is
	// too long, which happens to documents (ecs, ocsf, cim, asim, udm, template) at
	// small bounds. 0 means what receivers take for sure: 1472 on udp (1452 on IPv6),
	// 1024 for RFC 3164, else 8192.
	MaxMessageBytes int `yaml:"max_message_bytes"`

	// ResendWindow is for how long a message on tcp or tls is kept after it was
	// sent. When a connection breaks, the messages of this time are sent again,
	// because the collector may have died with them: it may get them twice.
	ResendWindow time.Duration `yaml:"resend_window"`

	// ServerVersion is the release of the Endpoint Response server, for the header
	// of cef and leef.
	ServerVersion string `yaml:"server_version"`

	// Timeout bounds the connection, and each wait in which the collector takes
	// nothing.
	Timeout time.Duration `yaml:"timeout"`

	TLSSettings `yaml:",inline"`
}

// minMessageBytes is what every receiver takes (RFC 5424, section 6.1).
const minMessageBytes = 480

func init() {
	Types.Add("syslog", Type{
		Summary: "Syslog collector over UDP, TCP or TLS, with JSON, CEF, LEEF or another format inside",
		Settings: &SyslogSettings{
			Transport: "tcp", RFC: 5424, FormatSettings: FormatSettings{Format: "json"}, Facility: "local0", AppName: "erbridge", Hostname: "endpoint",
			EnterpriseNumber: 32473, ResendWindow: 30 * time.Second, Timeout: 10 * time.Second,
		},
		Example: `type: syslog
address: collector.example.org:6514
transport: tls
ca_file: /etc/erbridge/collector-ca.pem
format: cef
`,
		MaxBatch: 500,
		Open: func(name string, settings any, env Env) (Sink, error) {
			return openSyslog(settings.(*SyslogSettings), env)
		},
	})
}

// facilities are in the order of their codes (RFC 5424, section 6.2.1); 12 to 15
// have no common name and are not offered.
var facilities = []string{"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
	"", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"}

// Check reports what the settings' types cannot.
func (s *SyslogSettings) Check(report func(setting, hint, format string, args ...any)) {
	host, port, err := net.SplitHostPort(s.Address)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || n == 0 {
		report("address", "", "expected host:port, such as collector.example.org:514")
	}
	if s.RFC != 5424 && s.RFC != 3164 {
		report("rfc", "", "expected 5424 or 3164")
	}
	switch {
	case s.Transport == "udp" && s.Framing != "":
		report("framing transport", "leave it out", "a datagram is one message, there is no framing on udp")
	case s.Transport == "tls" && s.Framing == "lf":
		report("framing transport", "leave it out", "RFC 5425 has octet counting only")
	}
	if s.Transport != "tls" && s.TLSSettings != (TLSSettings{}) {
		report("transport", "set transport: tls", "certificates are of use with tls only")
	}
	if s.MaxMessageBytes != 0 && (s.MaxMessageBytes < minMessageBytes || s.MaxMessageBytes > 1<<20) {
		report("max_message_bytes", "", "expected 0, or a number from %d to %d", minMessageBytes, 1<<20)
	}
	if s.EnterpriseNumber < 0 || s.EnterpriseNumber > 1<<32 {
		report("enterprise_number", "", "expected a number from 0 to %d", int64(1<<32))
	}
	if s.ResendWindow < 0 {
		report("resend_window", "", "expected 0 or a longer time")
	}
	if s.Payload != "" && s.Format != "json" && s.Format != "" && s.Format != s.Payload {
		report("payload format", "leave payload out", "payload is the older name of format, and the two say different things")
	}
	s.checkFormat(report)
	checkTimeout(s.Timeout, report)
}

// format is the name of the format, whichever way it was given.
func (s *SyslogSettings) format() string { return cmp.Or(s.Payload, s.Format, "json") }

// syslogSink renders events and hands them to a transport.
type syslogSink struct {
	header format.Syslog
	body   format.Formatter // nil: header.Payload, whose forms can be cut to any length
	rfc    int
	limit  int // of a message; 0 on udp means what fits a datagram
	octet  bool

	datagrams *datagrams // udp
	stream    *stream    // tcp and tls
	log       *slog.Logger
}

func openSyslog(s *SyslogSettings, env Env) (*syslogSink, error) {
	var mistakes []error
	s.Check(func(setting, _, text string, args ...any) {
		mistakes = append(mistakes, fmt.Errorf("%s: %s", setting, fmt.Sprintf(text, args...)))
	})
	if len(mistakes) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrConfig, errors.Join(mistakes...))
	}
	sink, err := s.renderer(env.Version)
	if err != nil {
		return nil, err
	}
	sink.log = env.Log
	if s.Transport == "udp" {
		sink.datagrams = &datagrams{address: s.Address, timeout: s.Timeout, now: env.Now}
		return sink, nil
	}
	sink.octet = s.Framing == "octet" || s.Framing == "" && (s.Transport == "tls" || s.RFC == 5424 && s.format() != "cef" && s.format() != "leef")
	sink.stream = newStream(s.Address, s.Timeout, s.ResendWindow, env)
	if s.Transport == "tls" {
		config, err := s.TLSSettings.config()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfig, err)
		}
		sink.stream.secure(config)
	}
	return sink, nil
}

// renderer is the sink as far as it makes messages.
func (s *SyslogSettings) renderer(version string) (*syslogSink, error) {
	own, err := os.Hostname()
	if err != nil {
		own = "" // the header has - then
	}
	sink := &syslogSink{
		header: format.Syslog{
			Options:  format.Options{Version: version, ServerVersion: s.ServerVersion},
			Facility: max(slices.Index(facilities, s.Facility), 0), AppName: s.AppName, ProcID: strconv.Itoa(os.Getpid()),
			Hostname: own, OwnHost: s.Hostname == "erbridge", Enterprise: s.EnterpriseNumber,
			Payload: format.Payload(s.format()), Location: time.Local,
		},
		rfc: s.RFC, limit: s.MaxMessageBytes,
	}
	switch sink.header.Payload {
	case format.PayloadJSON, format.PayloadCEF, format.PayloadLEEF, format.PayloadText:
	default:
		if sink.body, err = s.formatter(sink.header.Options); err != nil {
			return nil, err
		}
	}
	switch {
	case sink.limit == 0 && s.RFC == 3164:
		sink.limit = 1024
	case sink.limit == 0 && s.Transport != "udp":
		sink.limit = 8192
	}
	return sink, nil
}

// preview is the message for an event, without framing.
func (s *SyslogSettings) preview(ev *soar.Event, version string) ([]byte, error) {
	sink, err := s.renderer(version)
	if err != nil {
		return nil, err
	}
	message, _, err := sink.render(ev, cmp.Or(sink.limit, 1472)) // of a datagram
	return message, err
}

// Send delivers on tcp and tls when it returns nil: the collector's machine has
// all the bytes, see stream. On udp nobody knows.
func (s *syslogSink) Send(ctx context.Context, events []soar.Event) error {
	if len(events) == 0 {
		return nil
	}
	if s.datagrams != nil {
		return s.sendDatagrams(ctx, events)
	}
	frames := make([][]byte, 0, len(events))
	partial := &PartialError{Permanent: map[int]error{}}
	short := 0
	for i := range events {
		message, cut, err := s.render(&events[i], s.limit)
		if err != nil {
			partial.Permanent[i] = err
			continue
		}
		if cut {
			short++
		}
		frames = append(frames, s.frame(message))
	}
	s.logShort(short)
	if len(frames) > 0 {
		if err := s.stream.send(ctx, frames); err != nil {
			return fmt.Errorf("syslog: %w", err)
		}
	}
	if len(partial.Permanent) > 0 {
		return partial
	}
	return nil
}

// render makes a message. An error is permanent: the event has no form in the format, or
// none that is short enough.
func (s *syslogSink) render(ev *soar.Event, limit int) (message []byte, short bool, err error) {
	switch {
	case s.body != nil:
		message, short, err = s.header.Around(s.rfc, ev, s.body, limit)
	case s.rfc == 3164:
		message, short = format.RFC3164(ev, s.header, limit)
	default:
		message, short = format.RFC5424(ev, s.header, limit)
	}
	switch {
	case errors.Is(err, format.ErrTooLong):
		err = fmt.Errorf("syslog: %w: %w; a higher max_message_bytes lets it through", ErrPermanent, err)
	case err != nil:
		err = fmt.Errorf("syslog: %w: %w", ErrPermanent, err)
	}
	return message, short, err
}

// frame makes a message one of a stream (RFC 6587, section 3.4). The formats
// leave no line feed in a message.
func (s *syslogSink) frame(message []byte) []byte {
	if s.octet {
		return append(strconv.AppendInt(make([]byte, 0, len(message)+8), int64(len(message)), 10), append([]byte{' '}, message...)...)
	}
	return append(message, '\n')
}

func (s *syslogSink) logShort(n int) {
	if n > 0 {
		s.log.Info("events were longer than a message may be, and were shortened", "events", n)
	}
}

func (s *syslogSink) sendDatagrams(ctx context.Context, events []soar.Event) error {
	limit, err := s.datagrams.open(ctx)
	if err != nil {
		return fmt.Errorf("syslog: %w", judgeDial(err))
	}
	if s.limit > 0 {
		limit = s.limit
	}
	partial := &PartialError{Permanent: map[int]error{}}
	short := 0
	for i := range events {
		message, cut, err := s.render(&events[i], limit)
		if err != nil {
			partial.Permanent[i] = err
			continue
		}
		if cut {
			short++
		}
		switch err := s.datagrams.write(ctx, message); {
		case errors.Is(err, syscall.EMSGSIZE):
			partial.Permanent[i] = fmt.Errorf("syslog: %w: %d bytes do not fit a datagram, lower max_message_bytes", ErrTooLarge, len(message))
		case err != nil:
			return fmt.Errorf("syslog: %w", err)
		}
	}
	s.logShort(short)
	if err := s.datagrams.settled(); err != nil {
		return fmt.Errorf("syslog: %w", err)
	}
	if len(partial.Permanent) > 0 {
		return partial
	}
	return nil
}

// Close ends the connection, and waits for what belongs to it.
func (s *syslogSink) Close() error {
	if s.datagrams != nil {
		return s.datagrams.close()
	}
	return s.stream.close()
}

// datagrams is a UDP socket that is connected, so that the kernel hands on what
// ICMP says. It is for one goroutine.
type datagrams struct {
	address string
	timeout time.Duration
	now     func() time.Time

	conn   *net.UDPConn
	opened time.Time
}

// resolveAgain is how long a socket is used before the name is looked up again.
const resolveAgain = time.Minute

// open returns what a datagram can hold without fragments on an Ethernet (RFC
// 5426, section 3.2).
func (d *datagrams) open(ctx context.Context) (int, error) {
	if d.conn != nil && d.now().Sub(d.opened) > resolveAgain {
		_ = d.close() // nothing is buffered in a datagram socket
	}
	if d.conn == nil {
		conn, err := (&net.Dialer{Timeout: d.timeout}).DialContext(ctx, "udp", d.address)
		if err != nil {
			return 0, err
		}
		d.conn, d.opened = conn.(*net.UDPConn), d.now()
	}
	if remote, ok := d.conn.RemoteAddr().(*net.UDPAddr); ok && remote.IP.To4() == nil {
		return 1452, nil
	}
	return 1472, nil
}

func (d *datagrams) write(ctx context.Context, message []byte) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := d.conn.SetWriteDeadline(time.Now().Add(d.timeout)); err != nil {
		return err
	}
	_, err := d.conn.Write(message)
	if err != nil && !errors.Is(err, syscall.EMSGSIZE) {
		_ = d.close()
	}
	return err
}

// settled reports what has come back for the datagrams so far, such as "port
// unreachable"; it does not wait for it.
func (d *datagrams) settled() error {
	err := socketError(d.conn)
	if err != nil {
		_ = d.close()
	}
	return err
}

func (d *datagrams) close() error {
	if d.conn == nil {
		return nil
	}
	err := d.conn.Close()
	d.conn = nil
	return err
}

// hostOf is the name that a certificate must have.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return strings.Trim(host, "[]")
}
