package config

import (
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// checker finds the mistakes that need more than one setting to see, or more
// than its type. It goes on after the decoder found others, so that all of them
// are reported together.
type checker struct {
	cfg      *Config
	root     *yaml.Node
	problems registry.Problems
}

func (c *checker) addf(path []string, code, hint, format string, args ...any) {
	at := place(c.cfg.File, c.root, path...)
	for _, p := range c.problems {
		if p.Position == at {
			return // the decoder has said something about this place already
		}
	}
	c.problems.Addf(at, code, hint, format, args...)
}

// names are used in event ids, metric labels and file names.
var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?$`)

const nameHint = "lower-case letters, digits, - and _; at most 64 of them"

func (c *checker) check() {
	c.checkServer()
	c.checkSources()
	c.checkPlaybooks()
	c.checkGuard()
	c.checkPeople()
	c.checkListeners()
	c.checkRoutes()
	c.checkRedact()
	c.checkAlarms()
	cfg := c.cfg
	if cfg.Store.Path == "" {
		c.addf([]string{"store", "path"}, "missing", "", "the store needs a folder")
	}
	if _, err := cfg.Actions.Networks(); err != nil {
		c.addf([]string{"actions", "allowed_networks"}, "bad-network", "", "%v", err)
	}
	if cfg.Actions.MaxCarveBytes <= 0 {
		c.addf([]string{"actions", "max_carve_bytes"}, "out-of-range", "", "max_carve_bytes must be above 0")
	}
	c.checkCarves()
	c.positive(cfg.Server.Timeout, "server", "timeout")
	c.positive(cfg.Store.Retention.Alerts, "store", "retention", "alerts")
	c.positive(cfg.Store.Retention.Runs, "store", "retention", "runs")
	c.positive(cfg.Store.Retention.DeadLetters, "store", "retention", "dead_letters")
	c.positive(cfg.Store.Retention.Telemetry, "store", "retention", "telemetry")
	if cfg.Store.Retention.Audit < 0 {
		c.addf([]string{"store", "retention", "audit"}, "out-of-range", "0 keeps the audit record for ever", "audit must not be below 0")
	}
	c.checkKept()
	c.positive(cfg.Limits.Shutdown, "limits", "shutdown")
	c.positive(cfg.Limits.Settle, "limits", "settle")
	c.positive(cfg.Limits.Hold, "limits", "hold")
	c.within(cfg.Server.Retries, 0, 20, "server", "retries")
	c.within(cfg.Limits.Workers, 1, 1024, "limits", "workers")
	c.within(cfg.Limits.Calls, 1, 256, "limits", "calls")
	c.within(cfg.Limits.Queue, 16, 1<<20, "limits", "queue")
}

// checkKept compares how long alerts are kept with how far back they are read: one
// that was forgotten and is read again would be a new alert, and acted on again.
func (c *checker) checkKept() {
	kept, poll := c.cfg.Store.Retention.Alerts, c.cfg.Sources.Poll
	name, longest := "overlap", poll.Overlap
	if poll.SweepWindow > longest {
		name, longest = "sweep_window", poll.SweepWindow
	}
	if poll.Backfill > longest {
		name, longest = "backfill", poll.Backfill
	}
	if kept <= 0 || kept-day >= longest {
		return
	}
	at := []string{"store", "retention", "alerts"}
	if find(c.root, at...) == nil { // the default is too short for what the file says
		at = []string{"sources", "poll", name}
	}
	c.addf(at, "out-of-range", "keep alerts at least a day longer than they are read back, or they come in again as new ones",
		"alerts are kept for %s, and sources.poll.%s reads %s back", kept, name, longest)
}

func (c *checker) positive(d time.Duration, path ...string) {
	if d <= 0 {
		c.addf(path, "out-of-range", "", "%s must be longer than nothing", path[len(path)-1])
	}
}

func (c *checker) within(n, least, most int, path ...string) {
	if n < least || n > most {
		c.addf(path, "out-of-range", "", "%s is %d, and must be from %d to %d", path[len(path)-1], n, least, most)
	}
}

func (c *checker) checkServer() {
	s := c.cfg.Server
	if !namePattern.MatchString(s.Name) {
		c.addf([]string{"server", "name"}, "bad-name", nameHint, "server name %q cannot be used", s.Name)
	}
	u, err := url.Parse(s.URL)
	switch {
	case s.URL == "":
		// The decoder says that it is required.
	case err != nil || u.Host == "":
		c.addf([]string{"server", "url"}, "bad-url", "such as https://er.example.org", "%q is not the address of a server", s.URL)
	case u.User != nil:
		c.addf([]string{"server", "url"}, "plain-secret", "use username and password", "an address with credentials in it is refused")
	case u.RawQuery != "" || u.Fragment != "":
		c.addf([]string{"server", "url"}, "bad-url", "such as https://er.example.org", "the address has more than scheme, host, port and path")
	case u.Scheme == "http":
		c.addf([]string{"server", "url"}, "bad-url", "write https://; for a certificate nobody signed there are ca_file and pin_sha256", "the server's API is spoken over https only")
	case u.Scheme != "https":
		c.addf([]string{"server", "url"}, "bad-url", "such as https://er.example.org", "scheme %q cannot be used", u.Scheme)
	}
	if s.BasePath != "" && !strings.HasPrefix(s.BasePath, "/") {
		c.addf([]string{"server", "base_path"}, "bad-path", "such as /esp-ui/services/api/v1", "a base path begins with /")
	}
	for _, other := range []string{"v0", "v1"} {
		if other != s.API && strings.HasSuffix(strings.TrimRight(s.BasePath, "/"), "/api/"+other) {
			c.addf([]string{"server", "base_path"}, "bad-path", "set api: "+other+", or give the path of "+s.API, "this is the path of API %s, and api is %s", other, s.API)
		}
	}
	c.file(s.CAFile, "server", "ca_file")
	if pin := strings.ReplaceAll(s.PinSHA256, ":", ""); pin != "" {
		if raw, err := hex.DecodeString(pin); err != nil || len(raw) != 32 {
			c.addf([]string{"server", "pin_sha256"}, "bad-pin", "openssl x509 -in cert.pem -noout -fingerprint -sha256", "a pin is 64 hexadecimal digits")
		}
	}
}

// file says so when a file that is named does not exist.
func (c *checker) file(path string, where ...string) {
	if path == "" {
		return
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		c.addf(where, "no-file", "", "%s: %v", where[len(where)-1], err)
	case info.IsDir():
		c.addf(where, "no-file", "", "%s: %s is a folder", where[len(where)-1], path)
	}
}

// Bounds of playbooks.watch: less is work for nothing, more would be taken for broken.
const (
	minWatch = 100 * time.Millisecond
	maxWatch = time.Hour
)

func (c *checker) checkPlaybooks() {
	p := c.cfg.Playbooks
	if p.Dir != "" {
		info, err := os.Stat(p.Dir)
		switch {
		case err != nil:
			c.addf([]string{"playbooks", "dir"}, "no-folder", "", "playbooks: %v", err)
		case !info.IsDir():
			c.addf([]string{"playbooks", "dir"}, "no-folder", "", "playbooks: %s is not a folder", p.Dir)
		}
	}
	if p.Watch != 0 && (p.Watch < minWatch || p.Watch > maxWatch) {
		c.addf([]string{"playbooks", "watch"}, "out-of-range", "0s turns it off", "watch is %s, and must be from %s to %s", p.Watch, minWatch, maxWatch)
	}
	names := LibraryNames()
	for i, name := range p.Library {
		at := place(c.cfg.File, c.root, "playbooks", "library")
		if list := find(c.root, "playbooks", "library"); list != nil && i < len(list.Content) {
			at = registry.At(c.cfg.File, list.Content[i])
		}
		switch {
		case name == "all" && len(p.Library) > 1:
			c.problems.Addf(at, "conflict", "", "all stands alone, or names do")
		case name != "all" && !slices.Contains(names, name):
			c.problems = append(c.problems, registry.Unknown(at, "library playbook", name, append(names, "all")))
		}
	}
}

// checkGuard reports the mistakes in the section guard at their places.
func (c *checker) checkGuard() {
	err := c.cfg.Guard.Check()
	if err == nil {
		return
	}
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	for _, err := range list {
		if m, ok := errors.AsType[*guard.Mistake](err); ok {
			c.addf(append([]string{"guard"}, m.Path...), "guard", m.Hint, "%s", m.Words)
		} else {
			c.addf([]string{"guard"}, "guard", "", "%v", err)
		}
	}
}

// listener is an address that erbridge itself listens on.
type listener struct {
	path  []string
	addr  string
	plain bool // plain HTTP
	allow bool // and that is what the user wants
}

func (c *checker) checkListeners() {
	listeners := []listener{{path: []string{"console"}, addr: c.cfg.Console.Listen, plain: true, allow: c.cfg.Console.AllowPlainHTTP}}
	listeners = append(listeners, c.cfg.Sources.listeners()...)
	seen := map[string]listener{}
	for _, l := range listeners {
		where := append(slices.Clone(l.path), "listen")
		if l.addr == "" {
			continue
		}
		host, port, err := net.SplitHostPort(l.addr)
		if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil {
			c.addf(where, "bad-address", "such as 127.0.0.1:8088, or :8088 for every address of this machine", "%q is not host:port", l.addr)
			continue
		} else if n != 0 {
			if other, taken := seen[port]; taken && overlap(host, other.addr) {
				c.addf(where, "conflict", "", "%s listens on %s already", strings.Join(other.path, "."), other.addr)
			}
			seen[port] = l
		}
		if l.plain && !l.allow && !loopback(host) {
			c.addf(where, "plain-http", "listen on 127.0.0.1 behind a proxy that speaks TLS, or set allow_plain_http: true",
				"%s would be plain HTTP for other machines", l.addr)
		}
	}
}

func overlap(host, otherAddr string) bool {
	other, _, _ := net.SplitHostPort(otherAddr)
	return host == other || everywhere(host) || everywhere(other)
}

func everywhere(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// find is the node at a path, or nil. The items of a list go by their number.
func find(root *yaml.Node, path ...string) *yaml.Node {
	for _, name := range path {
		var next *yaml.Node
		if i, err := strconv.Atoi(name); err == nil && root.Kind == yaml.SequenceNode && i >= 0 && i < len(root.Content) {
			next = root.Content[i]
		}
		if root.Kind == yaml.MappingNode {
			for key, value := range registry.Pairs(root) {
				if key.Value == name {
					next = value
				}
			}
		}
		if next == nil {
			return nil
		}
		root = next
	}
	return root
}
