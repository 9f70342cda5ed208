package guard

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// disk is a journal as far as the guard knows it.
type disk map[string]soar.KV

func (d disk) put(kvs ...soar.KV) {
	for _, kv := range kvs {
		if d[kv.Key] = kv; kv.Value == "" {
			delete(d, kv.Key)
		}
	}
}

// restart is a guard that knows what a kill -9 at that time left.
func (d disk) restart(t testing.TB, s Settings, at time.Time) *Guard {
	t.Helper()
	g := newGuard(t, s)
	err := g.Load(func(prefix string) (kvs []soar.KV, err error) {
		for key, kv := range d {
			if strings.HasPrefix(key, prefix) && (kv.Expires.IsZero() || kv.Expires.After(at)) {
				kvs = append(kvs, kv)
			}
		}
		slices.SortFunc(kvs, func(a, b soar.KV) int { return strings.Compare(a.Key, b.Key) })
		return kvs, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// send takes a call and keeps it.
func (d disk) send(t testing.TB, g *Guard, r *Request) Decision {
	t.Helper()
	taken := g.Take(r)
	kvs, _ := taken.Keep()
	d.put(kvs...)
	taken.Settle(true)
	return taken
}

// end tells how a call ended.
func (d disk) end(g *Guard, r *Request, at time.Time) {
	kvs, _, settle := g.End(r.Run, r.Step, soar.StepExecuted, at)
	d.put(kvs...)
	settle(true)
}

// refuse is what the engine does with a call that was refused.
func (d disk) refuse(g *Guard, r *Request, answers []Answer) []soar.Event {
	kvs, events, settle := g.Refused(r, answers)
	d.put(kvs...)
	settle(true)
	return events
}

// call is a call of a run of its own that can go out at a time.
func call(run int, action string, at time.Time, hosts ...string) *Request {
	r := contain()
	r.Run, r.Action, r.At, r.Since, r.Attempt, r.Call = soar.RunID(run), action, at, at, 1, "c"+string(rune(run))
	for _, id := range hosts {
		r.Hosts = append(r.Hosts, plain(id))
	}
	return r
}
