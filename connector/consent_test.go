package connector

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/connector/catalogue"
)

// Each method of a call that destroys asks for consent, but for those that read what is
// there first, and write it again with what they add.
func TestDestroyingCallsTakeConsent(t *testing.T) {
	client, consent := reflect.TypeFor[*Client](), reflect.TypeFor[Consent]()
	keeping := []string{"IOCs.Merge", "Rules.Modify", "Release2.MergeOptions"}
	methods := 0
	for _, s := range catalogue.Sections() {
		for _, c := range s.Calls {
			if c.Effect != catalogue.Destroys {
				continue
			}
			for _, name := range c.Client {
				service, method, inService := strings.Cut(name, ".")
				of := client
				if inService {
					field, ok := client.Elem().FieldByName(service)
					if !ok {
						t.Fatalf("%s: there is no %s", c.ID, service)
					}
					of = field.Type
				} else {
					method = name
				}
				m, ok := of.MethodByName(method)
				if !ok {
					t.Fatalf("%s: there is no %s", c.ID, name)
				}
				methods++
				if takes := slices.Contains(slices.Collect(m.Type.Ins()), consent); takes == slices.Contains(keeping, name) {
					t.Errorf("%s: %s takes consent: %v", c.ID, name, takes)
				}
			}
		}
	}
	if methods == 0 {
		t.Error("no call destroys")
	}
}
