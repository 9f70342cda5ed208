package main

import (
	"io"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/daemon"
)

func TestAgree(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"y\n", ""}, {"YES\n", ""}, {"yes", ""},
		{"\n", "nothing was started"}, {"n\n", "nothing was started"}, {"yess\n", "nothing was started"},
		{"", "nobody is there to ask; --yes runs it without asking"},
	} {
		got := ""
		if err := agree(strings.NewReader(tt.in), io.Discard, daemon.RunStart{Playbook: "p"}); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("answer %q: %q, want %q", tt.in, got, tt.want)
		}
	}
}
