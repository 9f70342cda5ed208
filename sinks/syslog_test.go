package sinks_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/leodido/go-syslog/v4/rfc5424"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

func syslogSettings(address string) *sinks.SyslogSettings {
	return &sinks.SyslogSettings{
		Address: address, Transport: "tcp", RFC: 5424, Payload: "json", Facility: "local0", AppName: "erbridge", Hostname: "endpoint",
		EnterpriseNumber: 32473, ResendWindow: 30 * time.Second, Timeout: time.Minute,
	}
}

// startSyslog runs a receiver for the rest of the test.
func startSyslog(t *testing.T, o sinksim.SyslogOptions) *sinksim.Syslog {
	t.Helper()
	sim := sinksim.NewSyslog(o)
	if err := sim.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		sim.Stop(false)
		if wrong := sim.Wrong(); len(wrong) > 0 {
			t.Errorf("the receiver did not understand: %v", wrong)
		}
	})
	return sim
}

// messageID is the event's id in a message with structured data.
func messageID(t *testing.T, message string) string {
	t.Helper()
	parsed, err := rfc5424.NewParser().Parse([]byte(message))
	if err != nil {
		t.Fatalf("%v in %q", err, message)
	}
	return (*parsed.(*rfc5424.SyslogMessage).StructuredData)["erbridge@32473"]["event_id"]
}

// counting is a sink that knows how many events it has delivered.
type counting struct {
	sinks.Sink
	sent *int
}

func (c counting) Send(ctx context.Context, events []soar.Event) error {
	err := c.Sink.Send(ctx, events)
	if err == nil {
		*c.sent += len(events)
	}
	return err
}

func TestSyslogContract(t *testing.T) {
	authority := newAuthority(t)
	for _, tt := range []struct {
		name    string
		change  func(*sinks.SyslogSettings)
		options sinksim.SyslogOptions
	}{
		{"udp", func(s *sinks.SyslogSettings) { s.Transport = "udp" }, sinksim.SyslogOptions{Network: "udp"}},
		{"tcp octet", func(*sinks.SyslogSettings) {}, sinksim.SyslogOptions{}},
		{"tcp lf", func(s *sinks.SyslogSettings) { s.Framing = "lf" }, sinksim.SyslogOptions{LF: true}},
		{"tcp cef", func(s *sinks.SyslogSettings) { s.Payload = "cef" }, sinksim.SyslogOptions{LF: true}},
		{"tls", func(s *sinks.SyslogSettings) { s.Transport, s.CAFile = "tls", authority.file }, sinksim.SyslogOptions{TLS: authority.server(t)}},
		{"tls text", func(s *sinks.SyslogSettings) { s.Transport, s.CAFile, s.Payload = "tls", authority.file, "text" }, sinksim.SyslogOptions{TLS: authority.server(t)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var sim *sinksim.Syslog
			var sent int
			harness := sinktest.Harness{
				MaxBatch: 500,
				Open: func(t *testing.T, _ sinktest.Receiver) sinks.Sink {
					sim, sent = startSyslog(t, tt.options), 0
					settings := syslogSettings(sim.Address())
					tt.change(settings)
					return counting{openSIEM(t, "syslog", settings), &sent}
				},
				Delivered: func(t *testing.T) []string {
					if err := sim.Wait(t.Context(), sent); err != nil {
						t.Fatal(err)
					}
					var ids []string
					for _, m := range sim.Messages() {
						ids = append(ids, messageID(t, m))
					}
					return ids
				},
				Answers: []sinktest.Answer{{Name: "nobody listens", Want: sinktest.Transient, Open: func(t *testing.T) sinks.Sink {
					gone := sinksim.NewSyslog(tt.options)
					if err := gone.Start(t.Context()); err != nil {
						t.Fatal(err)
					}
					gone.Stop(false)
					settings := syslogSettings(gone.Address())
					tt.change(settings)
					return openSIEM(t, "syslog", settings)
				}}},
				Without: map[string]string{
					"partial batch": "a receiver of syslog does not answer",
					"poison item":   "a receiver of syslog does not answer",
				},
			}
			if tt.options.TLS == nil {
				harness.Without["certificate"] = "without TLS"
				harness.Without["cancelled in mid-send"] = "one event fits into the buffers of a connection; TestSyslogCancelled fills them"
			} else {
				harness.WrongName = func(t *testing.T) sinks.Sink {
					settings := syslogSettings(startSyslog(t, sinksim.SyslogOptions{TLS: authority.server(t)}).Address())
					tt.change(settings)
					settings.ServerName = "another.example"
					return openSIEM(t, "syslog", settings)
				}
				harness.Stuck = func(t *testing.T) (sinks.Sink, <-chan struct{}) {
					address, arrived := hangingServer(t)
					settings := syslogSettings(address)
					tt.change(settings)
					return openSIEM(t, "syslog", settings), arrived
				}
			}
			sinktest.Run(t, harness)
		})
	}
}

