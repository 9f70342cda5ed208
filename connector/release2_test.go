package connector

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const oldConfigs = `{"status":"success","data":{"windows":{"x86_64":{
	"1":{"status":true,"filters":{"a":1},"queries":{"q":{"query":"select 1;","interval":60,"status":true},"r":{"interval":5,"status":false}}},
	"deep":{"status":"false","filters":null,"queries":{}}}},
	"linux":{"x86_64":{"0":{"status":true,"filters":{},"queries":null},"7":{}}}}}`

func TestRelease2ConfigsOdd(t *testing.T) {
	s := &script{t: t, answers: map[string]string{"GET /configs/all": oldConfigs}}
	configs, err := s.client().Release2.Configs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range configs {
		names = append(names, c.String())
	}
	if got := strings.Join(names, "; "); got != "linux x86_64 default; linux x86_64 7; windows x86_64 shallow; windows x86_64 deep" {
		t.Error(got)
	}
	s.answers["GET /configs/all"] = `{"status":"success"}` // as release 2.1.2 writes {}
	if configs, err = s.client().Release2.Configs(t.Context()); err != nil || len(configs) != 0 {
		t.Error(configs, err)
	}
	s.answers["GET /configs/all"] = `{"status":"success","data":[]}`
	if _, err = s.client().Release2.Configs(t.Context()); !errors.Is(err, ErrNotJSON) {
		t.Error(err)
	}
}

func TestRelease2ModifyConfigSends(t *testing.T) {
	s := &script{t: t, answers: map[string]string{"GET /configs/all": oldConfigs, "POST /configs/update": `{"status":"success"}`}}
	key := OldConfigKey{Platform: "windows", Type: "shallow"}
	_, err := s.client().Release2.ModifyConfig(t.Context(), key, always(func(c *OldConfig) {
		q := c.Queries["q"]
		q.Interval = time.Hour
		c.Queries["q"] = q
	}))
	if err != nil {
		t.Fatal(err)
	}
	// The filters go along, because they are replaced.
	s.last("POST /configs/update", `{"platform":"windows","arch":"x86_64","type":"shallow","queries":{"q":{"status":true,"interval":3600}},"filters":{"a":1}}`)
	for name, change := range map[string]func(*OldConfig){
		"type":  func(c *OldConfig) { c.Type = "deep" },
		"SQL":   func(c *OldConfig) { c.Queries["q"] = ConfigQuery{SQL: "select 2;", Interval: time.Hour} },
		"other": func(c *OldConfig) { delete(c.Queries, "q"); c.Queries["new"] = ConfigQuery{Interval: time.Hour} },
	} {
		if _, err := s.client().Release2.ModifyConfig(t.Context(), key, always(change)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = s.client().Release2.ModifyConfig(t.Context(), OldConfigKey{Platform: "darwin", Type: "default"}, always(func(*OldConfig) {}))
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "linux x86_64 default") {
		t.Error(err)
	}
	if got := s.writes(); len(got) != 1 {
		t.Errorf("sent %q", got)
	}
}

func TestRelease2OptionsMergeKeepsAll(t *testing.T) {
	s := &script{t: t, answers: map[string]string{
		"GET /options":      `{"status":"success","data":{"empty":"","none":null,"list":[],"big":12345678901234567890,"old":1}}`,
		"POST /options/add": `{"status":"success"}`,
	}}
	if err := s.client().Release2.MergeOptions(t.Context(), map[string]any{"old": 2}); err != nil {
		t.Fatal(err)
	}
	if got := s.sent[len(s.sent)-1]; got != `POST /options/add {"option":{"big":12345678901234567890,"empty":"","list":[],"none":null,"old":2}}` {
		t.Error(got)
	}
	s.answers["GET /options"] = `{"status":"success","data":"text"}`
	if err := s.client().Release2.MergeOptions(t.Context(), map[string]any{"old": 2}); !errors.Is(err, ErrNotJSON) {
		t.Error(err)
	}
	if err := s.client().Release2.MergeOptions(t.Context(), nil); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

func TestRelease2Refused(t *testing.T) {
	s := &script{t: t}
	c, ctx := s.client().Release2, t.Context()
	for _, tt := range []struct {
		name string
		err  error
		is   error
		text string
	}{
		{"days", c.DeleteResults(ctx, -1, PurgeOldData), ErrInvalid, "1 to"},
		{"many days", c.DeleteResults(ctx, 1<<40, PurgeOldData), ErrInvalid, "1 to"},
		{"consent", c.DeleteResults(ctx, 1, ""), ErrInvalid, "purge old data"},
		{"options without consent", c.SetOptions(ctx, map[string]any{"a": 1}, ""), ErrInvalid, "replace everything"},
		{"platform", c.ToggleConfig(ctx, OldConfigKey{Platform: "win", Type: "deep"}), ErrInvalid, "windows, linux, darwin"},
		{"no type", c.ToggleConfig(ctx, OldConfigKey{Platform: "windows"}), ErrInvalid, "type is empty"},
		{"arch", c.ToggleConfig(ctx, OldConfigKey{Platform: "windows", Arch: "arm64", Type: "deep"}), ErrInvalid, "x86, x86_64"},
		{"no filters", c.UpdateConfig(ctx, OldConfigKey{Platform: "windows", Type: "deep"}, nil, nil), ErrInvalid, "filters"},
		{"interval", c.UpdateConfig(ctx, OldConfigKey{Platform: "windows", Type: "deep"}, map[string]ConfigQuery{"q": {}}, []byte("{}")), ErrInvalid, "interval"},
		{"no host", func() error { _, err := c.HostConfig(ctx, " "); return err }(), ErrEmptyTarget, "no target"},
	} {
		if !errors.Is(tt.err, tt.is) || !strings.Contains(tt.err.Error(), tt.text) {
			t.Errorf("%s: %v", tt.name, tt.err)
		}
	}
	if len(s.sent) != 0 {
		t.Errorf("sent %q", s.sent)
	}
}
