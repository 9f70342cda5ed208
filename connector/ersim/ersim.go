package ersim

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Options configures a Server. The zero value is a release 4.0 Enterprise server
// with twelve hosts on a free port of 127.0.0.1, user admin, password admin.
type Options struct {
	// Profile is "4.0" (default), "4.0-community", "2.1.2" or "2.0".
	Profile string
	// Seed decides names, identifiers, delays and scenarios.
	Seed uint64
	// Hosts is how many endpoints the fleet has; default 12.
	Hosts int
	// Username and Password are the administrator's account; default admin, admin.
	Username, Password string
	// AnalystUsername and AnalystPassword are a second account with the role
	// analyst; default analyst and the administrator's password.
	AnalystUsername, AnalystPassword string
	// TokenLifetime is how long a login lasts; default 7 days.
	TokenLifetime time.Duration
	// CommandDelay is about how long an agent works on a command; the real delay of
	// each lies between half and one and a half of it. Default 300ms.
	CommandDelay time.Duration
	// AggregationWindow is how long an alert absorbs further matches of its rule on
	// its host; default 60s, negative for none.
	AggregationWindow time.Duration
	// PushAddress is the host:port to which the rsyslog alerter sends; empty: nowhere.
	PushAddress string
	// PushResults mixes result rows into the push, as RSYSLOG_FORWARDING does.
	PushResults bool
	// Log takes what the simulator has to say; default is to say nothing.
	Log *slog.Logger
	// Now is the clock; default time.Now. Who injects one calls Tick after moving it.
	Now func() time.Time
	// Listen is the API's address; default 127.0.0.1:0.
	Listen string
	// ControlListen is the address of the plain-HTTP control API; empty: none. Only
	// loopback addresses are taken.
	ControlListen string
}

// Server is a simulated Endpoint Response server. Its methods are safe for
// concurrent use.
type Server struct {
	opts    Options
	profile profile
	log     *slog.Logger
	now     func() time.Time
	apis    []api
	cert    *tls.Certificate
	caPEM   []byte
	signKey []byte

	api     *http.Server
	control *http.Server
	sockets sockets
	pushes  chan pushJob
	kick    chan struct{} // the schedule has a new earliest entry; capacity 1

	apiListener     net.Listener // set by Start
	controlListener net.Listener // set by Start, nil without control API

	mu       sync.Mutex // guards everything below
	tokens   []*token
	users    []*user
	hosts    []*host
	hostRefs map[string]*host // by identifier in upper case
	enrolled int64            // hosts that were enrolled anew
	rules    []*rule
	alerts   []*alert // visible ones, by id ascending
	created  []*alert // the same, by creation time, then id
	held     []*alert // have an id, are not committed yet
	open     int      // how many of alerts are not resolved
	actions  []*action
	commands []*command // in order of receipt
	byCmdID  map[string]*command
	received map[string]int // identical commands, by key
	carves   []*carve
	queries  map[int64]*liveQuery
	faults   []*Fault
	calls    map[string]int
	schedule schedule
	pushed   int64 // lines handed to the rsyslog alerter

	// State of the sections that only some clients use, each in its own file.
	account    accountState
	management managementState
	email      emailState
	hostUpkeep hostUpkeepState
	tags       tagsState
	configs    configsState
	packs      packsState
	scheduled  scheduledState
	yara       yaraState
	iocs       iocsState
	search     searchState
	release2   release2State
	v0         v0State

	lastAlert, lastEvent, lastNote, lastQuery, lastCarve, lastPlay, lastRaise int64
}

// profile is what distinguishes the releases.
type profile struct {
	name       string
	base       string // path prefix of API v1; empty where it is unknown
	base0      string // path prefix of API v0, likewise
	v4         bool
	enterprise bool
	sockets    []string // paths of the live-query websocket
}

var profiles = []profile{
	{
		name: "4.0", base: "/esp-ui/services/api/v1", v4: true, enterprise: true,
		sockets: []string{"/esp-ui/distributed/result", "/esp-ui/websocket/distributed/result"},
	},
	{
		name: "4.0-community", base: "/esp-ui/services/api/v1", v4: true,
		sockets: []string{"/esp-ui/distributed/result", "/esp-ui/websocket/distributed/result"},
	},
	{name: "2.1.2", base: "/services/api/v1", base0: "/services/api/v0", sockets: []string{"/distributed/result"}},
	{name: "2.0", base0: "/services/api/v0", enterprise: true, sockets: []string{"/distributed/result"}},
}

