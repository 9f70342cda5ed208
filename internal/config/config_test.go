package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
)

const least = `
server: {url: "https://er.example.org", username: soc, password: {env: ER_PASSWORD}}
`

func parse(t *testing.T, text string) (*Config, string) {
	t.Helper()
	cfg, err := Parse("c.yaml", []byte(strings.TrimPrefix(text, "\n")))
	if err != nil {
		if !IsProblem(err) {
			t.Fatalf("not a list of problems: %v", err)
		}
		return nil, err.Error()
	}
	return cfg, ""
}

func TestDefaults(t *testing.T) {
	cfg, problems := parse(t, least)
	if problems != "" {
		t.Fatal(problems)
	}
	if cfg.Server.Name != "er" || cfg.Server.API != "v1" || cfg.Playbooks.Mode != "observe" || cfg.Playbooks.Watch != 2*time.Second || cfg.Console.Listen != "127.0.0.1:8088" ||
		cfg.Sources.Poll.Interval != 15*time.Second || cfg.Sources.Push != nil || cfg.Store.Retention.Alerts != 90*day || cfg.Limits.Settle != 5*time.Minute {
		t.Errorf("defaults: %+v", cfg)
	}
	if got := cfg.CarveDir(); got != "/var/lib/erbridge/carves" {
		t.Errorf("carves go to %s", got)
	}
}