// hangingServer takes a connection, reads what comes first, and says nothing.
func hangingServer(t *testing.T) (address string, arrived <-chan struct{}) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	came, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = conn.Read(make([]byte, 1))
		close(came)
		_, _ = io.Copy(io.Discard, conn) // until the sink hangs up
		_ = conn.Close()
	}()
	t.Cleanup(func() { _ = l.Close(); <-over })
	return l.Addr().String(), came
}

func TestSyslogRFC3164(t *testing.T) {
	sim := startSyslog(t, sinksim.SyslogOptions{LF: true, MaxMessageBytes: 1024})
	settings := syslogSettings(sim.Address())
	settings.RFC, settings.Payload, settings.AppName, settings.Hostname = 3164, "cef", "er bridge", "erbridge"
	s := closeAfter(t, openSIEM(t, "syslog", settings))
	if err := s.Send(t.Context(), []soar.Event{sinktest.Event(1), sinktest.Hostile()}); err != nil {
		t.Fatal(err)
	}
	if err := sim.Wait(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("<131>%s %s erbridge[%d]: CEF:0|EclecticIQ|Endpoint Response|", sinktest.Event(1).At.Local().Format(time.Stamp), own, os.Getpid())
	if got := sim.Messages()[0]; !strings.HasPrefix(got, want) {
		t.Errorf("message\n got %s\nwant %s...", got, want)
	}
}

// TestSyslogRestartedReceiverLosesNothing kills a receiver at random moments,
// with a reset and without one, and with what it had read but not yet looked at.
func TestSyslogRestartedReceiverLosesNothing(t *testing.T) {
	const events, batchMost = 2000, 40
	random := mathrand.New(mathrand.NewPCG(1, 2))
	restart := make(chan bool, 1) // one is enough: while it is pending, more are left out
	left, seen := 30, map[string]bool{}
	sim := startSyslog(t, sinksim.SyslogOptions{OnMessage: func(message string) {
		if id := quickID(message); !seen[id] {
			seen[id] = true
			left--
		}
		if left < 0 {
			left = 20 + random.IntN(60)
			select {
			case restart <- random.IntN(2) == 0:
			default:
			}
		}
	}})

	restarts := 0
	done := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case reset := <-restart:
				restarts++
				sim.Stop(reset)
				if err := sim.Start(t.Context()); err != nil {
					t.Errorf("start again: %v", err)
					return
				}
			}
		}
	}()

	s := closeAfter(t, openSIEM(t, "syslog", syslogSettings(sim.Address())))
	all := sinktest.Events(events)
	sizes := mathrand.New(mathrand.NewPCG(3, 4))
	for rest := all; len(rest) > 0; {
		n := min(1+sizes.IntN(batchMost), len(rest))
		if err := s.Send(t.Context(), rest[:n]); err != nil {
			if sinktest.ClassOf(err) != sinktest.Transient {
				t.Fatalf("error %v, want a transient one", err)
			}
			continue
		}
		rest = rest[n:]
	}

	// All are sent; the last may be under way again because of a late kill.
	got, messages := map[string]bool{}, []string(nil)
	for len(got) < events {
		if err := sim.Wait(t.Context(), len(messages)+1); err != nil {
			t.Fatal(err)
		}
		known := len(messages)
		messages = sim.Messages()
		for _, m := range messages[known:] {
			got[quickID(m)] = true
		}
	}
	close(stop)
	<-done
	t.Logf("%d restarts, %d messages for %d events", restarts, len(messages), events)
	if restarts < 20 {
		t.Errorf("only %d restarts", restarts)
	}
	for _, ev := range all {
		if !got[ev.ID] {
			t.Errorf("event %s was lost", ev.ID)
		}
	}
}

// quickID is messageID for many messages, on any goroutine.
func quickID(message string) string {
	_, id, _ := strings.Cut(message, `event_id="`)
	id, _, _ = strings.Cut(id, `"`)
	return id
}

