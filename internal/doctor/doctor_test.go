package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/config"
)

// rig is a simulator behind a listener of ours, and a configuration for it.
type rig struct {
	t       *testing.T
	sim     *ersim.Server
	http    *httptest.Server
	dir     string
	expires time.Duration                   // of the certificate, from now on
	wrap    func(http.Handler) http.Handler // what is before the server
	server  map[string]string               // settings of the section server
	rest    string                          // other sections
	now     func() time.Time                // the doctor's clock
}

func newRig(t *testing.T, profile string) *rig {
	t.Helper()
	sim, err := ersim.New(ersim.Options{Profile: profile, Seed: 1, Hosts: 6, AggregationWindow: -1})
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, sim: sim, dir: t.TempDir(), expires: 365 * 24 * time.Hour, wrap: func(h http.Handler) http.Handler { return h },
		server: map[string]string{"username": "admin", "password": "{file: pw}", "ca_file": "ca.pem", "retries": "0", "timeout": "5s"}}
}

// certificate makes an authority and a certificate for 127.0.0.1.
func (r *rig) certificate() (tls.Certificate, []byte) {
	r.t.Helper()
	fatal := func(err error) {
		if err != nil {
			r.t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fatal(err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, NotBefore: time.Now().Add(-1000 * time.Hour),
		NotAfter: time.Now().Add(1e5 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	fatal(err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "er.example.org"}, NotBefore: ca.NotBefore,
		NotAfter: time.Now().Add(r.expires), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), key)
	fatal(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
}

func (r *rig) file(name, text string) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// start serves the simulator over TLS.
func (r *rig) start() {
	r.t.Helper()
	certificate, authority := r.certificate()
	if _, given := r.server["ca_file"]; given {
		r.file("ca.pem", string(authority))
	}
	r.http = httptest.NewUnstartedServer(r.wrap(r.sim))
	r.http.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	r.http.Config.ErrorLog = nil
	r.http.StartTLS()
	r.t.Cleanup(r.http.Close)
	if r.server["url"] == "" {
		r.server["url"] = `"` + r.http.URL + `"`
	}
	if r.server["pin_sha256"] == "fits" {
		sum := sha256.Sum256(certificate.Certificate[0])
		r.server["pin_sha256"] = `"` + hex.EncodeToString(sum[:]) + `"`
	}
}

// examine runs the doctor.
func (r *rig) examine() (map[string]Result, error) {
	r.t.Helper()
	if _, err := os.Stat(filepath.Join(r.dir, "pw")); err != nil {
		r.file("pw", "admin")
	}
	var settings []string
	for name, value := range r.server {
		settings = append(settings, name+": "+value)
	}
	path := r.file("erbridge.yaml", "server: {"+strings.Join(settings, ", ")+"}\nstore: {path: data}\n"+r.rest)
	results := map[string]Result{}
	var order []string
	err := Run(r.t.Context(), Options{Config: path, Now: r.now, NewClient: newClient}, func(result Result) {
		results[result.Check] = result
		order = append(order, result.Check)
	})
	if len(order) != len(checks) || len(results) != len(checks) {
		r.t.Errorf("%d lines of %d checks: %q", len(order), len(checks), order)
	}
	for _, result := range results {
		if result.Found == "" || strings.Contains(result.Found, "\n") {
			r.t.Errorf("%s found %q", result.Check, result.Found)
		}
		if needs := result.Status == Warn || result.Status == Fail; needs != (result.Hint != "") {
			r.t.Errorf("%s is %s and hints %q", result.Check, result.Status, result.Hint)
		}
	}
	return results, err
}

func newClient(cfg *config.Config) (*connector.Client, error) {
	s := cfg.Server
	if _, err := s.Password.Reveal(); err != nil {
		return nil, err
	}
	return connector.New(connector.Options{URL: s.URL, BasePath: s.BasePath, API: s.API, Username: s.Username, Password: s.Password,
		CAFile: s.CAFile, PinSHA256: s.PinSHA256, Timeout: s.Timeout, Retries: -1})
}

// want is what a check must come to.
type want struct {
	status Status
	found  string // a part of it
	hint   string // a part of it
}

func (r *rig) expect(results map[string]Result, wants map[string]want) {
	r.t.Helper()
	for name, w := range wants {
		got, ok := results[name]
		if !ok {
			r.t.Errorf("no check %s", name)
		} else if got.Status != w.status || !strings.Contains(got.Found, w.found) || !strings.Contains(got.Hint, w.hint) {
			r.t.Errorf("%s: %+v\nwant %+v", name, got, w)
		}
	}
}

// good says that no check failed and none but these warned.
func (r *rig) good(results map[string]Result, err error, warned ...string) {
	r.t.Helper()
	if err != nil {
		r.t.Error(err)
	}
	for name, result := range results {
		allowed := strings.Contains(strings.Join(warned, ","), name)
		if result.Status == Fail || result.Status == Warn && !allowed {
			r.t.Errorf("%+v", result)
		}
	}
}

func TestProfiles(t *testing.T) {
	for profile, wants := range map[string]map[string]want{
		"4.0": {
			"config":         {OK, "as admin", ""},
			"password":       {OK, "can be read", ""},
			"name":           {OK, "127.0.0.1 is an address", ""},
			"reach":          {OK, "accepts connections", ""},
			"tls":            {OK, "CN=er.example.org, of CN=Test CA, until ", ""},
			"base path":      {OK, "/esp-ui/services/api/v1", ""},
			"clock":          {OK, "as this machine's does", ""},
			"login":          {OK, "the token is good until ", ""},
			"release":        {OK, "probably 4.0 Enterprise: /index answers, /options is gone (HTTP 410)", ""},
			"role":           {OK, "admin", ""},
			"source poll":    {OK, "the alert list answers, with 2 alerts that are open; the newest is 2", ""},
			"source push":    {Skip, "not configured", ""},
			"source webhook": {Skip, "not configured", ""},
			"endpoints":      {OK, "documented calls that read are there", ""},
			"hosts":          {OK, "5 of 6 hosts online", ""},
			"response":       {OK, "enabled on 5 of 6 hosts", ""},
		},
		"4.0-community": {
			"release":   {OK, "probably 4.0 Community: /index answers", ""},
			"endpoints": {OK, "belong to other releases and editions", ""},
			"response":  {Skip, "Community", ""},
		},
		"2.1.2": {
			"base path": {OK, "/services/api/v1", ""},
			"release":   {OK, "probably 2.x Community: no /index, no /response/status/all, API v0 too", ""},
			"role":      {OK, "no roles", ""},
			"endpoints": {OK, "documented calls that read are there", ""},
			"response":  {Skip, "Community", ""},
		},
	} {
		t.Run(profile, func(t *testing.T) {
			r := newRig(t, profile)
			r.start()
			r.sim.Raise(ersim.AlertSpec{})
			r.sim.Raise(ersim.AlertSpec{})
			hosts := r.sim.Hosts()
			r.sim.SetOnline(hosts[0].Identifier, false)
			r.sim.SetResponseEnabled(hosts[1].Identifier, false)
			results, err := r.examine()
			r.good(results, err)
			r.expect(results, wants)
			if calls := r.sim.Calls(); calls["auth-login"] != 1 || calls["auth-logout"] != 1 {
				t.Errorf("%d logins, %d logouts", calls["auth-login"], calls["auth-logout"])
			}
		})
	}
}

// A server of which only API v0 is known.
func TestServerOfAPIv0(t *testing.T) {
	r := newRig(t, "2.0")
	r.server["api"] = "v0"
	r.start()
	results, err := r.examine()
	r.good(results, err)
	r.expect(results, map[string]want{
		"base path": {OK, "/services/api/v0", ""}, "release": {OK, "API v0, which the configuration asks for", ""},
		"endpoints": {OK, "documented calls that read are there", ""}, "source poll": {OK, "the alert list answers", ""},
	})
}

func TestAnalyst(t *testing.T) {
	r := newRig(t, "4.0")
	r.server["username"] = "analyst"
	r.start()
	results, err := r.examine()
	r.good(results, err, "role")
	r.expect(results, map[string]want{"role": {Warn, "analyst, which may not make the calls hosts-tags-add", "the role admin is needed"}})
}

func TestCertificates(t *testing.T) {
	day := 24 * time.Hour
	for _, tt := range []struct {
		name    string
		expires time.Duration
		set     map[string]string
		other   bool // the CA file is that of another authority
		want    want
	}{
		{"expires soon", 10*day + time.Hour, nil, false, want{Warn, "expires in 10 days", "renew"}},
		{"expired", -day, nil, false, want{Fail, "expired", "renew the certificate of the server"}},
		{"another authority", 365 * day, nil, true, want{Fail, "unknown authority", "pin it in server.pin_sha256: "}},
		{"pinned", 365 * day, map[string]string{"pin_sha256": "fits", "ca_file": ""}, false, want{OK, "pin fits", ""}},
		{"pinned and expired", -day, map[string]string{"pin_sha256": "fits", "ca_file": ""}, false, want{Warn, "but expired", "the pin lets it pass"}},
		{"pin and authority", 365 * day, map[string]string{"pin_sha256": "fits"}, false, want{OK, "pin fits, chain good", ""}},
		{"pin and another authority", 365 * day, map[string]string{"pin_sha256": "fits"}, true, want{Fail, "unknown authority", ""}},
		{"another pin", 365 * day, map[string]string{"pin_sha256": `"` + strings.Repeat("ab", 32) + `"`}, false, want{Fail, "not the pinned one", "somebody is between"}},
		{"no authority", 365 * day, map[string]string{"ca_file": ""}, false, want{Fail, "certificate", "server.ca_file"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, "4.0")
			r.expires = tt.expires
			for name, value := range tt.set {
				if r.server[name] = value; value == "" {
					delete(r.server, name)
				}
			}
			r.start()
			if tt.other {
				_, authority := r.certificate()
				r.file("ca.pem", string(authority))
			}
			results, err := r.examine()
			r.expect(results, map[string]want{"tls": tt.want})
			if tt.want.status == Fail {
				r.expect(results, map[string]want{"login": {Skip, "because tls failed", ""}, "hosts": {Skip, "because tls failed", ""}, "source push": {Skip, "not configured", ""}})
				if !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "failed: tls") {
					t.Errorf("error %v", err)
				}
				return
			}
			r.good(results, err, "tls")
		})
	}
}

func TestWrongName(t *testing.T) {
	r := newRig(t, "4.0")
	r.start()
	r.server["url"] = `"` + strings.Replace(r.http.URL, "127.0.0.1", "localhost", 1) + `"`
	results, _ := r.examine()
	r.expect(results, map[string]want{"tls": {Fail, "localhost", "put a name of the certificate into server.url"}})
}

func TestNotTLS(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	r := newRig(t, "4.0")
	r.server["url"] = `"` + strings.Replace(plain.URL, "http:", "https:", 1) + `"`
	r.file("ca.pem", func() string { _, ca := r.certificate(); return string(ca) }())
	results, _ := r.examine()
	r.expect(results, map[string]want{"tls": {Fail, "", "does not speak TLS"}, "base path": {Skip, "because tls failed", ""}})
}

func TestWrongPassword(t *testing.T) {
	r := newRig(t, "4.0")
	r.file("pw", "wrong")
	r.start()
	results, err := r.examine()
	r.expect(results, map[string]want{
		"login": {Fail, "user name or password is wrong", "correct server.username"}, "release": {OK, "4.0 Enterprise", ""},
		"role": {Skip, "because login failed", ""}, "endpoints": {OK, "are there", ""}, "hosts": {Skip, "because login failed", ""},
	})
	if !errors.Is(err, ErrFailed) || strings.Contains(fmt.Sprint(results), "wrong\"") {
		t.Errorf("error %v", err)
	}
}

func TestWrongBasePath(t *testing.T) {
	for path, found := range map[string]string{"/nosuch/api": "not the API, but a web page", "/esp-ui/services/api/v2": "not the API"} {
		r := newRig(t, "4.0")
		r.server["base_path"] = path
		r.start()
		results, err := r.examine()
		r.expect(results, map[string]want{"base path": {Fail, found, "server.base_path"}, "login": {Skip, "because base path failed", ""}, "tls": {OK, "", ""}})
		if !errors.Is(err, ErrFailed) {
			t.Errorf("error %v", err)
		}
	}
}

func TestDeadServer(t *testing.T) {
	r := newRig(t, "4.0")
	r.start()
	r.http.Close()
	results, err := r.examine()
	if !errors.Is(err, ErrFailed) {
		t.Errorf("error %v", err)
	}
	r.expect(results, map[string]want{"reach": {Fail, "refused", "is the server up"}, "config": {OK, "", ""}})
	for _, c := range checks[4:] {
		if got := results[c.name]; got.Status != Skip {
			t.Errorf("%+v", got)
		}
	}
}

func TestNoSuchName(t *testing.T) {
	r := newRig(t, "4.0")
	r.server["url"] = `"https://er.invalid"` // RFC 2606, section 2: resolves nowhere
	r.file("ca.pem", func() string { _, ca := r.certificate(); return string(ca) }())
	results, _ := r.examine()
	r.expect(results, map[string]want{"name": {Fail, "er.invalid", "correct the host"}, "reach": {Skip, "because name failed", ""}})
}

// The Date of the answers is what tells the server's clock.
func TestClocks(t *testing.T) {
	for off, w := range map[time.Duration]want{
		-10 * time.Minute: {Warn, "10m0s behind this machine's", "NTP"},
		time.Hour:         {Warn, "ahead of this machine's", "NTP"},
		4 * time.Second:   {OK, "ahead of this machine's", ""},
	} {
		r := newRig(t, "4.0")
		r.wrap = func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				// Half a second more, so that cutting it to whole seconds is the same always.
				w.Header().Set("Date", time.Now().Add(off+500*time.Millisecond).UTC().Truncate(time.Second).Format(http.TimeFormat))
				next.ServeHTTP(w, req)
			})
		}
		r.start()
		results, err := r.examine()
		r.good(results, err, "clock")
		got := results["clock"]
		if got.Status != w.status || !strings.Contains(got.Found, strings.TrimPrefix(w.found, "10m0s ")) || !strings.Contains(got.Hint, w.hint) {
			t.Errorf("%v: %+v", off, got)
		}
	}
}

