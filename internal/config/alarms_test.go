package config

import "testing"

func TestAlarmMistakes(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"{no_alerts_for: 6h, no_alerts_from: {er: 1h}}", ""},
		{"{no_alerts_for: 5s}", "c.yaml:2:25: 5s is too short, 1m is the least [out-of-range]; 0 is no alarm"},
		{"{no_alerts_from: {ers: 1h}}", `c.yaml:2:32: no alerts come from "ers" [unknown-name]; there are er`},
	} {
		if _, got := parse(t, least+"alarms: "+tt.in); got != tt.want {
			t.Errorf("alarms: %s\n got %s\nwant %s", tt.in, got, tt.want)
		}
	}
}
