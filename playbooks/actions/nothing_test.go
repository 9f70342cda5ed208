package actions

import (
	"errors"
	"fmt"
	"testing"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
)

// An answer that there is no such thing is known as one; other failures are not.
func TestNoSuchThing(t *testing.T) {
	none := fmt.Errorf("get host: %w", connector.ErrNotFound)
	got := readError(none)
	if !errors.Is(got, soar.ErrNotFound) || !errors.Is(got, connector.ErrNotFound) || got.Error() != none.Error() {
		t.Errorf("readError = %v", got)
	}
	for _, err := range []error{nil, connector.ErrForbidden, connector.ErrUnavailable, errors.New("connection reset")} {
		if errors.Is(readError(err), soar.ErrNotFound) {
			t.Errorf("%v counts as nothing there", err)
		}
	}
}

func TestLiveQueryFoundNothing(t *testing.T) {
	answered := []LiveQueryHost{{Host: "h"}}
	for _, tt := range []struct {
		name string
		out  LiveQueryOutput
		want bool
	}{
		{"no rows", LiveQueryOutput{Hosts: answered, Asked: 1}, true},
		{"rows", LiveQueryOutput{Hosts: answered, Asked: 1, Rows: []map[string]string{{"pid": "1"}}}, false},
		{"nobody was online", LiveQueryOutput{}, false},
		{"not all answered", LiveQueryOutput{Hosts: answered, Asked: 2, Partial: true}, false},
		{"the statement failed", LiveQueryOutput{Hosts: []LiveQueryHost{{Host: "h", Failed: true}}, Asked: 1}, false},
	} {
		if got := tt.out.FoundNothing(); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}
