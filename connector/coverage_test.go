package connector_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/catalogue"
)

// crossings are the tests of all calls, by id.
var crossings = []map[string]cross{crossGeneral, crossHosts, crossAlerts, crossConfig, crossSearch, crossV0}

// TestCoverage goes through the catalogue. An entry without a method of the client,
// without a route of the simulator, or without a test that makes the call from the
// one to the other fails.
func TestCoverage(t *testing.T) {
	tests := map[string]cross{}
	for _, some := range crossings {
		for id, one := range some {
			if _, twice := tests[id]; twice {
				t.Errorf("%s has two tests", id)
			}
			if catalogue.Find(id) == nil {
				t.Errorf("%s is not in the catalogue", id)
			}
			tests[id] = one
		}
	}
	all, good := map[string]int{}, map[string]int{}
	for _, section := range catalogue.Sections() {
		for i := range section.Calls {
			call := &section.Calls[i]
			all[call.Group()]++
			covered := false // also when -run leaves it out
			t.Run(call.Group()+"/"+call.ID, func(t *testing.T) {
				for _, method := range call.Client {
					if !hasMethod(method) {
						t.Errorf("the client has no method %s", method)
					}
				}
				one, ok := tests[call.ID]
				if !ok {
					t.Fatal("no test makes this call")
				}
				r := newCrossRig(t, one)
				one.test(r)
				if n := r.sim.Calls()[call.ID]; n == 0 {
					t.Errorf("the simulator was not asked; it was asked for %s", strings.Join(slices.Sorted(maps.Keys(r.sim.Calls())), ", "))
				}
				if !r.made(call.ID) {
					t.Error("the client does not count the call under its id")
				}
				covered = !t.Failed()
			})
			if covered {
				good[call.Group()]++
			}
		}
	}
	for _, group := range slices.Sorted(maps.Keys(all)) {
		t.Logf("%s %d/%d", group, good[group], all[group])
	}
}

// hasMethod reports whether the client has a method such as Hosts.Page or Login.
func hasMethod(name string) bool {
	v := reflect.ValueOf(&connector.Client{})
	section, method, ok := strings.Cut(name, ".")
	if !ok {
		return v.MethodByName(name).IsValid()
	}
	field := v.Elem().FieldByName(section)
	return field.IsValid() && field.MethodByName(method).IsValid()
}
