package daemon

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
)

// fillNames puts a name into every text called By, and returns how many there are.
func fillNames(v reflect.Value, name string) (n int) {
	for i := range v.NumField() {
		switch field := v.Field(i); {
		case field.Kind() == reflect.Struct && field.CanSet() && field.Type().PkgPath() != "time":
			n += fillNames(field, name)
		case v.Type().Field(i).Name == "By":
			field.SetString(name)
			n++
		}
	}
	return n
}

// names are all texts called By.
func names(v reflect.Value) (list []string) {
	for i := range v.NumField() {
		switch field := v.Field(i); {
		case field.Kind() == reflect.Struct && field.CanSet() && field.Type().PkgPath() != "time":
			list = append(list, names(field)...)
		case v.Type().Field(i).Name == "By":
			list = append(list, field.String())
		}
	}
	return list
}

// Whatever order comes in, the user behind it stands beside the name.
func TestEveryOrderIsSigned(t *testing.T) {
	var call controlCall
	if n := fillNames(reflect.ValueOf(&call).Elem(), "ann (uid 7 eve)"); n < 8 {
		t.Fatalf("%d names only", n)
	}
	call.Vote.User = &soar.SystemUser{UID: 7, Name: "eve"} // as the other side says
	call.sign(context.WithValue(t.Context(), peerKey{}, soar.SystemUser{UID: 1000, Name: "al"}))
	for _, name := range names(reflect.ValueOf(&call).Elem()) {
		if name != "ann (uid 1000 al)" && name != call.Vote.By {
			t.Errorf("an order is signed %q", name)
		}
	}
	if call.Vote.User == nil || call.Vote.User.Name != "al" {
		t.Errorf("a vote is of %v", call.Vote.User)
	}
	call.sign(t.Context())
	if call.Vote.User != nil {
		t.Errorf("where the system says nothing, a vote is of %v", call.Vote.User)
	}
}

// Through the socket: the audit record has the user whom the system knows.
func TestOrdersAreKeptWithTheUser(t *testing.T) {
	s := newSite(t)
	s.configure("")
	d, _ := s.start()
	s.pause("a look")
	told := s.actsOf(d.Store(), "ann")
	if want := SignedHere("ann") + ": kill switch thrown: a look"; len(told) != 1 || told[0] != want {
		t.Errorf("the audit record tells %q, want %q", told, want)
	}
	if own, ok := ownUser(); ok && !strings.Contains(told[0], own.String()) {
		t.Errorf("%q does not name %s", told[0], own)
	}
}
