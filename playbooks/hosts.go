package playbooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// HostFacts tells at once what is known of a host on which a call is about to act. alert
// is what the run is about, and may be nil.
type HostFacts func(alert *soar.Alert, id string) guard.Host

// factsLife is how old what is known of a host may be when a call acts on it. A host
// that cannot be read then is not known, also when it was a moment ago.
var factsLife = lifetimes{found: time.Minute, empty: 15 * time.Second}

// targets are the hosts that a call names: its arguments host and hosts, in whatever
// form an action may take them.
func targets(with map[string]any) (ids []string) {
	var add func(v any)
	add = func(v any) {
		id := ""
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				add(item)
			}
			return
		case string:
			id = v
		case float64:
			id = strconv.FormatFloat(v, 'f', -1, 64)
		case nil:
		default:
			id = fmt.Sprint(v)
		}
		if id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	add(with["host"])
	add(with["hosts"])
	return ids
}

// knownHosts is readHosts as far as nothing has to be read.
func (r *reader) knownHosts(alert *soar.Alert, with map[string]any) (hosts []guard.Host, ok bool) {
	ids := targets(with)
	hosts = make([]guard.Host, 0, len(ids))
	for _, id := range ids {
		host, ok := r.knownHost(alert, id)
		if !ok {
			return nil, false
		}
		hosts = append(hosts, host)
	}
	return hosts, true
}

func (r *reader) knownHost(alert *soar.Alert, id string) (guard.Host, bool) {
	switch {
	case r.hosts != nil:
		return r.hosts(alert, id), true
	case r.actions[hostGet] == nil:
		return HostOfAlert(alert, id), true
	}
	arguments, err := json.Marshal(map[string]any{"host": id})
	if err != nil {
		return guard.Host{}, false
	}
	got := r.cache.peek(cacheKey(hostGet, arguments), factsLife)
	if got.answer == nil || got.answer.err != nil {
		return guard.Host{}, false
	}
	return HostFrom(id, got.value), true
}

// readHosts tells what is known of the hosts of a call. One that cannot be read, or
// that the server does not have, is not known.
func (r *reader) readHosts(ctx context.Context, alert *soar.Alert, with map[string]any) []guard.Host {
	hosts := []guard.Host{}
	for _, id := range targets(with) {
		hosts = append(hosts, r.readFacts(ctx, alert, id))
	}
	return hosts
}

func (r *reader) readFacts(ctx context.Context, alert *soar.Alert, id string) guard.Host {
	if r.hosts != nil {
		return r.hosts(alert, id)
	}
	action := r.actions[hostGet]
	if action == nil {
		return HostOfAlert(alert, id)
	}
	f := newFindings(nil)
	record, err := r.read(ctx, "host", &enrichment{do: hostGet, action: action, life: factsLife}, map[string]any{"host": id}, alert, f)
	if errors.Is(err, soar.ErrNotFound) {
		return guard.Host{ID: id, Why: "the server has no host " + id + " any more: it was deleted, or enrolled anew under another identifier"}
	}
	if err != nil {
		return guard.Host{ID: id, Why: err.Error(), Unread: errors.Is(err, ErrTransient) || ctx.Err() != nil}
	}
	return HostFrom(id, record)
}

// HostOfAlert is a host as the alert knows it.
func HostOfAlert(alert *soar.Alert, id string) guard.Host {
	if alert == nil || alert.Host.Identifier != id {
		return guard.Host{ID: id, Why: "it is not the host of the alert, and no other can be looked up"}
	}
	record, err := soar.Plain(alert.Host)
	if err != nil {
		return guard.Host{ID: id, Why: err.Error()}
	}
	return HostFrom(id, record)
}

// HostFrom reads a host record: what host.get returns, as plain JSON. Whatever the call
// names the host by, its identifier is what the guard knows it by.
func HostFrom(id string, record any) guard.Host {
	facts, ok := record.(map[string]any)
	if !ok || len(facts) == 0 {
		return guard.Host{ID: id, Why: "the server knows nothing of it"}
	}
	text := func(name string) string { v, _ := facts[name].(string); return v }
	number, _ := facts["id"].(float64)
	identifier := text("identifier")
	switch {
	case identifier == "":
		identifier = id
	case !strings.EqualFold(identifier, id) && strconv.FormatFloat(number, 'f', -1, 64) != id:
		return guard.Host{ID: id, Why: fmt.Sprintf("the server answers with another host, %s", identifier)}
	}
	h := guard.Host{ID: identifier, Name: text("name"), Platform: text("platform"), OS: text("os"), Known: true, Facts: facts}
	if ip := text("ip"); ip != "" {
		h.Addresses = append(h.Addresses, ip)
	}
	if tags, ok := facts["tags"].([]any); ok {
		for _, t := range tags {
			if tag, ok := t.(string); ok {
				h.Tags = append(h.Tags, tag)
			}
		}
	}
	return h
}
