package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

func testValues(t *testing.T, open Opener) {
	t.Run("small values", func(t *testing.T) {
		var clock clock
		b := open(t, store.Options{Now: clock.now})
		commit(t, b, soar.Change{KV: []soar.KV{
			{Key: "cooldown/a", Value: "1"}, {Key: "cooldown/b", Value: "2", Expires: epoch.Add(time.Hour)}, {Key: "cooldowns", Value: "3"},
			{Key: "cooldown/%_", Value: "4"}, {Key: "switch", Value: "on\x00off"}, {Key: "\xff\xff", Value: "5"},
		}})
		list := func(prefix string) []string {
			return names(must(b.KV(t.Context(), prefix))(t), func(kv soar.KV) string { return kv.Key + "=" + kv.Value })
		}
		for _, tt := range []struct {
			prefix string
			want   []string
		}{
			{"cooldown/", []string{"cooldown/%_=4", "cooldown/a=1", "cooldown/b=2"}},
			{"cooldown/%", []string{"cooldown/%_=4"}},
			{"\xff", []string{"\xff\xff=5"}},
			{"switch", []string{"switch=on\x00off"}},
			{"none", []string{}},
		} {
			if got := list(tt.prefix); !slices.Equal(got, tt.want) {
				t.Errorf("KV(%q) = %q, want %q", tt.prefix, got, tt.want)
			}
		}
		if got := list(""); len(got) != 6 {
			t.Errorf("all: %q", got)
		}
		commit(t, b, soar.Change{KV: []soar.KV{{Key: "cooldown/a"}, {Key: "cooldown/%_", Value: "new"}}})
		clock.moveTo(time.Hour)
		if got := list("cooldown/"); !slices.Equal(got, []string{"cooldown/%_=new"}) {
			t.Errorf("after deletion and expiry: %q", got)
		}
	})

	t.Run("cursors of sources", func(t *testing.T) {
		b := open(t, store.Options{})
		if got, err := b.Cursor(t.Context(), "poll"); got != nil || err != nil {
			t.Errorf("no cursor: %q, %v", got, err)
		}
		for _, value := range []string{`{"id":1}`, `{"id":2}`} {
			commit(t, b, soar.Change{Cursors: []soar.Cursor{{Source: "poll", Value: []byte(value)}}})
			if got := must(b.Cursor(t.Context(), "poll"))(t); string(got) != value {
				t.Errorf("%q, want %q", got, value)
			}
		}
	})

	t.Run("playbooks", func(t *testing.T) {
		b := open(t, store.Options{})
		commit(t, b, soar.Change{Playbooks: []soar.PlaybookVersion{{Hash: "5f", Name: "contain", Source: []byte("steps: []")}}})
		commit(t, b, soar.Change{Playbooks: []soar.PlaybookVersion{{Hash: "5f", Name: "other", Source: []byte("else")}}})
		got := must(b.PlaybookVersion(t.Context(), "5f"))(t)
		if got.Name != "contain" || string(got.Source) != "steps: []" {
			t.Errorf("%+v", got)
		}
		if _, err := b.PlaybookVersion(t.Context(), "60"); !errors.Is(err, soar.ErrNotFound) {
			t.Errorf("unknown version: %v", err)
		}
	})
}
