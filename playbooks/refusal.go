package playbooks

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Refusal is what an action says of evaluated arguments that it does not take; nil when
// it takes them. Do says the same then, and sends nothing.
func Refusal(action Action, with map[string]any) error {
	source := StepSource{With: make(map[string]json.RawMessage, len(with))}
	for name, value := range with {
		data, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		source.With[name] = data
	}
	var refusals []error
	for _, p := range action.Check("", source) {
		refusals = append(refusals, errors.New(p.Message))
	}
	return errors.Join(refusals...)
}
