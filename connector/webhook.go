package connector

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/internal/jq"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// WebhookSettings configures the webhook listener.
type WebhookSettings struct {
	// Listen is the address of the listener, as host:port.
	Listen string `yaml:"listen" required:"true"`

	// CertFile and KeyFile make it an HTTPS listener.
	CertFile string `yaml:"cert_file" path:"true"`
	// KeyFile is the private key of CertFile, in PEM.
	KeyFile string `yaml:"key_file" path:"true"`

	// ClientCAFile asks callers for a certificate of this authority (mTLS).
	// It needs CertFile.
	ClientCAFile string `yaml:"client_ca_file" path:"true"`

	// AllowPlainHTTP permits a listener without TLS on an address that is not
	// loopback.
	AllowPlainHTTP bool `yaml:"allow_plain_http"`

	// Senders are those who may call, by the name in the path
	// /v1/webhook/{name}.
	Senders map[string]WebhookSender `yaml:"senders" required:"true"`
}

// WebhookSender configures one caller. Exactly one of secret, bearer or
// client_name proves who calls.
type WebhookSender struct {
	// Verify says what a call means. With fetch it is a doorbell: the alert ids in
	// it are read from the Endpoint Response server. With trust the body itself is
	// the alert, for senders that are not an Endpoint Response server.
	Verify string `yaml:"verify" enum:"fetch,trust"`

	// Secret is a key of Standard Webhooks, whsec_ and base64: calls are signed
	// with HMAC-SHA256 over id, timestamp and body.
	Secret soar.Secret `yaml:"secret"`

	// Bearer is a token that comes in the Authorization header.
	Bearer soar.Secret `yaml:"bearer"`

	// ClientName is a DNS name or common name of the client certificate.
	ClientName string `yaml:"client_name"`

	// Map is a jq expression over the body. For trust it makes one alert, or a list
	// of them, in the form that playbooks see as .alert; for fetch it makes one alert
	// id or a list of ids.
	Map registry.Text `yaml:"map"`

	// MaxBody bounds the body, in bytes; zero means 1 MiB.
	MaxBody int64 `yaml:"max_body"`

	// ReplayWindow is how far the timestamp of a signed call may be off; zero
	// means 5m. A repeated id within it is answered and not processed again.
	ReplayWindow time.Duration `yaml:"replay_window"`
}

// Defaults of a sender.
const (
	defaultFetchMap     = `.alert_ids // .alert_id // .id // .data.alert_id // .data.id`
	defaultMaxBody      = 1 << 20
	defaultReplayWindow = 5 * time.Minute
	maxWebhookAlerts    = 1000
	webhookTimeout      = 30 * time.Second
)

// WebhookSource stands before the sender's name in the origin of dead letters.
const WebhookSource = "webhook-"

// Fetch reads alerts by id from the server and takes them in.
type Fetch func(ctx context.Context, ids []int64) (found int, err error)

// Webhook takes alerts, or the news that there is one, over HTTP. It answers 202
// after what came is on disk.
//
// Signatures: Standard Webhooks 1.0 (webhook-id, webhook-timestamp, webhook-signature).
type Webhook struct {
	settings WebhookSettings
	env      SourceEnv
	fetch    Fetch
	ring     func()
	senders  map[string]*sender
	calls    *prometheus.CounterVec
	tls      *tls.Config

	mu       sync.Mutex
	listener net.Listener
}

// sender is a configured caller, ready to judge calls.
type sender struct {
	WebhookSender
	name    string
	mapping *jq.Program
	rejects *rejects
	seen    seenIDs
}

// NewWebhook makes the listener. It reads the secrets, so that a missing one shows
// at start and not at the first call.
func NewWebhook(settings WebhookSettings, fetch Fetch, ring func(), env SourceEnv) (*Webhook, error) {
	env = env.withDefaults()
	w := &Webhook{settings: settings, env: env, fetch: fetch, ring: ring, senders: map[string]*sender{}}
	w.calls = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "erbridge_webhook_calls_total", Help: "Webhook calls by sender and answer."}, []string{"sender", "status"})
	var problems []error
	for name, s := range settings.Senders {
		ready, err := newSender(name, s, env)
		if err != nil {
			problems = append(problems, fmt.Errorf("webhook sender %q: %w", name, err))
			continue
		}
		w.senders[name] = ready
	}
	for name, s := range settings.Senders {
		if s.ClientName != "" && settings.ClientCAFile == "" {
			problems = append(problems, fmt.Errorf("webhook sender %q: client_name needs client_ca_file of the listener", name))
		}
	}
	config, err := webhookTLS(settings)
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, err
	}
	w.tls = config
	env.Registerer.MustRegister(w.calls)
	return w, nil
}

