package lint_test

import (
	"slices"
	"testing"
)

func TestSuppression(t *testing.T) {
	const head = "playbook: p\nmatch: {all: [{it is the beacon: '.alert.event.name == \"x\"'}]}\nsteps:\n"
	const why = " the analyst releases it"
	for _, tt := range []struct {
		name, in string
		want     []string
	}{
		{"not suppressed", head + "  - {do: host.contain, with: {host: h}}\n", []string{"PB502"}},
		{"for a time", head + "  - {do: host.contain, with: {host: h, for: 4h}}\n", nil},
		{"on its line", head + "  - {do: host.contain, with: {host: h}} # lint:ignore PB502" + why + "\n", nil},
		{"above the step", head + "  # lint:ignore PB502" + why + "\n  - id: a\n    do: host.contain\n    with: {host: h}\n", nil},
		{"above other comments", head + "  # lint:ignore PB502" + why + "\n\n  # and more\n  - {do: host.contain, with: {host: h}}\n", nil},
		{"above the key", head + "  - id: a\n    # lint:ignore PB502" + why + "\n    do: host.contain\n    with: {host: h}\n", nil},
		{"above all steps", "playbook: p\nmatch: {all: [{a: '.alert.event.name == \"x\"'}]}\n# lint:ignore PB502" + why + "\nsteps:\n- {do: host.contain, with: {host: h}}\n- {do: host.contain, with: {host: h}}\n", nil},
		{"two codes", "playbook: p\nsteps:\n  # lint:ignore PB501,PB502" + why + "\n  - {do: host.contain, with: {host: h}}\n", nil},
		{"above another step", head + "  # lint:ignore PB502" + why + "\n  - {do: alert.note, with: {text: x}}\n  - {do: host.contain, with: {host: h}}\n", []string{"PB502"}},
		{"of a step that is reached", head + "  # lint:ignore PB505 for later\n  - {do: alert.note, with: {text: x}}\n  - {if: false, do: alert.note, with: {text: x}}\n", []string{"PB702", "PB505"}},
		{"what depends on others", "playbook: p # lint:ignore PB602 meant\nsteps: [{do: alert.note, with: {text: x}}]\n", nil},
		{"another code", head + "  - {do: host.contain, with: {host: h}} # lint:ignore PB503" + why + "\n", []string{"PB502", "PB702"}},
		{"without a reason", head + "  - {do: host.contain, with: {host: h}} # lint:ignore PB502\n", []string{"PB502", "PB701"}},
		{"without a code", head + "  - {do: host.contain, with: {host: h}} # lint:ignore\n", []string{"PB502", "PB701"}},
		{"in a block text", head + "  - do: alert.note\n    with:\n      text: |\n        # lint:ignore PB502\n        more\n", nil},
		{"in quotes", head + "  - do: alert.note\n    with: {text: 'a # lint:ignore', alert: 7}\n", nil},
		{"at the end of the file", head + "  - {do: alert.note, with: {text: x}}\n# lint:ignore PB505 nothing comes", []string{"PB702"}},
		{"what the engine refuses", head + "  - {do: alert.nte} # lint:ignore PB401 soon\n", []string{"PB401", "PB702"}},
		{"a word like it", head + "  - {do: alert.note, with: {text: x}} # lint:ignored\n", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := codes(lintOne(tt.in)); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v in\n%s", got, tt.want, tt.in)
			}
		})
	}
}
