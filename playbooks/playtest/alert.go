package playtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

const maxFixtureBytes = 1 << 20

// bare is what an alert has that says nothing else.
var bare = map[string]any{
	"server": "er", "id": "1", "source": "rule", "severity": "medium", "status": soar.StatusOpen,
	"created_at": "2026-01-01T00:00:00Z", "event": map[string]any{},
}

var severities = []string{string(soar.SeverityInfo), string(soar.SeverityLow), string(soar.SeverityMedium), string(soar.SeverityHigh), string(soar.SeverityCritical)}

// fixture reads an alert that a test file names or holds.
func (s *suite) fixture(f *Fixture) (map[string]any, registry.Problems) {
	object := f.Inline
	if f.Path != "" {
		data, err := s.place.read(path.Join(path.Dir(s.name), f.Path))
		if err != nil {
			return nil, registry.Problems{{Position: f.At, Code: "alert", Message: fmt.Sprintf("alert: %v", err)}}
		}
		if object, err = readFixture(data); err != nil {
			return nil, registry.Problems{{Position: f.At, Code: "alert", Message: fmt.Sprintf("alert %s: %v", f.Path, err)}}
		}
	}
	if _, err := decodeAlert(object); err != nil {
		return nil, registry.Problems{{Position: f.At, Code: "alert", Message: "not an alert: " + err.Error()}}
	}
	return object, nil
}

// ReadAlert reads what a test takes for an alert, as JSON or YAML: the alert by itself,
// or as `alerts show` prints it, with the time at which it came in. What it leaves out
// is as in tests.
func ReadAlert(data []byte) (alert soar.Alert, received time.Time, err error) {
	whole, err := readMapping(data)
	if err != nil {
		return alert, received, err
	}
	object := whole
	if inner, ok := whole["alert"].(map[string]any); ok {
		object = inner
		if text, ok := whole["received_at"].(string); ok {
			if received, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return alert, received, fmt.Errorf("received_at: %w", err)
			}
		}
	}
	if len(object) == 0 {
		return alert, received, errors.New("it is empty, and says nothing to begin with")
	}
	alert, err = decodeAlert(object)
	return alert, received, err
}

// readFixture takes an alert by itself, or as `alerts show` prints it. YAML holds JSON.
func readFixture(data []byte) (map[string]any, error) {
	object, err := readMapping(data)
	if inner, ok := object["alert"].(map[string]any); ok {
		return inner, err
	}
	return object, err
}

func readMapping(data []byte) (map[string]any, error) {
	if len(data) > maxFixtureBytes {
		return nil, fmt.Errorf("larger than %d bytes", maxFixtureBytes)
	}
	root, problems := registry.Parse("", data)
	if problems != nil {
		return nil, errors.New(problems[0].Message)
	}
	if root.Kind != yaml.MappingNode {
		return nil, errors.New("expected a mapping")
	}
	var object map[string]any
	if problems := registry.Decode("", root, &object); problems != nil {
		return nil, errors.New(problems[0].Message)
	}
	return object, nil
}

// decodeAlert makes an alert of its fields. What they leave out has defaults.
func decodeAlert(object map[string]any) (soar.Alert, error) {
	all := maps.Clone(bare)
	maps.Copy(all, object)
	if _, ok := object["event_time"]; !ok {
		all["event_time"] = all["created_at"]
	}
	columns, _ := all["event"].(map[string]any)
	for _, name := range sortedKeys(columns) {
		if _, ok := columns[name].(string); !ok {
			return soar.Alert{}, fmt.Errorf("event.%s is no text: put quotes around it", name)
		}
	}
	data, err := json.Marshal(all)
	if err != nil {
		return soar.Alert{}, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var alert soar.Alert
	if err := d.Decode(&alert); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return alert, fmt.Errorf("%s cannot be a %s", wrong.Field, wrong.Value)
		}
		return alert, err
	}
	near := registry.Nearest(string(alert.Severity), severities)
	switch {
	case alert.ID == "":
		return alert, errors.New("id is empty")
	case alert.Server == "":
		return alert, errors.New("server is empty")
	case near != "" && near != string(alert.Severity): // an odd one is let through: alerts may have it
		return alert, fmt.Errorf("severity %q: did you mean %q?", alert.Severity, near)
	}
	return alert, nil
}

// merged lays a patch over a value: RFC 7396. Nothing that is handed in changes.
func merged(base, patch map[string]any) map[string]any {
	out := maps.Clone(base)
	if out == nil {
		out = map[string]any{}
	}
	for name, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(out, name)
		case map[string]any:
			inner, _ := out[name].(map[string]any)
			out[name] = merged(inner, value)
		default:
			out[name] = value
		}
	}
	return out
}