func newSender(name string, s WebhookSender, env SourceEnv) (*sender, error) {
	if s.Verify == "" {
		s.Verify = "fetch"
	}
	if s.MaxBody <= 0 {
		s.MaxBody = defaultMaxBody
	}
	if s.ReplayWindow <= 0 {
		s.ReplayWindow = defaultReplayWindow
	}
	proofs := 0
	for _, given := range []bool{s.Secret.IsSet(), s.Bearer.IsSet(), s.ClientName != ""} {
		if given {
			proofs++
		}
	}
	if proofs != 1 {
		return nil, errors.New("exactly one of secret, bearer and client_name is needed")
	}
	if s.Secret.IsSet() {
		if _, err := signingKey(s.Secret); err != nil {
			return nil, err
		}
	}
	if s.Bearer.IsSet() {
		if _, err := s.Bearer.Reveal(); err != nil {
			return nil, fmt.Errorf("bearer: %w", err)
		}
	}
	expression := s.Map.Value
	if expression == "" {
		if s.Verify == "trust" {
			return nil, errors.New("verify: trust needs map, a jq expression that makes an alert of the body")
		}
		expression = defaultFetchMap
	}
	mapping, err := jq.Compile(expression)
	if err != nil {
		return nil, fmt.Errorf("map: %w", err)
	}
	return &sender{WebhookSender: s, name: name, mapping: mapping, rejects: newRejects(WebhookSource+name, env),
		seen: seenIDs{keep: 2 * s.ReplayWindow}}, nil
}

