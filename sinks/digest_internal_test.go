package sinks

import "testing"

func TestDigestWords(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{severityWords(map[string]int{"info": 40, "high": 6, "critical": 7, "low": 1}), "7 critical, 6 high, 1 low, 40 info"},
		{severityWords(nil), ""},
		{topWords(map[string]int{"a": 1, "b": 5, "c": 2, "d": 3}, 2), "5 b, 3 d, 3 from 2 others"},
		{topWords(map[string]int{"b": 1, "a": 1}, 2), "1 a, 1 b"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}