// A proxy that keeps some calls back.
func TestMissingEndpoints(t *testing.T) {
	r := newRig(t, "4.0")
	r.wrap = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if strings.HasSuffix(req.URL.Path, "/iocs") || strings.Contains(req.URL.Path, "/carves/") {
				http.Error(w, "<h1>Not here</h1>", http.StatusNotFound)
				return
			}
			next.ServeHTTP(w, req)
		})
	}
	r.start()
	results, err := r.examine()
	r.good(results, err, "endpoints")
	r.expect(results, map[string]want{"endpoints": {Warn, "missing: carves (carves-download), iocs (iocs-list)", "proxy"}})
}

// A proxy that wants a login in front of everything.
func TestEndpointsBehindALogin(t *testing.T) {
	r := newRig(t, "4.0")
	r.wrap = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if strings.Contains(req.URL.Path, "/no/such/path") {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, req)
		})
	}
	r.start()
	results, err := r.examine()
	r.good(results, err)
	r.expect(results, map[string]want{"endpoints": {Skip, "as to any other", ""}})
}

// No probe has an effect, and none makes the call.
func TestProbesMakeNoCalls(t *testing.T) {
	r := newRig(t, "4.0")
	withToken := make(chan string, 1000) // as many as there can be calls
	r.wrap = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Header.Get("X-Access-Token") != "" {
				withToken <- req.Method + " " + strings.TrimPrefix(req.URL.Path, r.sim.BasePath())
			}
			next.ServeHTTP(w, req)
		})
	}
	r.start()
	results, err := r.examine()
	r.good(results, err)
	close(withToken)
	var made []string
	for call := range withToken {
		made = append(made, call)
	}
	if got, want := strings.Join(made, ", "), "GET /options, GET /users/me, POST /alerts, GET /hosts/count, GET /response/status/all, POST /logout"; got != want {
		t.Errorf("made %s\nwant %s", got, want)
	}
}