func TestMistakes(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"no server", "log: {level: info}", `c.yaml:1:1: setting "server" is required [missing]`},
		{"plain password", `server: {url: "https://a", username: b, password: hunter2}`,
			`c.yaml:1:51: expected a secret: {env: NAME}, {file: path} or {credential: name}, not the value itself [plain-secret]; put the value into a file or the environment and name that here`},
		{"no host", `server: {url: "er.example.org", username: b, password: {env: C}}`,
			`c.yaml:1:15: "er.example.org" is not the address of a server [bad-url]; such as https://er.example.org`},
		{"plain http", `server: {url: "http://a", username: b, password: {env: C}}`,
			`c.yaml:1:15: the server's API is spoken over https only [bad-url]; write https://; for a certificate nobody signed there are ca_file and pin_sha256`},
		{"password in the address", `server: {url: "https://u:p@a", username: b, password: {env: C}}`,
			`c.yaml:1:15: an address with credentials in it is refused [plain-secret]; use username and password`},
		{"bad pin", `server: {url: "https://a", username: b, password: {env: C}, pin_sha256: "ab:cd"}`,
			`c.yaml:1:73: a pin is 64 hexadecimal digits [bad-pin]; openssl x509 -in cert.pem -noout -fingerprint -sha256`},
		{"absent authority", `server: {url: "https://a", username: b, password: {env: C}, ca_file: absent.pem}`,
			`c.yaml:1:70: ca_file: stat absent.pem: no such file or directory [no-file]`},
		{"another API", `server: {url: "https://a", username: b, password: {env: C}, api: v2}`,
			`c.yaml:1:66: unknown value "v2" [unknown-name]; allowed: v1, v0`},
		{"path of another API", `server: {url: "https://a", username: b, password: {env: C}, api: v0, base_path: /services/api/v1/}`,
			`c.yaml:1:81: this is the path of API v1, and api is v0 [bad-path]; set api: v1, or give the path of v0`},
		{"path of the old API", `server: {url: "https://a", username: b, password: {env: C}, base_path: /services/api/v0}`,
			`c.yaml:1:72: this is the path of API v0, and api is v1 [bad-path]; set api: v0, or give the path of v1`},
		{"console for everybody", least + `console: {listen: ":8088"}`,
			`c.yaml:2:19: :8088 would be plain HTTP for other machines [plain-http]; listen on 127.0.0.1 behind a proxy that speaks TLS, or set allow_plain_http: true`},
		{"no port", least + `console: {listen: localhost}`,
			`c.yaml:2:19: "localhost" is not host:port [bad-address]; such as 127.0.0.1:8088, or :8088 for every address of this machine`},
		{"port taken twice", least + "console: {listen: \"127.0.0.1:514\"}\nsources: {push: {listen: \":514\"}}",
			`c.yaml:3:26: console listens on 127.0.0.1:514 already [conflict]`},
		{"absent playbooks", least + `playbooks: {dir: nowhere}`,
			`c.yaml:2:18: playbooks: stat nowhere: no such file or directory [no-folder]`},
		{"watch", least + `playbooks: {watch: 20ms}`,
			`c.yaml:2:20: watch is 20ms, and must be from 100ms to 1h0m0s [out-of-range]; 0s turns it off`},
		{"mode", least + `playbooks: {mode: aprove}`,
			`c.yaml:2:19: unknown value "aprove" [unknown-name]; allowed: observe, approve, enforce`},
		{"no time at all", least + "sources: {poll: {interval: 0s}}\nserver2: {}",
			"c.yaml:2:28: interval must be longer than nothing [out-of-range]\nc.yaml:3:1: unknown setting \"server2\" [unknown-key]; did you mean \"server\"?"},
		{"unknown sink type", least + `sinks: {chat: {type: slakc}}`,
			`c.yaml:2:22: unknown sink type "slakc" [unknown-name]; did you mean "slack"?`},
		{"bad sink name", least + `sinks: {"so c": {type: stdout}}`,
			`c.yaml:2:9: sink name "so c" cannot be used [bad-name]; lower-case letters, digits, - and _; at most 64 of them`},
		{"sinks as a list", least + `sinks: [stdout]`,
			`c.yaml:2:8: expected a mapping of names to sinks [wrong-type]; such as soc-slack: {type: slack, channel: "#soc"}`},
		{"workers", least + `limits: {workers: 0}`, `c.yaml:2:19: workers is 0, and must be from 1 to 1024 [out-of-range]`},
		{"no time to settle", least + `limits: {settle: 0s}`, `c.yaml:2:18: settle must be longer than nothing [out-of-range]`},
		{"alerts kept too short", least + `store: {retention: {alerts: 47h}}`,
			`c.yaml:2:29: alerts are kept for 47h0m0s, and sources.poll.backfill reads 24h0m0s back [out-of-range]; keep alerts at least a day longer than they are read back, or they come in again as new ones`},
		{"alerts read back too far", least + `sources: {poll: {sweep_window: 90d}}`,
			`c.yaml:2:32: alerts are kept for 2160h0m0s, and sources.poll.sweep_window reads 2160h0m0s back [out-of-range]; keep alerts at least a day longer than they are read back, or they come in again as new ones`},
		{"network", least + `actions: {allowed_networks: ["10.0.0.0"]}`,
			`c.yaml:2:29: network "10.0.0.0": expected a CIDR such as 169.254.10.0/24 [bad-network]`},
		{"sender without proof", least + `sources: {webhook: {listen: "127.0.0.1:1", senders: {a: {verify: fetch}}}}`,
			`c.yaml:2:57: sender "a": exactly one of secret, bearer and client_name says who calls, found 0 [missing]`},
		{"trusted sender named as the server", least + `sources: {webhook: {listen: "127.0.0.1:1", senders: {er: {verify: trust, bearer: {env: A}, map: .}}}}`,
			`c.yaml:2:58: "er" is the name of the server: their alert ids would be taken for one another [conflict]; give the sender a name of its own`},
		{"all mistakes at once", "server: {url: nope, username: 5}\nconsole: {listen: x}\nlog: {level: loud}\nlimits: {queue: 1}",
			`c.yaml:1:9: setting "password" is required [missing]
c.yaml:1:15: "nope" is not the address of a server [bad-url]; such as https://er.example.org
c.yaml:1:31: expected a text, found the number 5 [wrong-type]; put quotes around it: "5"
c.yaml:2:19: "x" is not host:port [bad-address]; such as 127.0.0.1:8088, or :8088 for every address of this machine
c.yaml:3:14: unknown value "loud" [unknown-name]; allowed: debug, info, warn, error
c.yaml:4:17: queue is 1, and must be from 16 to 1048576 [out-of-range]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, got := parse(t, tt.in); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestGood(t *testing.T) {
	for _, tt := range []struct{ name, in string }{
		{"console for everybody who asks", least + `console: {listen: ":8088", allow_plain_http: true}`},
		{"no console", least + `console: {listen: ""}`},
		{"any free port twice", least + "console: {listen: \"127.0.0.1:0\"}\nsources: {push: {listen: \"127.0.0.1:0\"}}"},
		{"one port on two addresses", least + "console: {listen: \"127.0.0.1:514\"}\nsources: {push: {listen: \"10.1.2.3:514\"}}"},
		{"IPv6 loopback", least + `console: {listen: "[::1]:8088"}`},
		{"pin with colons", `server: {url: "https://a:8443/x", username: b, password: {env: C}, pin_sha256: "` + strings.Repeat("AB:", 31) + `AB"}`},
		{"alerts kept just long enough", least + "store: {retention: {alerts: 4d}}\nsources: {poll: {overlap: 3d}}"},
		{"old server", `server: {url: "https://a", username: b, password: {env: C}, api: v0, base_path: /x/services/api/v0}`},
		{"empty sections", least + "sources:\nsinks:\nplaybooks:\nstore:\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, problems := parse(t, tt.in); problems != "" {
				t.Error(problems)
			}
		})
	}
}

func TestPathsAreRelativeToTheFile(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"erbridge.yaml": `{server: {url: "https://a", username: b, password: {file: pw}, ca_file: ca.pem}, store: {path: data}, playbooks: {dir: books}}`,
		"pw":            "s3cret\n", "ca.pem": "", "books/a.yaml": "",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := Load(filepath.Join(dir, "erbridge.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Store.Path != filepath.Join(dir, "data") || cfg.Playbooks.Dir != filepath.Join(dir, "books") || cfg.Server.CAFile != filepath.Join(dir, "ca.pem") {
		t.Errorf("paths: %q %q %q", cfg.Store.Path, cfg.Playbooks.Dir, cfg.Server.CAFile)
	}
	if pw, err := cfg.Server.Password.Reveal(); err != nil || pw != "s3cret" {
		t.Errorf("password: %q, %v", pw, err)
	}
}

func TestAbsentFileIsNoProblemOfItsText(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "absent.yaml"))
	if !errors.Is(err, ErrUnreadable) || !errors.Is(err, fs.ErrNotExist) || IsProblem(err) {
		t.Errorf("absent file: %v", err)
	}
	if _, err := Load(t.TempDir()); !errors.Is(err, ErrUnreadable) {
		t.Errorf("a folder: %v", err)
	}
	if !IsProblem(registry.Problems{{Message: "x"}}) {
		t.Error("problems are not recognised")
	}
}

// Reload compares sections: what means the same has to look the same.
func TestSectionIgnoresNotation(t *testing.T) {
	a, problems := parse(t, least+"sinks:\n  # screen\n  screen: {type: stdout, format: json}\n")
	if problems != "" {
		t.Fatal(problems)
	}
	b, problems := parse(t, least+"log: {level: warn}\nsinks:\n  screen:\n    format: \"json\"\n    type: stdout\n")
	if problems != "" {
		t.Fatal(problems)
	}
	if a.Section("sinks", "screen") != b.Section("sinks", "screen") || a.Section("sinks", "screen") == "" {
		t.Errorf("%s differs from %s", a.Section("sinks", "screen"), b.Section("sinks", "screen"))
	}
	if a.Section("log") == b.Section("log") {
		t.Error("another log level was not seen")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(least))
	f.Add([]byte(least + `sinks: {a: {type: stdout, when: ".x"}}`))
	f.Add([]byte(least + `sources: {push: {listen: ":514"}, webhook: {listen: ":1", senders: {a: {map: .}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := Parse("c.yaml", data)
		if (cfg == nil) == (err == nil) {
			t.Errorf("Parse = %v, %v", cfg, err)
		}
		if err != nil && !IsProblem(err) {
			t.Errorf("an error without place: %v", err)
		}
	})
}
