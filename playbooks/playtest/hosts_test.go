package playtest

import (
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
)

// What a test does not say of a host does not protect it; what it does say, does.
func TestHostsOfATest(t *testing.T) {
	o := &outside{given: []*answer{
		{Given: &Given{Do: "host.get", With: map[string]any{"host": "dc"}, State: "executed", Output: map[string]any{"identifier": "dc", "name": "DC01", "tags": []any{"tier0"}}}},
		{Given: &Given{Do: "host.get", With: map[string]any{"host": "ghost"}, State: "failed"}},
	}}
	alert := &soar.Alert{Host: soar.Host{Identifier: "pc", Name: "PC-1"}}
	for _, tt := range []struct {
		id, name string
		known    bool
		tags     int
	}{
		{"dc", "DC01", true, 1},
		{"ghost", "", false, 0},
		{"pc", "PC-1", true, 0},
		{"another", "", true, 0},
	} {
		got := o.hosts(alert, tt.id)
		if got.ID != tt.id || got.Name != tt.name || got.Known != tt.known || len(got.Tags) != tt.tags || !got.Known && got.Why == "" {
			t.Errorf("%s: %+v", tt.id, got)
		}
	}
}