func TestListeners(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		rest          string
		push, webhook want
	}{
		{`sources: {push: {listen: "127.0.0.1:0"}, webhook: {listen: "127.0.0.1:0", senders: {a: {secret: {env: X}}}}}`,
			want{OK, "can be listened on", ""}, want{OK, "1 sender may call it", ""}},
		{fmt.Sprintf(`sources: {push: {listen: %q}}`, taken.Addr()), want{OK, "is in use", ""}, want{Skip, "not configured", ""}},
		{`sources: {push: {listen: "192.0.2.1:5514"}}`, want{Fail, "192.0.2.1:5514", "an address that this machine has"}, want{Skip, "", ""}},
	} {
		r := newRig(t, "4.0")
		r.rest = tt.rest + "\n"
		r.start()
		results, _ := r.examine()
		r.expect(results, map[string]want{"source push": tt.push, "source webhook": tt.webhook, "hosts": {OK, "", ""}})
	}
}

func TestBadConfiguration(t *testing.T) {
	for name, text := range map[string]string{"mistake": "server: {url: nope}\n", "absent": ""} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "erbridge.yaml")
			if text != "" {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			lines := 0
			err := Run(t.Context(), Options{Config: path, NewClient: newClient}, func(r Result) {
				if lines++; lines == 1 && (r.Check != "config" || r.Status != Fail) || lines > 1 && r.Status != Skip {
					t.Errorf("%+v", r)
				}
			})
			if err == nil || errors.Is(err, config.ErrUnreadable) != (text == "") || lines != len(checks) {
				t.Errorf("error %v after %d lines", err, lines)
			}
		})
	}
}

