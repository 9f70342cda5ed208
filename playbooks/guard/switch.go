package guard

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// killSwitch holds every call with an effect while it is thrown. A person throws it,
// and it stays thrown across restarts; or a file does, for as long as it is there.
type killSwitch struct {
	thrown *Thrown // by a person; nil: it is not
	file   *Thrown // by a file; nil: it is not
}

// is who keeps it thrown: a person first, since a file that goes changes nothing then.
func (k *killSwitch) is() *Thrown {
	if k.thrown != nil {
		return k.thrown
	}
	return k.file
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

// Event tells people that the kill switch is thrown.
func (t *Thrown) Event() soar.Event {
	return soar.Event{
		ID: fmt.Sprintf("trouble/paused/%d", t.At.UnixNano()), Type: soar.EventTrouble, At: t.At,
		Text: "erbridge is " + t.String() + ". Calls with an effect wait; erbridge resume lets them go on.",
	}
}

// PauseChange is what is committed when a person throws the kill switch, with what
// Pause returned.
func PauseChange(t Thrown, kv soar.KV) soar.Change {
	return soar.Change{KV: []soar.KV{kv}, Events: []soar.Event{t.Event()}, Acts: []soar.Act{{At: t.At, By: t.By, What: "kill switch thrown", Reason: t.Reason}}}
}

// ResumeChange is what is committed when a person takes it back.
func ResumeChange(by string, at time.Time) soar.Change {
	told := soar.Event{ID: fmt.Sprintf("trouble/resumed/%d", at.UnixNano()), Type: soar.EventTrouble, At: at, Text: "erbridge goes on: " + by + " took the kill switch back."}
	return soar.Change{KV: []soar.KV{{Key: switchKey}}, Events: []soar.Event{told}, Acts: []soar.Act{{At: at, By: by, What: "kill switch taken back"}}}
}

// PauseFileChange is what is committed when a file throws the kill switch. Nothing is
// remembered, since the file is there after a restart as well.
func PauseFileChange(t *Thrown) soar.Change {
	return soar.Change{Events: []soar.Event{t.Event()}, Acts: []soar.Act{{At: t.At, By: t.By, What: "kill switch thrown", Reason: t.Reason}}}
}

// PauseFileGone is what is committed when the file that threw it is gone. still is who
// keeps it thrown; nil: nobody.
func PauseFileGone(file, still *Thrown, at time.Time) soar.Change {
	act := soar.Act{At: at, By: file.By, What: "kill switch taken back", Reason: "it is gone"}
	words := "erbridge goes on: " + file.By + " is gone."
	if still != nil {
		act.Reason += ", and erbridge stays " + still.String()
		words = file.By + " is gone, and erbridge stays " + still.String() + "."
	}
	told := soar.Event{ID: fmt.Sprintf("trouble/resumed/%d", at.UnixNano()), Type: soar.EventTrouble, At: at, Text: words}
	return soar.Change{Events: []soar.Event{told}, Acts: []soar.Act{act}}
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
	t := k.is()
	if t == nil {
		return Pass("not thrown")
	}
	return Hold(r.At.Add(lookAgain), "%s", t)
}

// Paused tells whether the kill switch is thrown, and by whom; nil: it is not.
func (g *Guard) Paused() *Thrown {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.stop.is()
	if t == nil {
		return nil
	}
	who := *t
	return &who
}

// PauseFile tells that the file that throws the kill switch is there, or with nil, that
// it is not. It returns what was told before.
func (g *Guard) PauseFile(t *Thrown) (before *Thrown) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before, g.stop.file = g.stop.file, t
	if t == nil {
		g.wake()
	}
	return before
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

// Resume takes the kill switch back as far as a person threw it, once ResumeChange was
// committed.
func (g *Guard) Resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stop.thrown = nil
	g.wake()
}