// TestSyslogSendsTheWindowAgainByItself: a receiver that dies with the last
// messages gets them again, although no event follows that would need it.
func TestSyslogSendsTheWindowAgainByItself(t *testing.T) {
	for _, reset := range []bool{false, true} {
		t.Run(fmt.Sprintf("reset %t", reset), func(t *testing.T) {
			sim := startSyslog(t, sinksim.SyslogOptions{})
			s := closeAfter(t, openSIEM(t, "syslog", syslogSettings(sim.Address())))
			if err := s.Send(t.Context(), sinktest.Events(3)); err != nil {
				t.Fatal(err)
			}
			if err := sim.Wait(t.Context(), 3); err != nil {
				t.Fatal(err)
			}
			sim.Stop(reset)
			if err := sim.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := sim.Wait(t.Context(), 6); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestSyslogCloseSendsTheWindowAgain: erbridge ends while the receiver is away,
// and the receiver comes back just in time.
func TestSyslogCloseSendsTheWindowAgain(t *testing.T) {
	sim := startSyslog(t, sinksim.SyslogOptions{})
	s := openSIEM(t, "syslog", syslogSettings(sim.Address()))
	if err := s.Send(t.Context(), sinktest.Events(3)); err != nil {
		t.Fatal(err)
	}
	if err := sim.Wait(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	sim.Stop(true)
	// This fails, and by it the sink knows that the connection is gone.
	if err := s.Send(t.Context(), sinktest.Events(1)); err == nil {
		t.Fatal("sent to nobody")
	}
	if err := sim.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := sim.Wait(t.Context(), 6); err != nil {
		t.Fatal(err)
	}
}

// TestSyslogNothingIsKeptWithoutAWindow: resend_window 0 is for those who count.
func TestSyslogNothingIsKeptWithoutAWindow(t *testing.T) {
	sim := startSyslog(t, sinksim.SyslogOptions{})
	settings := syslogSettings(sim.Address())
	settings.ResendWindow = 0
	s := closeAfter(t, openSIEM(t, "syslog", settings))
	for i := range 3 {
		if err := s.Send(t.Context(), []soar.Event{sinktest.Event(i)}); err != nil {
			t.Fatal(err)
		}
		if err := sim.Wait(t.Context(), i+1); err != nil {
			t.Fatal(err)
		}
		sim.Stop(false)
		if err := sim.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(sim.Messages()); got != 3 {
		t.Errorf("%d messages, want 3", got)
	}
}

// TestSyslogReceiverThatTakesNothing: a full window of TCP is not a delivery.
func TestSyslogReceiverThatTakesNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs the send queue of Linux")
	}
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	settings := syslogSettings(l.Addr().String())
	settings.Timeout, settings.MaxMessageBytes = 200*time.Millisecond, 1<<20
	s := closeAfter(t, openSIEM(t, "syslog", settings))
	events := make([]soar.Event, 12)
	for i := range events {
		events[i] = sinktest.Event(i)
		events[i].Alert.Event["cmdline"] = strings.Repeat("x", 1<<20-8192)
	}
	if err := s.Send(t.Context(), events); sinktest.ClassOf(err) != sinktest.Transient {
		t.Errorf("error %v, want a transient one", err)
	}
}

func TestSyslogCancelled(t *testing.T) {
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	settings := syslogSettings(l.Addr().String())
	settings.Timeout, settings.MaxMessageBytes = time.Hour, 1<<20
	s := closeAfter(t, openSIEM(t, "syslog", settings))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn, err := l.Accept() // and reads no further than the first byte
		if err == nil {
			_, _ = bufio.NewReaderSize(conn, 16).ReadByte()
			cancel()
			<-t.Context().Done()
			_ = conn.Close()
		}
	}()
	events := make([]soar.Event, 12)
	for i := range events {
		events[i] = sinktest.Event(i)
		events[i].Alert.Event["cmdline"] = strings.Repeat("x", 1<<20-8192)
	}
	if err := s.Send(ctx, events); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func TestSyslogNobodyListens(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			sim := sinksim.NewSyslog(sinksim.SyslogOptions{Network: transport})
			if err := sim.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			sim.Stop(false)
			settings := syslogSettings(sim.Address())
			settings.Transport = transport
			s := closeAfter(t, openSIEM(t, "syslog", settings))
			if err := s.Send(t.Context(), sinktest.Events(1)); sinktest.ClassOf(err) != sinktest.Transient {
				t.Errorf("error %v, want a transient one", err)
			}
		})
	}
}

func TestSyslogCertificates(t *testing.T) {
	authority, other := newAuthority(t), newAuthority(t)
	certificate, key := authority.leaf(t)
	asks := authority.server(t)
	asks.ClientAuth, asks.ClientCAs = tls.RequireAndVerifyClientCert, authority.pool
	for _, tt := range []struct {
		name   string
		server *tls.Config
		change func(*sinks.SyslogSettings)
		want   sinktest.Class
	}{
		{"trusted", authority.server(t), func(*sinks.SyslogSettings) {}, sinktest.Delivered},
		{"unknown authority", other.server(t), func(*sinks.SyslogSettings) {}, sinktest.Config},
		{"wrong name", authority.server(t), func(s *sinks.SyslogSettings) { s.ServerName = "another.example" }, sinktest.Config},
		{"name of the settings", authority.server(t), func(s *sinks.SyslogSettings) { s.ServerName = "collector.example" }, sinktest.Delivered},
		{"old TLS", &tls.Config{Certificates: authority.server(t).Certificates, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}, func(*sinks.SyslogSettings) {}, sinktest.Config},
		{"client certificate", asks, func(s *sinks.SyslogSettings) { s.CertFile, s.KeyFile = certificate, key }, sinktest.Delivered},
		{"no client certificate", asks, func(*sinks.SyslogSettings) {}, sinktest.Config},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sim := sinksim.NewSyslog(sinksim.SyslogOptions{TLS: tt.server})
			if err := sim.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { sim.Stop(false) })
			settings := syslogSettings(sim.Address())
			settings.Transport, settings.CAFile = "tls", authority.file
			tt.change(settings)
			s := closeAfter(t, openSIEM(t, "syslog", settings))
			err := s.Send(t.Context(), sinktest.Events(1))
			if got := sinktest.ClassOf(err); got != tt.want {
				t.Errorf("%s (%v), want %s", got, err, tt.want)
			}
			if where := "TLS handshake with " + sim.Address() + ": "; tt.name == "wrong name" && !strings.Contains(err.Error(), where) {
				t.Errorf("%v does not say %q", err, where)
			}
		})
	}
}

