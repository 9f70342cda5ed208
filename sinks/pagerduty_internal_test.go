package sinks

import (
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
)

func TestPagerDutyRegion(t *testing.T) {
	for region, want := range map[string]string{
		"us": "https://events.pagerduty.com/v2/enqueue", "eu": "https://events.eu.pagerduty.com/v2/enqueue",
	} {
		sink, err := openPagerDuty(PagerDutySettings{RoutingKey: soar.SecretValue("k"), Region: region}, Env{})
		if err != nil {
			t.Fatal(err)
		}
		if got := sink.(*pagerDuty).url; got != want {
			t.Errorf("region %s goes to %s, want %s", region, got, want)
		}
	}
}
