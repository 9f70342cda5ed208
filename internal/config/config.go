// Package config reads the file that says what erbridge connects: the server,
// the sources of alerts, the playbooks and the sinks.
package config

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/redact"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
	"github.com/erbridge/erbridge/sinks"
)

// Config is the whole file. Paths in it are relative to the file, not to where
// erbridge was started.
type Config struct {
	// Server is the Endpoint Response server.
	Server Server `yaml:"server" required:"true"`

	// Sources are the ways in which alerts come in. Without this key, erbridge polls.
	Sources Sources `yaml:"sources"`

	// Playbooks says which playbooks are used, and how far they may go.
	Playbooks Playbooks `yaml:"playbooks"`

	// Actions says what the actions of playbooks may use of this machine and its network.
	Actions Actions `yaml:"actions"`

	// Carves says how files are kept that were carved from hosts.
	Carves Carves `yaml:"carves"`

	// Guard says what is not done, or not at once, whatever a playbook says.
	Guard guard.Settings `yaml:"guard"`

	// Sinks are the places to which alerts and outcomes go, by a name of your own.
	Sinks Sinks `yaml:"sinks"`

	// Routes say which sinks get the events of which alerts, where the settings of the
	// sinks do not say enough. The first route that takes an event decides.
	Routes sinks.Routes `yaml:"routes"`

	// Alarms say when people are told that nothing comes in.
	Alarms sinks.AlarmSettings `yaml:"alarms"`

	// Redact says what is taken out of events before any sink sees them, and out of what
	// erbridge logs.
	Redact redact.Settings `yaml:"redact"`

	// People links accounts of chats to people, by the names that approvers have.
	// Somebody who is not linked can read in a chat, and decide nothing there.
	People People `yaml:"people"`

	// Console is the HTTP listener for metrics and health.
	Console Console `yaml:"console"`

	// Store is where everything durable is kept.
	Store Store `yaml:"store"`

	// Log is what erbridge says about itself, on standard error.
	Log Log `yaml:"log"`

	// Limits bound the work that is done at the same time.
	Limits Limits `yaml:"limits"`

	// File is the path that the configuration was read from.
	File string `yaml:"-"`

	root *yaml.Node
}

// Server says how to reach the Endpoint Response server and as whom.
type Server struct {
	// Name stands in front of every alert id, as in er-4711. Choose it once: a
	// server with another name is another server.
	Name string `yaml:"name"`

	// URL is the address of the server's console. The base path of the API behind
	// it is found by probing.
	URL string `yaml:"url" required:"true"`

	// BasePath ends the probing, where a proxy puts the API elsewhere:
	// /esp-ui/services/api/v1.
	BasePath string `yaml:"base_path"`

	// API is the version of the API that the server has. v0 is for servers of the
	// 2.x line before 2.1.2, which have no other: polling, tagging, live queries and
	// carves work with it, everything else does not (docs/howto/old-servers.md).
	API string `yaml:"api" enum:"v1,v0"`

	// Username is an account of the server that may use the API.
	Username string `yaml:"username" required:"true"`

	// Password belongs to the account.
	Password soar.Secret `yaml:"password" required:"true"`

	// CAFile is a PEM file with the authority that signed the server's
	// certificate, where the system does not know it.
	CAFile string `yaml:"ca_file" path:"true"`

	// PinSHA256 accepts exactly one certificate: the SHA-256 of its DER form, in
	// hexadecimal digits. It replaces the check of authority and name, for servers
	// with the self-signed certificate they were installed with.
	PinSHA256 string `yaml:"pin_sha256"`

	// Timeout bounds one request.
	Timeout time.Duration `yaml:"timeout"`

	// Retries is how often a request that only reads is repeated. Requests with
	// an effect are never repeated by this.
	Retries int `yaml:"retries"`
}