// TestSyslogHostileTextStaysInItsPlace: what an attacker names a rule or a host
// cannot end a message or a parameter.
func TestSyslogHostileTextStaysInItsPlace(t *testing.T) {
	sim := startSyslog(t, sinksim.SyslogOptions{LF: true})
	settings := syslogSettings(sim.Address())
	settings.Framing = "lf"
	s := closeAfter(t, openSIEM(t, "syslog", settings))
	ev := sinktest.Event(1)
	ev.Alert.Rule.Name = "a\" x=\"1\"] b\\ \r\n<0>1 - - - - - - forged"
	ev.Alert.Event["cmdline"] = "x\n<0>1 - - - - - - forged\xff"
	if err := s.Send(t.Context(), []soar.Event{ev, sinktest.Event(2)}); err != nil {
		t.Fatal(err)
	}
	if err := sim.Wait(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	messages := sim.Messages()
	if len(messages) != 2 {
		t.Fatalf("%d messages, want 2: %q", len(messages), messages)
	}
	parsed, err := rfc5424.NewParser().Parse([]byte(messages[0]))
	if err != nil {
		t.Fatal(err)
	}
	m := parsed.(*rfc5424.SyslogMessage)
	if got := (*m.StructuredData)["erbridge@32473"]["rule"]; got != `a" x="1"] b\   <0>1 - - - - - - forged` {
		t.Errorf("rule reads back as %q", got)
	}
	var back soar.Event
	if err := json.Unmarshal([]byte(*m.Message), &back); err != nil {
		t.Fatal(err)
	}
	if got := back.Alert.Event["cmdline"]; got != "x\n<0>1 - - - - - - forged\uFFFD" {
		t.Errorf("command line reads back as %q", got)
	}
}

// authority issues certificates for 127.0.0.1 and collector.example.
type authority struct {
	file string // its own certificate
	pool *x509.CertPool
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{file: filepath.Join(t.TempDir(), "ca.pem"), pool: x509.NewCertPool()}
	der, key := a.issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	})
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, a.key = cert, key
	a.pool.AddCert(cert)
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

func (a *authority) issue(t *testing.T, template *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

func (a *authority) leaf(t *testing.T) (certificate, key string) {
	t.Helper()
	der, private := a.issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "collector.example"}, DNSNames: []string{"collector.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePEM(t, certificate, "CERTIFICATE", der)
	writePEM(t, key, "PRIVATE KEY", secret)
	return certificate, key
}

func (a *authority) server(t *testing.T) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(a.leaf(t))
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
