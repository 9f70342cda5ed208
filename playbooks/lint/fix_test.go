package lint_test

import (
	"strings"
	"testing"

	"github.com/erbridge/erbridge/playbooks/lint"
)

func TestFix(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"comments and formatting stay",
			"# about it\nplaybook:   p   # the name\n\ndescripton: 'it''s'  # why\nsteps:\n    - do:   alert.note\n      wiht:  {  text: x }   # what\n",
			"# about it\nplaybook:   p   # the name\n\ndescription: 'it''s'  # why\nsteps:\n    - do:   alert.note\n      with:  {  text: x }   # what\n"},
		{"one mistake hides another",
			"\uFEFFplaybook: p\nsteps:\n\t- do: alert.note\n\t  wiht: {txt: 2026}\n",
			"playbook: p\nsteps:\n  - do: alert.note\n    with: {text: \"2026\"}\n"},
		{"line ends stay",
			"playbook: p\r\ndescription: 2026\r\nsteps:\r\n  - {do: alert.note, with: {text: x}}\r\n",
			"playbook: p\r\ndescription: \"2026\"\r\nsteps:\r\n  - {do: alert.note, with: {text: x}}\r\n"},
		{"expressions",
			"playbook: p\nmatch:\n  all:\n    - a: ${{ .alert.event.pid == 4 }}\n    - b: \"${{ .alert.event.user == \\\"x\\\" }}\"\nsteps:\n  - {do: host.get, with: {host: .alert.host.identifier}}\n  - do: alert.note\n    with: {text: '.alert.event.name // \"\"'}\n",
			"playbook: p\nmatch:\n  all:\n    - a: \".alert.event.pid == \\\"4\\\"\"\n    - b: '.alert.event.user == \"x\"'\nsteps:\n  - {do: host.get, with: {host: \"${{ .alert.host.identifier }}\"}}\n  - do: alert.note\n    with: {text: '${{ .alert.event.name // \"\" }}'}\n"},
		{"braces of another tool", "playbook: p\nsteps:\n  - do: alert.note\n    with:\n      text: |\n        on {{ .alert.host.name }}, by {{ .alert.id }}; {{ this }} stays\n", "playbook: p\nsteps:\n  - do: alert.note\n    with:\n      text: |\n        on ${{ .alert.host.name }}, by ${{ .alert.id }}; {{ this }} stays\n"},
		{"several on one line",
			"playbook: p\nmatch:\n  all:\n    - a: .alert.event.pid == 4 and .alert.event.ppid == 4 and 4 == .alert.event.uid\n    - b: .alert.event.x4 == \"4\" and .alert.event.y == 4 or .alert.event.x4 == 4\nsteps: [{do: alert.note, with: {text: x}}]\n",
			"playbook: p\nmatch:\n  all:\n    - a: .alert.event.pid == \"4\" and .alert.event.ppid == \"4\" and \"4\" == .alert.event.uid\n    - b: .alert.event.x4 == \"4\" and .alert.event.y == \"4\" or .alert.event.x4 == \"4\"\nsteps: [{do: alert.note, with: {text: x}}]\n"},
		{"numbers as they are written", "playbook: p\nsteps:\n  - {do: host.tag, with: {host: 0x10, tag: 007}}\n  - {do: host.tag, with: {host: h, tag: 1_000}}\n  - {do: host.tag, with: {host: h, tag: True}}\n", "playbook: p\nsteps:\n  - {do: host.tag, with: {host: \"0x10\", tag: \"007\"}}\n  - {do: host.tag, with: {host: h, tag: \"1_000\"}}\n  - {do: host.tag, with: {host: h, tag: \"True\"}}\n"},
		{"nothing is not the word null", "playbook: p\nsteps: [{do: alert.note, with: {text: null}}]\n", ""},
		{"techniques", "playbook: p\nattack: [t1490, \"t1059.001\"]\nsteps: [{do: alert.note, with: {text: x}}]\n", "playbook: p\nattack: [T1490, \"T1059.001\"]\nsteps: [{do: alert.note, with: {text: x}}]\n"},
		{"comments that suppress nothing",
			"playbook: p\nsteps:\n  # stays\n  # lint:ignore PB505 long gone\n  - {do: alert.note, with: {text: x}} # lint:ignore PB504 never was\n",
			"playbook: p\nsteps:\n  # stays\n  - {do: alert.note, with: {text: x}}\n"},
		{"the right key stands there already", "playbook: p\nmode: observe\nmoed: enforce\nsteps: [{do: alert.note, with: {text: x}}]\n", ""},
		{"actions and modes are not guessed", "playbook: p\nmode: enforced\nsteps: [{do: alert.nte, with: {text: x}}]\n", ""},
		{"nothing to do", "playbook: p\nsteps: [{do: alert.note, with: {text: x}}]\n", ""},
		{"a tab that ends a text", "playbook: p\ndescription: |\n  a\n\tb\nsteps: [{do: alert.note, with: {text: x}}]\n", "playbook: p\ndescription: |\n  a\n  b\nsteps: [{do: alert.note, with: {text: x}}]\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := lint.File{Name: "p.yaml", Data: []byte(tt.in)}
			fixed := lint.Fix([]lint.File{file}, nil, known())
			switch {
			case tt.want == "" && len(fixed) > 0:
				t.Errorf("changed to\n%s", fixed[0].Data)
			case tt.want != "" && (len(fixed) != 1 || string(fixed[0].Data) != tt.want):
				t.Errorf("got\n%s\nwant\n%s", fixed, tt.want)
			case string(file.Data) != tt.in:
				t.Error("the file that was handed in has changed")
			}
		})
	}
}

// No correction makes anything of the corpus worse, and a second one changes
// nothing more.
func TestFixOfTheCorpus(t *testing.T) {
	changed := 0
	for name, files := range corpus(t) {
		before := len(lint.Run(files, nil, known()))
		fixed := lint.Fix(files, nil, known())
		for _, f := range fixed {
			changed++
			for i := range files {
				if files[i].Name == f.Name {
					files[i] = f
				}
			}
		}
		if after := len(lint.Run(files, nil, known())); after > before && !strings.HasPrefix(name, "tab") && !strings.HasPrefix(name, "byte-order") {
			t.Errorf("%s: %d findings became %d", name, before, after)
		}
		if again := lint.Fix(files, nil, known()); len(again) > 0 {
			t.Errorf("%s: corrected twice", name)
		}
	}
	if changed < 15 {
		t.Errorf("%d files were corrected", changed)
	}
}
