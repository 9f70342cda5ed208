package registry

import (
	"slices"
	"testing"
)

func TestNear(t *testing.T) {
	names := []string{"hosts-list", "hosts-tags-list", "hosts-tags-add", "alerts-list", "smtpPort"}
	for _, tt := range []struct {
		word  string
		limit int
		want  []string
	}{
		{"host-list", 3, []string{"hosts-list", "hosts-tags-list"}},
		{"alert-list", 1, []string{"alerts-list"}},
		{"tags hosts", 3, []string{"hosts-tags-list", "hosts-tags-add"}},
		{"list", 1, []string{"hosts-list"}},
		{"smtpport", 3, []string{"smtpPort"}},
		{"SMTPPROT", 3, []string{"smtpPort"}},
		{"isolate", 3, nil},
		{"", 3, nil},
	} {
		if got := Near(tt.word, names, tt.limit); !slices.Equal(got, tt.want) {
			t.Errorf("Near(%q) = %q, want %q", tt.word, got, tt.want)
		}
	}
}