func webhookTLS(s WebhookSettings) (*tls.Config, error) {
	if s.CertFile == "" && s.KeyFile == "" {
		if s.ClientCAFile != "" {
			return nil, errors.New("webhook listener: client_ca_file needs cert_file and key_file")
		}
		if !s.AllowPlainHTTP && !isLoopback(s.Listen) {
			return nil, fmt.Errorf("webhook listener: %s is not a loopback address; set cert_file and key_file, or allow_plain_http: true behind a proxy", s.Listen)
		}
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("webhook listener: certificate: %w", err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if s.ClientCAFile != "" {
		pem, err := os.ReadFile(s.ClientCAFile)
		if err != nil {
			return nil, fmt.Errorf("webhook listener: client_ca_file: %w", err)
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("webhook listener: client_ca_file %s holds no certificate", s.ClientCAFile)
		}
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return config, nil
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Listen opens the port. Run does it when it was not done before.
func (w *Webhook) Listen(ctx context.Context) (net.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.listener == nil {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", w.settings.Listen)
		if err != nil {
			return nil, fmt.Errorf("webhook listener: %w", err)
		}
		if w.tls != nil {
			l = tls.NewListener(l, w.tls)
		}
		w.listener = l
	}
	return w.listener.Addr(), nil
}

// Run serves until ctx ends; calls under way are finished first, within 10 s.
func (w *Webhook) Run(ctx context.Context) error {
	addr, err := w.Listen(ctx)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: w.Handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: webhookTimeout, WriteTimeout: 2 * webhookTimeout,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
	}
	w.env.Log.Info("webhook listener is open", "address", addr.String(), "tls", w.tls != nil)
	ended := make(chan error, 1) // one result of Serve
	go func() { ended <- server.Serve(w.listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("webhook listener: %w", err)
	case <-ctx.Done():
	}
	// The calls under way have not been answered; they get a moment of their own.
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err = server.Shutdown(drain)
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return errors.Join(context.Cause(ctx), err)
}

// Handler serves POST /v1/webhook/{source}.
func (w *Webhook) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/webhook/{source}", w.serve)
	return mux
}

// refusal is an answer other than 202.
type refusal struct {
	status int
	text   string
	after  time.Duration
}

func (r *refusal) Error() string { return r.text }

func (w *Webhook) serve(rw http.ResponseWriter, req *http.Request) {
	name := req.PathValue("source")
	s, ok := w.senders[name]
	if !ok {
		name = "unknown" // a name from outside is no metric label
	}
	status := http.StatusAccepted
	taken, err := 0, error(&refusal{status: http.StatusNotFound, text: "no such webhook sender"})
	if ok {
		taken, err = w.receive(rw, req, s)
	}
	body := map[string]any{"status": "accepted", "alerts": taken}
	if err != nil {
		r := w.refuse(err)
		status, body = r.status, map[string]any{"status": "refused", "message": r.text}
		if r.after > 0 {
			rw.Header().Set("Retry-After", strconv.Itoa(int(r.after.Seconds())))
		}
	}
	w.calls.WithLabelValues(name, strconv.Itoa(status)).Inc()
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(body) // the caller may be gone; what came is on disk
}

// refuse turns an error into an answer. What the caller cannot help is a 503, so
// that it tries again.
func (w *Webhook) refuse(err error) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	w.env.Log.Error("webhook call not taken", "err", err)
	if errors.Is(err, soar.ErrBusy) {
		return &refusal{http.StatusTooManyRequests, "too many alerts at once, try again", time.Second}
	}
	return &refusal{http.StatusServiceUnavailable, "nothing can be taken now, try again", 10 * time.Second}
}

// receive checks, reads and stores one call. It returns how many alerts came in.
func (w *Webhook) receive(rw http.ResponseWriter, req *http.Request, s *sender) (int, error) {
	ctx, cancel := context.WithTimeout(req.Context(), webhookTimeout)
	defer cancel()
	if !s.Secret.IsSet() { // a signature is over the body, the other proofs are not
		if err := w.authenticated(s, req, nil); err != nil {
			return 0, err
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(rw, req.Body, s.MaxBody))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return 0, w.refuseTooLarge(ctx, s, body)
		}
		return 0, &refusal{status: http.StatusBadRequest, text: "the body could not be read"}
	}
	id := ""
	if s.Secret.IsSet() {
		if err := w.authenticated(s, req, body); err != nil {
			return 0, err
		}
		id = req.Header.Get("webhook-id")
	}
	if id != "" && s.seen.has(id, w.env.Now()) {
		return 0, nil
	}
	taken, err := w.process(ctx, s, body)
	if err != nil {
		malformed, ok := errors.AsType[*malformedError](err)
		if !ok {
			return 0, err
		}
		kept, err := s.rejects.keep(ctx, body, malformed)
		if err != nil {
			return 0, err
		}
		text := malformed.Error()
		if kept {
			text += "; the call is kept as a dead letter"
		}
		return 0, &refusal{status: http.StatusUnprocessableEntity, text: text}
	}
	if id != "" {
		s.seen.add(id, w.env.Now())
	}
	return taken, nil
}

// Replay takes a body again that was kept as a dead letter, with the map that
// holds now. The sender was authenticated when it came.
func (w *Webhook) Replay(ctx context.Context, name string, body []byte) error {
	s, ok := w.senders[name]
	if !ok {
		return fmt.Errorf("webhook sender %q: %w", name, soar.ErrNotFound)
	}
	if _, err := w.process(ctx, s, body); err != nil {
		return fmt.Errorf("webhook sender %q: %w", name, err)
	}
	return nil
}

// authenticated answers 401 to a caller who does not prove to be the sender.
func (w *Webhook) authenticated(s *sender, req *http.Request, body []byte) error {
	if err := s.authenticate(req, body, w.env.Now()); err != nil {
		w.env.Log.Warn("webhook call not authenticated", "sender", s.name, "peer", req.RemoteAddr, "err", err)
		return &refusal{status: http.StatusUnauthorized, text: "not authenticated"}
	}
	return nil
}

// refuseTooLarge answers 413. What was read of the body is kept when the caller is
// known without it; a signature can only be checked over all of it.
func (w *Webhook) refuseTooLarge(ctx context.Context, s *sender, body []byte) error {
	reason := fmt.Errorf("the body is larger than %d bytes", s.MaxBody)
	if !s.Secret.IsSet() {
		if _, err := s.rejects.keep(ctx, body, reason); err != nil {
			return err
		}
	}
	w.env.Log.Warn("webhook call refused", "sender", s.name, "err", reason)
	return &refusal{status: http.StatusRequestEntityTooLarge, text: reason.Error()}
}

// malformedError says what is wrong with a body.
type malformedError struct{ err error }

func (e *malformedError) Error() string { return e.err.Error() }
func (e *malformedError) Unwrap() error { return e.err }

func malformed(format string, args ...any) error { return &malformedError{fmt.Errorf(format, args...)} }
