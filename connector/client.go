// Package connector speaks with an EclecticIQ Endpoint Response server: its REST
// API and websockets, of releases 2.1.2 to 4.0.
//
// Sections of the REST guide are fields of Client, calls are their methods. All
// methods are safe for concurrent use. Reads are repeated when the server or the
// way to it has a bad moment; calls with effects are sent once, and their errors
// say whether they may have happened (ErrUncertain) or not.
package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/internal/soar"
)

// Options configures a Client. URL, Username and Password are needed; everything
// else may be left out.
type Options struct {
	// URL is the server, as https://host or https://host:port.
	URL string
	// BasePath is where the API lives below URL, such as /esp-ui/services/api/v1.
	// Empty tries the places that the releases use.
	BasePath string
	// API is the version of the API to speak: "v1", or "v0" for servers of the 2.x
	// line that have no other. Empty is "v1". With "v0" the services do what that
	// API can do, in the same words; the rest is ErrUnavailable.
	API string
	// Username and Password are those of a local account.
	Username string
	Password soar.Secret
	// CAFile is a file of PEM certificates to trust in place of the system's.
	CAFile string
	// PinSHA256 is the SHA-256 of the server's certificate (DER) in hex, colons
	// allowed. Without CAFile the pin alone decides, which suits the self-signed
	// certificate that every installation makes for itself; with CAFile both must fit.
	PinSHA256 string
	// Timeout bounds one request, answer included; default 30s. Of a download it
	// bounds the silence between two reads.
	Timeout time.Duration
	// Retries is how often a read is repeated; default 4, negative for never.
	Retries int
	// MaxConcurrent is how many requests are under way at once; default 8.
	MaxConcurrent int
	// Version goes into the User-Agent header.
	Version string
	// Log gets what is decided here, such as a new login; nil for none.
	Log *slog.Logger
	// Registerer gets the metrics; nil for none.
	Registerer prometheus.Registerer
	// Transport replaces the connection to the server, for tests. The TLS options
	// are then without effect on requests.
	Transport http.RoundTripper
	// Dial replaces how connections are opened, also those of websockets, for tests; nil
	// dials the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client is a connection to one server.
type Client struct {
	Hosts      *HostsService
	Alerts     *AlertsService
	Responses  *ResponsesService
	Defender   *DefenderService
	Carves     *CarvesService
	Queries    *QueriesService
	Rules      *RulesService
	Configs    *ConfigsService
	Packs      *PacksService
	Release2   *Release2Service
	Downloads  *DownloadsService
	Users      *UsersService
	Management *ManagementService
	Email      *EmailService
	Tags       *TagsService
	V0         *V0Service
	Search     *SearchService
	Hunt       *HuntService
	Schema     *SchemaService
	YARA       *YARAService
	IOCs       *IOCsService

	o       Options
	server  *url.URL
	agent   string
	log     *slog.Logger
	metrics *metrics
	dialer  *liveDialer

	reads     *retryablehttp.Client // repeats
	downloads *retryablehttp.Client // repeats until an answer begins, and sets no limit to its length
	once      *http.Client          // never repeats

	base    baseFinder
	old     *oldAPI // nil when the client speaks API v1
	session session
	clock   clock
}

const (
	defaultTimeout       = 30 * time.Second
	defaultRetries       = 4
	defaultMaxConcurrent = 8

	maxBodyBytes      = 64 << 20 // of a JSON answer
	maxErrorBodyBytes = 64 << 10 // of an answer that is not a success
)

// New checks the options. It opens no connection.
func New(o Options) (*Client, error) {
	server, err := serverURL(o.URL)
	if err != nil {
		return nil, err
	}
	if o.Username == "" {
		return nil, errors.New("user name is missing")
	}
	if !o.Password.IsSet() {
		return nil, errors.New("password is missing")
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Retries == 0 {
		o.Retries = defaultRetries
	}
	if o.MaxConcurrent <= 0 {
		o.MaxConcurrent = defaultMaxConcurrent
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	tlsConfig, err := newTLSConfig(o.CAFile, o.PinSHA256)
	if err != nil {
		return nil, err
	}
	c := &Client{
		o:       o,
		server:  server,
		agent:   "erbridge/" + o.Version,
		log:     o.Log.With("component", "connector"),
		metrics: newMetrics(o.Registerer),
	}
	if c.base.candidates, err = baseCandidates(server, o.BasePath, o.API); err != nil {
		return nil, err
	}
	if o.API == apiV0 {
		c.old = newOldAPI(c)
	}
	if server.Scheme == "http" && !isLoopback(net.JoinHostPort(server.Hostname(), "0")) {
		c.log.Warn("the server URL is http: password and token travel unprotected", "host", server.Host)
	}
	c.base.turn = make(chan struct{}, 1)
	if len(c.base.candidates) == 1 {
		c.base.found.Store(&c.base.candidates[0])
	}
	c.dialer = newLiveDialer(tlsConfig, c.agent)
	c.dialer.ws.NetDialContext = o.Dial

	slots := make(chan struct{}, o.MaxConcurrent)
	client := func(keep, timeout time.Duration) *http.Client {
		transport := o.Transport
		if transport == nil {
			pool := newTransport(tlsConfig, o.MaxConcurrent, keep, o.Timeout)
			if o.Dial != nil {
				pool.DialContext = o.Dial
			}
			transport = pool
		}
		return &http.Client{
			Transport: &limiter{next: transport, slots: slots, clock: &c.clock},
			Timeout:   timeout,
			// A redirect would carry the token to another place: the answer is taken as it is.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	c.once = client(keepForEffects, o.Timeout)
	reading, loading := client(keepForReads, o.Timeout), client(keepForReads, 0)
	loading.Transport = reading.Transport // one pool for all reads
	c.reads, c.downloads = newRetryClient(reading, o.Retries), newRetryClient(loading, o.Retries)

	c.Hosts = &HostsService{c}
	c.Alerts = &AlertsService{c}
	c.Responses = &ResponsesService{c}
	c.Defender = &DefenderService{c}
	c.Carves = &CarvesService{c}
	c.Queries = &QueriesService{c, newTurn()}
	c.Rules = &RulesService{c, newTurn()}
	c.Configs = &ConfigsService{c, newTurn()}
	c.Packs = &PacksService{c}
	c.Release2 = &Release2Service{c, newTurn()}
	c.Downloads = &DownloadsService{c}
	c.Users = &UsersService{c, newTurn()}
	c.Management = &ManagementService{c, newTurn()}
	c.Email = &EmailService{c}
	c.Tags = &TagsService{c}
	c.V0 = &V0Service{c}
	c.Search = &SearchService{c}
	c.Hunt = &HuntService{c}
	c.Schema = &SchemaService{c}
	c.YARA = &YARAService{c}
	c.IOCs = &IOCsService{c, newTurn()}
	return c, nil
}

// serverURL reads the server's address. Credentials in it are refused, because
// addresses end up in logs.
func serverURL(text string) (*url.URL, error) {
	if text == "" {
		return nil, errors.New("server URL is missing")
	}
	u, err := url.Parse(text)
	if err != nil {
		// The error would repeat the text, which may hold a password.
		return nil, errors.New("server URL: not a URL; expected something like https://er.example.com")
	}
	switch {
	case u.User != nil:
		return nil, errors.New("server URL: user name and password do not belong into the URL; use username and password")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("server URL: scheme %q is not https", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("server URL: the host is missing; expected something like https://er.example.com")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("server URL: a query or fragment has no meaning here")
	}
	return u, nil
}

// Format names the server. What the client holds besides, such as the token, is not
// for logs.
func (c *Client) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "client of %s", c.server.Host) }

// ClockOffset is how far the server's clock is ahead of ours, by the Date of its last
// answer, to the second; negative when it is behind.
func (c *Client) ClockOffset() time.Duration { return time.Duration(c.clock.offset.Load()) }

// Timeout is how long one request may take.
func (c *Client) Timeout() time.Duration { return c.o.Timeout }

// ConsoleURL is the server's web console, below which an alert's page is alerts/<id>.
func (c *Client) ConsoleURL() string { return c.server.Scheme + "://" + c.server.Host }