// A person who has lost patience gets an end, and the token is given back.
func TestInterrupted(t *testing.T) {
	r := newRig(t, "4.0")
	r.start()
	r.file("pw", "admin")
	path := r.file("erbridge.yaml", fmt.Sprintf("server: {url: %q, username: admin, password: {file: pw}, ca_file: ca.pem}\n", r.http.URL))
	ctx, cancel := context.WithCancel(t.Context())
	err := Run(ctx, Options{Config: path, NewClient: newClient}, func(result Result) {
		if result.Check == "login" {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || r.sim.Calls()["auth-logout"] != 1 {
		t.Errorf("error %v, %d logouts", err, r.sim.Calls()["auth-logout"])
	}
}

// Without the password all is looked at that needs no login, and nobody logs in.
func TestNoPassword(t *testing.T) {
	r := newRig(t, "4.0")
	r.server["password"] = "{file: nosuch}"
	r.start()
	results, err := r.examine()
	r.expect(results, map[string]want{
		"config": {OK, "as admin", ""}, "password": {Fail, "nosuch: no such file", "server.password"}, "reach": {OK, "", ""}, "tls": {OK, "chain good", ""},
		"base path": {OK, "the API is at", ""}, "clock": {OK, "", ""}, "release": {OK, "4.0 Enterprise", ""}, "endpoints": {OK, "are there", ""},
		"login": {Skip, "because password failed", ""}, "hosts": {Skip, "because password failed", ""}, "role": {Skip, "because password failed", ""},
	})
	if err == nil || errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("error %v", err)
	}
	if calls := r.sim.Calls(); calls["auth-login"] != 0 || calls["auth-logout"] != 0 {
		t.Errorf("%d logins, %d logouts", calls["auth-login"], calls["auth-logout"])
	}
}

// A server that takes every call and answers none.
func TestSilentServer(t *testing.T) {
	r := newRig(t, "4.0")
	r.server["timeout"] = "100ms"
	ended := make(chan struct{})
	r.wrap = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			switch strings.TrimPrefix(req.URL.Path, r.sim.BasePath()) {
			case "/index", "/users/me", "/alerts":
				<-ended
				return
			}
			next.ServeHTTP(w, req)
		})
	}
	r.start()
	t.Cleanup(func() { close(ended) }) // before the server is closed, which waits for its handlers
	results, err := r.examine()
	const hint = "does not answer in time"
	r.expect(results, map[string]want{
		"login": {OK, "", ""}, "release": {Fail, "/index", hint}, "source poll": {Fail, "/alerts", hint}, "hosts": {OK, "", ""},
		// Edition and release are not known now, and nothing is said that would need them.
		"role": {Skip, "because release failed", ""}, "endpoints": {Skip, "because release failed", ""}, "response": {Skip, "because release failed", ""},
	})
	if !errors.Is(err, ErrFailed) || r.sim.Calls()["auth-logout"] != 1 {
		t.Errorf("error %v, %d logouts", err, r.sim.Calls()["auth-logout"])
	}
}

