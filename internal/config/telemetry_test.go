package config

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestTelemetrySettings(t *testing.T) {
	const server = `server: {url: "https://er.example.org", username: u, password: {env: P}}` + "\n"
	push := func(telemetry string) string {
		return server + "sources: {push: {listen: \":514\", telemetry: " + telemetry + "}}\n"
	}
	const lake = "sinks: {lake: {type: file, path: rows.ndjson, events: [telemetry]}}\n"
	cfg, problems := parse(t, push(`{when: '.row.query == "dns"'}`)+lake)
	if problems != "" {
		t.Fatal(problems)
	}
	got := cfg.Sources.Push.Telemetry
	if got == nil || got.When.Value != `.row.query == "dns"` || got.MaxRate != 1000 || got.MaxQueue != 16384 || got.MaxStored != 5_000_000 ||
		cfg.Store.Retention.Telemetry != time.Hour {
		t.Errorf("telemetry %+v, kept for %s", got, cfg.Store.Retention.Telemetry)
	}
	if cfg, _ := parse(t, server+"sources: {push: {listen: \":514\"}}\n"); cfg == nil || cfg.Sources.Push.Telemetry != nil {
		t.Error("telemetry is on without being asked for")
	}
	for _, tt := range []struct{ name, in, want string }{
		{"for nobody", push("{}") + "sinks: {chat: {type: file, path: a}}\n", "no sink delivers telemetry"},
		{"bad jq", push("{when: '.row ='}") + lake, "when: "},
		{"bad number", push("{max_rate: 0}") + lake, "max_rate is 0"},
		{"too little room", push("{max_rate: 5000}") + lake, "max_stored is 5000000, and 5000 rows a second for 1h0m0s are 18000000"},
		{"room for a shorter time", push("{max_rate: 5000}") + lake + "store: {retention: {telemetry: 10m}}\n", ""},
		{"kept for no time", server + "store: {retention: {telemetry: 0s}}\n", "telemetry must be longer than nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, got := parse(t, tt.in); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// What the pages on sinks show, can be written like that.
func TestSinksInTheDocs(t *testing.T) {
	for page, want := range map[string]int{"telemetry.md": 1, "sinks.md": 3, "forward-to-a-siem.md": 4, "quiet.md": 5} {
		text, err := os.ReadFile("../../docs/howto/" + page)
		if err != nil {
			t.Fatal(err)
		}
		blocks := strings.Split(string(text), "```yaml\n")[1:]
		if len(blocks) != want {
			t.Errorf("%s shows %d settings", page, len(blocks))
		}
		for _, block := range blocks {
			block, _, _ = strings.Cut(block, "```")
			if _, err := Parse(page, []byte("server: {url: \"https://er.example.org\", username: soc, password: {env: ER_PASSWORD}}\n"+block)); err != nil {
				t.Errorf("%s%v", block, err)
			}
		}
	}
}
