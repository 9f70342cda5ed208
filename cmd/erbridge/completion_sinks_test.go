package main

import (
	"strings"
	"testing"
)

func TestSinksAreCompleted(t *testing.T) {
	config := deliveries(t)
	for _, tt := range []struct {
		line       []string
		want, none string
	}{
		{[]string{"sinks", "pause", "-c", config, ""}, "siem\t", ""},
		{[]string{"sinks", "pause", "-c", config, "siem", ""}, "soc\t", "siem"},
		{[]string{"sinks", "replay", "-c", config, ""}, "siem\t", ""},
		{[]string{"sinks", "replay", "-c", config, "soc", ""}, "", "siem"},
		{[]string{"sinks", "replay", "-c", config, "soc", "--type", ""}, "run.finished\n", "siem"},
		{[]string{"silences", "add", "-c", config, "--sink", ""}, "siem\t", ""},
		{[]string{"deadletters", "list", "-c", config, "--sink", ""}, "siem\t", ""},
		{[]string{"deadletters", "replay", "-c", config, "--sink", ""}, "siem\t", ""},
		{[]string{"format", "preview", "-c", config, "--sink", ""}, "siem\t", ""},
		{[]string{"format", "preview", "--format", ""}, "ocsf\t", "template"},
		{[]string{"format", "preview", "--event", ""}, "undo.soon\n", "siem"},
		{[]string{"route", "test", "--event", ""}, "undo.soon\n", "siem"},
		{[]string{"sinks", "test", "-c", "none.yaml", ""}, "", "siem"},
	} {
		stdout, stderr, code := erbridge(t, "", append([]string{"__complete"}, tt.line...)...)
		if code != exitOK || !strings.Contains(stdout, tt.want) || tt.none != "" && strings.Contains(stdout, tt.none) || !strings.HasSuffix(stdout, ":4\n") {
			t.Errorf("%q: exit code %d\n%s%s\nwant %q and not %q, and no files", tt.line, code, stdout, stderr, tt.want, tt.none)
		}
	}
}
