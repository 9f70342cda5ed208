package guard

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// killSwitch holds every call with an effect while it is thrown. It stays thrown
// across restarts.
type killSwitch struct {
	thrown *Thrown // nil: it is not
}

// Thrown says who stopped everything, when and why.
type Thrown struct {
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
}

func (t *Thrown) String() string {
	text := "paused by " + t.By + " at " + t.At.UTC().Format(time.RFC3339)
	if t.Reason != "" {
		text += ": " + t.Reason
	}
	return text
}

const (
	switchKey = "guard/switch"
	// lookAgain is how long a step waits for what nobody can foresee. It is asked
	// again as soon as something changes; this is for what changes elsewhere.
	lookAgain = 10 * time.Minute
)

func (*killSwitch) name() string   { return "kill switch" }
func (*killSwitch) prefix() string { return switchKey }

func (k *killSwitch) load(kvs []soar.KV) error {
	k.thrown = nil
	for _, kv := range kvs {
		if kv.Key != switchKey || kv.Value == "" {
			continue
		}
		var t Thrown
		if err := json.Unmarshal([]byte(kv.Value), &t); err != nil {
			// What cannot be read was put there by somebody who wanted it to stop.
			t = Thrown{By: "somebody", Reason: fmt.Sprintf("the record cannot be read: %v", err)}
		}
		k.thrown = &t
	}
	return nil
}

func (k *killSwitch) ask(r *Request) Answer {
	if k.thrown == nil {
		return Pass("not thrown")
	}
	return Hold(r.At.Add(lookAgain), "%s", k.thrown)
}

// Paused tells whether the kill switch is thrown, and by whom; nil: it is not.
func (g *Guard) Paused() *Thrown {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stop.thrown == nil {
		return nil
	}
	t := *g.stop.thrown
	return &t
}

// Pause throws the kill switch: from its return on, no call is taken. What it returns
// is to be committed; the switch is thrown whether that succeeds or not.
func (g *Guard) Pause(t Thrown) soar.KV {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stop.thrown = &t
	value, _ := json.Marshal(t) // texts and a time
	return soar.KV{Key: switchKey, Value: string(value)}
}

// Resume takes the kill switch back, once what ResumeKey names was removed.
func (g *Guard) Resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stop.thrown = nil
	g.wake()
}

// ResumeKV removes the record of the kill switch.
func ResumeKV() soar.KV { return soar.KV{Key: switchKey} }