// New validates the options and builds the fleet. It opens nothing.
func New(o Options) (*Server, error) {
	s := &Server{
		opts:     o,
		log:      o.Log,
		now:      o.Now,
		pushes:   make(chan pushJob, maxPushQueue),
		kick:     make(chan struct{}, 1),
		hostRefs: map[string]*host{},
		byCmdID:  map[string]*command{},
		received: map[string]int{},
		queries:  map[int64]*liveQuery{},
		calls:    map[string]int{},
	}
	var err error
	if s.profile, err = findProfile(defaultText(o.Profile, "4.0")); err != nil {
		return nil, err
	}
	if o.ControlListen != "" && !loopback(o.ControlListen) {
		return nil, fmt.Errorf("ersim: control address %q is not on the loopback interface", o.ControlListen)
	}
	if o.Hosts < 0 || o.Hosts > maxHosts {
		return nil, fmt.Errorf("ersim: %d hosts; between 1 and %d are possible", o.Hosts, maxHosts)
	}
	s.setDefaults()
	if s.cert, s.caPEM, err = newCertificates(time.Now()); err != nil {
		return nil, err
	}
	if s.signKey, err = newSignKey(); err != nil {
		return nil, err
	}
	s.users = []*user{
		{id: 1, name: s.opts.Username, password: s.opts.Password, role: roleAdmin},
		{id: 2, name: s.opts.AnalystUsername, password: s.opts.AnalystPassword, role: roleAnalyst},
	}
	s.apis = s.buildAPIs()
	s.buildRules()
	s.buildFleet()
	s.buildAccount()
	s.buildManagement()
	s.buildHostUpkeep()
	s.buildTags()
	s.buildConfigs()
	s.buildPacks()
	s.buildScheduled()
	s.buildYara()
	s.buildSearch()
	s.buildRelease2()
	s.buildV0()

	protocols := new(http.Protocols)
	protocols.SetHTTP1(true) // as the product's proxy; websockets need it
	s.api = &http.Server{
		Handler: s, Protocols: protocols, ReadHeaderTimeout: 30 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{*s.cert}, MinVersion: tls.VersionTLS12},
		ErrorLog:  slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.control = &http.Server{Handler: s.controlHandler(), ReadHeaderTimeout: 30 * time.Second}
	return s, nil
}

func (s *Server) setDefaults() {
	o := &s.opts
	if o.Hosts == 0 {
		o.Hosts = 12
	}
	o.Username = defaultText(o.Username, "admin")
	o.Password = defaultText(o.Password, "admin")
	o.AnalystUsername = defaultText(o.AnalystUsername, "analyst")
	o.AnalystPassword = defaultText(o.AnalystPassword, o.Password)
	o.Listen = defaultText(o.Listen, "127.0.0.1:0")
	if o.TokenLifetime == 0 {
		o.TokenLifetime = 7 * 24 * time.Hour
	}
	if o.CommandDelay == 0 {
		o.CommandDelay = 300 * time.Millisecond
	}
	if o.AggregationWindow == 0 {
		o.AggregationWindow = time.Minute
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	clock := s.now
	s.now = func() time.Time { return clock().UTC() }
}

func findProfile(name string) (profile, error) {
	for _, p := range profiles {
		if p.name == name {
			return p, nil
		}
	}
	return profile{}, fmt.Errorf("ersim: unknown profile %q; there are 4.0, 4.0-community, 2.1.2 and 2.0", name)
}

func loopback(address string) bool {
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

func defaultText(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// Start listens, so that URL is known and connections queue up. Run serves them.
func (s *Server) Start() error {
	var err error
	if s.apiListener, err = net.Listen("tcp", s.opts.Listen); err != nil { //nolint:noctx // the address is local: nothing to wait for
		return fmt.Errorf("ersim: %w", err)
	}
	if s.opts.ControlListen == "" {
		return nil
	}
	if s.controlListener, err = net.Listen("tcp", s.opts.ControlListen); err != nil { //nolint:noctx // likewise
		return errors.Join(fmt.Errorf("ersim: control: %w", err), s.apiListener.Close())
	}
	return nil
}

// Run serves the API and the control API, and lets agents, carves, scenarios and
// the push work, until ctx ends. It listens first if Start was not called. It
// returns nil after ctx ended, with every goroutine gone.
func (s *Server) Run(ctx context.Context) error {
	if s.apiListener == nil {
		if err := s.Start(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var parts sync.WaitGroup
	start := func(run func() error) {
		parts.Go(func() {
			if err := run(); err != nil && !errors.Is(err, http.ErrServerClosed) {
				cancel(err)
			}
		})
	}
	start(func() error { return s.api.ServeTLS(s.apiListener, "", "") })
	if s.controlListener != nil {
		start(func() error { return s.control.Serve(s.controlListener) })
	}
	start(func() error { s.runSchedule(ctx); return nil })
	start(func() error { s.runPush(ctx); return nil })

	<-ctx.Done()
	// A simulator has nothing to finish: connections are cut, as with a power loss.
	closed := errors.Join(s.api.Close(), s.control.Close())
	s.sockets.closeAll()
	parts.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return fmt.Errorf("ersim: %w", cause)
	}
	return closed
}

// URL is the server's address without a path, such as https://127.0.0.1:41234. A
// server that listens on all addresses gives the loopback one. It is empty before
// Start.
func (s *Server) URL() string {
	if s.apiListener == nil {
		return ""
	}
	address, ok := s.apiListener.Addr().(*net.TCPAddr)
	if ok && address.IP.IsUnspecified() {
		return "https://" + net.JoinHostPort("localhost", strconv.Itoa(address.Port))
	}
	return "https://" + s.apiListener.Addr().String()
}

// ControlURL is the address of the control API; empty without one and before Start.
func (s *Server) ControlURL() string {
	if s.controlListener == nil {
		return ""
	}
	return "http://" + s.controlListener.Addr().String()
}

// BasePath is the path below which the API lives in this profile: v1 where there
// is one, else v0.
func (s *Server) BasePath() string { return defaultText(s.profile.base, s.profile.base0) }

// CAPEM is the certificate of the authority that signed the server's own, in PEM.
func (s *Server) CAPEM() []byte { return append([]byte(nil), s.caPEM...) }