// Playbooks says which playbooks are used.
type Playbooks struct {
	// Dir is a folder with playbooks of your own: every *.yaml in it and below it,
	// except *_test.yaml.
	Dir string `yaml:"dir" path:"true"`

	// Watch is how often dir is looked at. A folder that has changed, and is the same
	// twice in a row, is taken in as a whole; if there is any mistake in it, or no
	// playbook any more, those loaded before stay in force. 0s turns it off: then
	// erbridge reload and SIGHUP take changes in.
	Watch time.Duration `yaml:"watch"`

	// Library names playbooks that ship with erbridge, or holds the one word all.
	Library []string `yaml:"library"`

	// Mode is a ceiling for all of them, whatever a playbook says: observe sends no call
	// with an effect, approve sends one when a person has agreed to it (guard.approval).
	Mode soar.Mode `yaml:"mode" enum:"observe,approve,enforce"`
}

// Actions says what the actions of playbooks may use.
type Actions struct {
	// CarveDir is the folder for carves: files that carve.file, carve.quarantined and
	// carve.fetch download. Empty means the folder carves of the store.
	CarveDir string `yaml:"carve_dir" path:"true"`

	// MaxCarveBytes bounds one download.
	MaxCarveBytes int64 `yaml:"max_carve_bytes"`

	// ScriptsDir is a folder with reviewed scripts for script.run and live.response: a
	// file NAME.yaml for each, with its text beside it (docs/howto/scripts.md). Empty
	// means that there are none.
	ScriptsDir string `yaml:"scripts_dir" path:"true"`

	// AllowedNetworks may be reached by http.request although they are link-local
	// or hold a cloud's metadata service, as CIDR: 169.254.10.0/24.
	AllowedNetworks []string `yaml:"allowed_networks"`
}

// Networks are the allowed networks, read.
func (a Actions) Networks() ([]netip.Prefix, error) {
	nets := make([]netip.Prefix, len(a.AllowedNetworks))
	for i, text := range a.AllowedNetworks {
		n, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("network %q: expected a CIDR such as 169.254.10.0/24", text)
		}
		nets[i] = n
	}
	return nets, nil
}

// CarveDir is the folder for downloaded carves.
func (c *Config) CarveDir() string {
	if c.Actions.CarveDir != "" {
		return c.Actions.CarveDir
	}
	return filepath.Join(c.Store.Path, "carves")
}

// Console is the HTTP listener for /metrics, /healthz and /readyz.
type Console struct {
	// Listen is the address, as host:port. An empty text turns the listener off.
	Listen string `yaml:"listen"`

	// AllowPlainHTTP lets Listen be something else than this machine's loopback
	// address, although nothing protects what passes over it.
	AllowPlainHTTP bool `yaml:"allow_plain_http"`
}

// Store is where alerts, runs and the feed of the sinks are kept.
type Store struct {
	// Path is a folder on a local disk. Only one erbridge can use it at a time.
	Path string `yaml:"path" path:"true"`

	// Retention says how long things are kept. Nothing goes while a run or a sink
	// still needs it.
	Retention Retention `yaml:"retention"`
}

// Retention says how long things are kept.
type Retention struct {
	// Alerts is for alerts, from when they were taken in. It is at least a day longer
	// than sources.poll reads back: overlap, sweep_window and backfill.
	Alerts time.Duration `yaml:"alerts"`

	// Runs is for runs and their journals, from when they ended.
	Runs time.Duration `yaml:"runs"`

	// DeadLetters is for what could not be taken in or delivered.
	DeadLetters time.Duration `yaml:"dead_letters"`

	// Audit is for the audit record, from when each record was made; 0 keeps it for
	// ever. Journals that outlive their records cannot be compared with them.
	Audit time.Duration `yaml:"audit"`

	// Telemetry is for rows of telemetry that every sink has passed, from when they
	// were taken in. It is how far back they can be delivered again.
	Telemetry time.Duration `yaml:"telemetry"`
}