// One probe without an answer is enough.
func TestProbesEndAtTheFirstFailure(t *testing.T) {
	r := newRig(t, "4.0")
	probed := make(chan string, 1000) // as many as there can be calls
	r.wrap = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			path := strings.TrimPrefix(req.URL.Path, r.sim.BasePath())
			known := []string{"/login", "/index", "/hosts/count", "/response/status/all", "/erbridge/no/such/path"}
			if req.Header.Get("X-Access-Token") == "" && !slices.Contains(known, path) && !strings.Contains(path, "v0") {
				probed <- path
				http.Error(w, "busy", http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, req)
		})
	}
	r.start()
	results, _ := r.examine()
	r.expect(results, map[string]want{"endpoints": {Fail, "HTTP 503", "try again"}, "hosts": {OK, "", ""}})
	if len(probed) == 0 || len(probed) > 2*probing {
		t.Errorf("%d probes", len(probed))
	}
}

// With no time left the rest is skipped, and every check has its line.
func TestNoTimeLeft(t *testing.T) {
	r := newRig(t, "4.0")
	r.start()
	d := &doctor{blocked: map[string]string{}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range checks {
		if got := d.look(ctx, c); got.Status != Skip || !strings.Contains(got.Found, "no time was left") {
			t.Errorf("%+v", got)
		}
	}
}
