package actions

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/playbooks/guard"
)

func TestApprovalAskReadsItsQuestion(t *testing.T) {
	asks := All(Deps{})[approvalAsk].Spec().Asks
	got, err := asks(map[string]any{
		"text": "Contain pc-1?", "from": []any{"soc-leads", "ann"}, "not": "requester", "count": 2.0, "expires": "15m", "on_expiry": "approve",
	})
	want := &guard.Question{Text: "Contain pc-1?", From: []string{"soc-leads", "ann"}, NotRequester: true, Count: 2, Expires: 15 * time.Minute, Silence: true}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the question is %+v, %v", got, err)
	}
	got, err = asks(map[string]any{"text": "Contain pc-1?", "expires": "1h"})
	if want := (&guard.Question{Text: "Contain pc-1?", Count: 1, Expires: time.Hour}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the short question is %+v, %v", got, err)
	}
}

func TestApprovalAskRefuses(t *testing.T) {
	asks := All(Deps{})[approvalAsk].Spec().Asks
	for _, tt := range []struct {
		with map[string]any
		want string
	}{
		{map[string]any{"expires": "1h"}, `argument "text" is required`},
		{map[string]any{"text": " ", "expires": "1h"}, "text: is empty"},
		{map[string]any{"text": "x"}, "the approval never expires"},
		{map[string]any{"text": "x", "expires": "0s"}, "expires: must lie between 1s and 7d"},
		{map[string]any{"text": "x", "expires": "8d"}, "expires: must lie between 1s and 7d"},
		{map[string]any{"text": "x", "expires": "1h", "count": 0.0}, "count: must lie between 1 and 20"},
		{map[string]any{"text": "x", "expires": "1h", "not": "ann"}, "ann"},
		{map[string]any{"text": "x", "expires": "1h", "on_expiry": "contain"}, "contain"},
	} {
		if q, err := asks(tt.with); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v asks %+v, %v; want %q", tt.with, q, err, tt.want)
		}
	}
}