// Log is what erbridge says about itself.
type Log struct {
	// Level is the least that is written.
	Level string `yaml:"level" enum:"debug,info,warn,error"`

	// Format is text for people or json for collectors.
	Format string `yaml:"format" enum:"text,json"`
}

// Limits bound the work that is done at the same time.
type Limits struct {
	// Workers is how many runs are worked on at the same time.
	Workers int `yaml:"workers"`

	// Calls is how many requests to the server may be in flight.
	Calls int `yaml:"calls"`

	// Queue is how many changes may wait for the disk; beyond it, sources are told
	// to come back later.
	Queue int `yaml:"queue"`

	// Shutdown bounds the time in which a stopping erbridge ends what it began.
	// What did not end goes on after the next start.
	Shutdown time.Duration `yaml:"shutdown"`

	// Settle is how long a call whose answer was lost may still arrive at the
	// server: the server's own proxy gives up after 300s at the latest. Until then an
	// action that must not happen twice is looked for, and not sent again.
	Settle time.Duration `yaml:"settle"`

	// Hold is how long a step waits before its call is sent, for a host that is offline
	// or for the guard; a step may have a `wait` of its own. What waited for too long
	// ends expired.
	Hold time.Duration `yaml:"hold"`
}

// Default is the configuration of an empty file, with what cannot have a default
// left empty.
func Default() Config {
	return Config{
		Server:    Server{Name: "er", API: "v1", Timeout: 30 * time.Second, Retries: 4},
		Sources:   Sources{Poll: connector.DefaultPoll()},
		Playbooks: Playbooks{Mode: soar.ModeObserve, Watch: 2 * time.Second},
		Actions:   Actions{MaxCarveBytes: 2 << 30},
		Carves:    Carves{Stall: 10 * time.Minute},
		Console:   Console{Listen: "127.0.0.1:8088"},
		Store: Store{
			Path:      "/var/lib/erbridge",
			Retention: Retention{Alerts: 90 * day, Runs: 365 * day, DeadLetters: 30 * day, Audit: 365 * day, Telemetry: time.Hour},
		},
		Log:    Log{Level: "info", Format: "text"},
		Limits: Limits{Workers: 256, Calls: 8, Queue: 4096, Shutdown: 30 * time.Second, Settle: 5 * time.Minute, Hold: day},
	}
}

const day = 24 * time.Hour

// maxFileBytes bounds what Load reads; the decoder has a lower limit and says it.
const maxFileBytes = 4 << 20

// ErrUnreadable means that there is no configuration file, or that it cannot be read.
var ErrUnreadable = errors.New("configuration cannot be read")

// Load reads and checks a file. An error of type registry.Problems holds every
// mistake in it, each with its place; any other error wraps ErrUnreadable.
func Load(path string) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return data, nil
}

// Parse reads and checks the text of a file. Nothing but the existence of the
// files and folders that it names is looked up, and no secret is read.
func Parse(path string, data []byte) (*Config, error) {
	root, problems := registry.Parse(path, data)
	if problems != nil {
		return nil, problems.Err()
	}
	cfg := Default()
	cfg.File, cfg.root = path, root
	problems = registry.Decode(path, root, &cfg)
	c := checker{cfg: &cfg, root: root, problems: problems}
	c.check()
	if err := c.problems.Err(); err != nil {
		return nil, err
	}
	return &cfg, nil
}

// IsProblem reports whether err says that the file itself is wrong.
func IsProblem(err error) bool {
	_, ok := errors.AsType[registry.Problems](err)
	return ok
}

// place is where a setting stands in the file, or the nearest thing above it.
func place(file string, root *yaml.Node, path ...string) registry.Position {
	at := root
	for i := range path {
		if n := find(root, path[:i+1]...); n != nil {
			at = n
		}
	}
	return registry.At(file, at)
}

// Dir is the folder of the configuration file.
func (c *Config) Dir() string { return filepath.Dir(c.File) }
