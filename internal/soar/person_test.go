package soar

import "testing"

func TestSigned(t *testing.T) {
	for _, tt := range []struct {
		name string
		user SystemUser
		want string
	}{
		{"alice", SystemUser{1000, "al"}, "alice (uid 1000 al)"},
		{"al", SystemUser{1000, "al"}, "al (uid 1000)"},
		{"alice", SystemUser{1000, ""}, "alice (uid 1000)"},
		{"alice (uid 0 root)", SystemUser{1000, "al"}, "alice (uid 1000 al)"}, // she says so herself
		{"alice (uid x) (uid 0 root)", SystemUser{1000, "al"}, "alice (uid 1000 al)"},
		{"", SystemUser{0, "root"}, " (uid 0 root)"},
	} {
		got := Signed(tt.name, tt.user)
		if got != tt.want {
			t.Errorf("%q by %v: %q, want %q", tt.name, tt.user, got, tt.want)
		}
		name, user, ok := ParseSigned(got)
		if again := Signed(name, user); !ok || user.UID != tt.user.UID || again != got {
			t.Errorf("%q is read as %q, %+v, %t", got, name, user, ok)
		}
	}
	if name, user, ok := ParseSigned("alice"); name != "alice" || ok || user != (SystemUser{}) {
		t.Errorf("a name alone: %q, %+v, %t", name, user, ok)
	}
}
