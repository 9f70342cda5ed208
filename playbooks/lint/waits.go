package lint

import (
	"fmt"

	"github.com/erbridge/erbridge/internal/registry"
)

// waits finds steps whose own time-out ends them before the time has passed that they
// are to let pass.
func waits(b *book) {
	for _, s := range b.steps {
		action := b.action(s)
		if action == nil || !action.Spec().Waits {
			continue
		}
		long, err := registry.ParseDuration(value(s.with["for"]))
		if err != nil {
			continue
		}
		n := get(s.node, "timeout")
		if timeout, err := registry.ParseDuration(value(n)); err == nil && timeout <= long {
			b.add(n, "PB509", fmt.Sprintf("the step ends after %s, and is to wait for %s", value(n), value(s.with["for"])), "leave timeout out: what the step waits for ends it")
		}
	}
}
