package format

import (
	"encoding/json"
	"testing"
)

// Searches by source type and by time find the same, whichever way an event took into Splunk.
func TestHECAndCIMAgree(t *testing.T) {
	type told struct {
		Time       json.Number `json:"time"`
		Sourcetype string      `json:"sourcetype"`
	}
	want := map[string]string{
		"process": "eclecticiq:er:alert", "grouped": "eclecticiq:er:alert", "outcome": "eclecticiq:er:outcome",
		"row_process": "eclecticiq:er:telemetry", "trouble": "eclecticiq:er:connector",
	}
	for name, ev := range cases() {
		var hec, cim told
		if err := json.Unmarshal(HEC(&ev, HECOptions{}), &hec); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(CIM(&ev, Options{}), &cim); err != nil {
			t.Fatal(err)
		}
		if hec != cim {
			t.Errorf("%s: through the collector %v, else %v", name, hec, cim)
		}
		if sourcetype := want[name]; sourcetype != "" && hec.Sourcetype != sourcetype {
			t.Errorf("%s: source type %q, want %q", name, hec.Sourcetype, sourcetype)
		}
	}
}
