package playbooks

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// statusName is the field of the input that tells how look-ups went.
const statusName = "enrich_status"

// hostGet is the action behind .host.
const hostGet = "host.get"

const (
	hostTTL       = 5 * time.Minute
	enrichTimeout = 30 * time.Second
)

var hostLife = lifetimes{found: hostTTL, empty: defaultEmptyTTL, stale: defaultStale}

var errOutputTooLarge = fmt.Errorf("the output is larger than %d bytes", maxOutput)

// The states of a look-up, as .enrich_status.<name>.state tells them. Without any, it
// was not looked up.
const (
	stateFound  = "found"  // there is something
	stateEmpty  = "empty"  // looked up, and there is nothing
	stateFailed = "failed" // nobody knows
)

// nothingTeller is an output that can say of itself that the look-up found nothing,
// although it holds something: whom it asked, for instance.
type nothingTeller interface{ FoundNothing() bool }

// reader runs reading actions for enrichment.
type reader struct {
	cache       *cache
	actions     map[string]Action
	callTimeout time.Duration
	now         func() time.Time
	hosts       HostFacts        // nil: host.get
	counter     *counter         // of like alerts; nil: none can be counted
	lookedUp    func(how string) // counts look-ups; may be nil
}

// findings are what was read for one playbook and one alert.
type findings struct {
	host   any
	values map[string]any
	errors map[string]any
	status map[string]any // how the look-ups went, by name
	extra  map[string]any // other fields of the input: what started the run, its group
}

func newFindings(alertHost any) *findings {
	return &findings{host: alertHost, values: map[string]any{}, errors: map[string]any{}, status: map[string]any{}}
}

// readHost overlays the alert's host with the host record. Without the action, or
// without an identifier, .host is what the alert knows.
func (r *reader) readHost(ctx context.Context, alert *soar.Alert, f *findings) {
	action := r.actions[hostGet]
	if action == nil || alert.Host.Identifier == "" {
		return
	}
	record, err := r.read(ctx, "host", &enrichment{do: hostGet, action: action, life: hostLife}, map[string]any{"host": alert.Host.Identifier}, alert, f)
	if err != nil {
		f.errors["host"] = err.Error()
		return
	}
	fields, _ := record.(map[string]any)
	base, _ := f.host.(map[string]any)
	merged := maps.Clone(base)
	if merged == nil {
		merged = map[string]any{}
	}
	maps.Copy(merged, fields)
	f.host = merged
}

// readOne runs one enrichment; its error is kept, not returned.
func (r *reader) readOne(ctx context.Context, e *enrichment, alert *soar.Alert, in *input, f *findings) {
	if _, done := f.values[e.name]; done {
		return
	}
	f.values[e.name] = nil
	f.status[e.name] = r.status(found{how: lookUpFailed})
	with, err := e.with.object(ctx, in)
	if err == nil {
		f.values[e.name], err = r.read(ctx, e.name, e, with, alert, f)
	}
	if err != nil {
		f.errors[e.name] = err.Error()
	}
}

// read looks up in the cache or at the server, and notes how that went under name. An
// old value that stands in for one that cannot be read is no error. That there is
// nothing is one, where the action says it by an error.
func (r *reader) read(ctx context.Context, name string, e *enrichment, with map[string]any, alert *soar.Alert, f *findings) (any, error) {
	arguments, err := json.Marshal(with) // sorts keys
	if err != nil {
		return nil, err
	}
	key := cacheKey(e.do, arguments)
	if e.action.Spec().OfAlert {
		key += alert.Ref()
	}
	got := r.cache.get(ctx, key, e.life, func() (*answer, error) {
		value, err := r.carryOut(ctx, e.action, Call{Alert: *alert, With: with, Step: e.do})
		if err != nil {
			return nil, err
		}
		data, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		return &answer{value: value, size: len(data), empty: isNothing(e.action.Spec().Output, value, data)}, nil
	})
	if r.lookedUp != nil {
		r.lookedUp(got.how)
	}
	f.status[name] = r.status(got)
	if got.answer == nil {
		return nil, got.err
	}
	return got.value, got.answer.err
}

// cacheKey names a look-up; arguments are JSON with sorted keys.
func cacheKey(action string, arguments []byte) string { return action + string(arguments) }

// status is a look-up as .enrich_status shows it.
func (r *reader) status(got found) map[string]any {
	if got.answer == nil {
		return map[string]any{"state": stateFailed, "stale": false, "age_seconds": nil}
	}
	state := stateFound
	if got.empty {
		state = stateEmpty
	}
	age := max(r.now().Sub(got.at), 0)
	return map[string]any{"state": state, "stale": got.how == fromStale, "age_seconds": int(age / time.Second)}
}

// isNothing reports whether a value, of which data is the JSON, says that there is
// nothing: null, an empty text, list or object, or what its type says of itself. That
// goes by the value and not by the action, so that a test's stand-in is judged alike.
func isNothing(kind, value any, data []byte) bool {
	switch v := value.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		if len(v) == 0 {
			return true
		}
	}
	if _, tells := kind.(nothingTeller); !tells {
		return false
	}
	output := reflect.New(reflect.TypeOf(kind))
	if json.Unmarshal(data, output.Interface()) != nil {
		return false
	}
	return output.Elem().Interface().(nothingTeller).FoundNothing()
}

// carryOut does a reading action and waits for its answer.
func (r *reader) carryOut(ctx context.Context, action Action, call Call) (any, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, min(enrichTimeout, max(r.callTimeout, time.Second)), fmt.Errorf("%s took too long", call.Step))
	defer cancel()
	outcome, err := safely(func() (Outcome, error) { return action.Do(ctx, call) })
	for err == nil && outcome.State == soar.StepAccepted {
		ref, wait := outcome.Ref, outcome.PollAfter
		if wait <= 0 {
			wait = time.Second
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
		outcome, err = safely(func() (Outcome, error) { return action.Poll(ctx, call, ref) })
		if outcome.Ref == "" {
			outcome.Ref = ref
		}
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("%w: %w", context.Cause(ctx), err)
	case err != nil:
		return nil, err
	case !outcome.State.OK():
		return nil, fmt.Errorf("%s: %s", outcome.State, outcome.Error)
	}
	return plainOutput(outcome.Output)
}
