package sinks

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// Silence keeps what happens around some alerts out of a sink for a while. Approvals,
// troubles and what is about to be taken back are delivered all the same; the rest is
// counted, and told in one line when the silence ends.
type Silence struct {
	// ID names it. The same sink, rule and host always have the same one.
	ID string `json:"id"`
	// Sink is the one that is silenced; empty means all.
	Sink string `json:"sink,omitempty"`
	// Rule is what the alerts have in common, as Alert.Title tells it: the name of the
	// rule, or "ioc match" for alerts without one.
	Rule string `json:"rule"`
	// Host is the name of a host, in any case, or its identifier where it has no name;
	// empty means every host.
	Host string `json:"host,omitempty"`
	// At is since when, and Until is until when it holds.
	At    time.Time `json:"at"`
	Until time.Time `json:"until"`
	// By is a person, Reason is why.
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
}

// What a silence may be.
const (
	maxSilence      = 90 * 24 * time.Hour
	maxSilences     = 1000
	maxSilenceBytes = 1 << 10 // of each text
)

// ErrSilence is wrapped by errors about a silence that cannot be.
var ErrSilence = errors.New("silence")

// SilenceLike is a silence of alerts like one: with the same title, and on the same
// host if here is set. Who asks for it adds Until, By and Reason.
func SilenceLike(sink string, a *soar.Alert, here bool) Silence {
	s := Silence{Sink: sink, Rule: a.Title()}
	if here {
		s.Host = hostCalled(a)
	}
	return s
}

// hostCalled is what people call the host of an alert.
func hostCalled(a *soar.Alert) string { return cmp.Or(a.Host.Name, a.Host.Identifier) }

// String is the silence in words, such as: "Suspicious PowerShell" on PC-12, in soc-slack.
func (s Silence) String() string {
	text := fmt.Sprintf("%q", s.Rule)
	if s.Host != "" {
		text += " on " + s.Host
	}
	if s.Sink != "" {
		text += ", in " + s.Sink
	}
	return text
}

// shown is the silence in the words of an alert that it covers, out of which was taken
// what must not be told.
func (s Silence) shown(clean *soar.Alert) Silence {
	if s.Rule = clean.Title(); s.Host != "" {
		s.Host = hostCalled(clean)
	}
	return s
}

// covers reports whether an alert is kept out of a sink at a time.
func (s *Silence) covers(sink string, a *soar.Alert, at time.Time) bool {
	return (s.Sink == "" || s.Sink == sink) && at.Before(s.Until) && s.Rule == a.Title() &&
		(s.Host == "" || strings.EqualFold(s.Host, hostCalled(a)))
}

func (s *Silence) name() string {
	sum := sha256.Sum256([]byte(s.Sink + "\x00" + s.Rule + "\x00" + strings.ToLower(s.Host)))
	return hex.EncodeToString(sum[:5])
}

func (s *Silence) check(now time.Time) error {
	var problems []error
	report := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if strings.TrimSpace(s.Rule) == "" {
		report("which alerts? name their rule, as their title tells it")
	}
	if strings.TrimSpace(s.By) == "" {
		report("somebody has to ask for it by name")
	}
	switch keep := s.Until.Sub(now); {
	case keep <= 0:
		report("it would end at once")
	case keep > maxSilence:
		report("it would hold for %s, and %s is the longest: a rule that is never wanted is better turned off on the server", registry.FormatDuration(keep.Round(time.Hour)), registry.FormatDuration(maxSilence))
	}
	for _, text := range []string{s.Sink, s.Rule, s.Host, s.By, s.Reason} {
		if len(text) > maxSilenceBytes {
			report("a text of %d bytes is too long, %d are the most", len(text), maxSilenceBytes)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("%w: %w", ErrSilence, err)
	}
	return nil
}

const silencePrefix = "silence/"

// Silences are the silences of all sinks. They are kept in the store and survive a
// restart. All methods are safe for concurrent use.
type Silences struct {
	kv  KV
	now func() time.Time

	mu   sync.Mutex // held while they change, so that store and memory agree
	held atomic.Pointer[[]Silence]
}

// NewSilences makes the list; Load reads what is in the store. now is the clock; nil
// means time.Now.
func NewSilences(kv KV, now func() time.Time) *Silences {
	if now == nil {
		now = time.Now
	}
	s := &Silences{kv: kv, now: now}
	s.held.Store(&[]Silence{})
	return s
}

// Load reads the silences from the store. What cannot be read is left out, and told in
// the error beside the others, which count.
func (s *Silences) Load(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	values, err := s.kv.KV(ctx, silencePrefix)
	if err != nil {
		return fmt.Errorf("silences: %w", err)
	}
	var problems []error
	held := []Silence{}
	for _, v := range values {
		var one Silence
		if err := json.Unmarshal([]byte(v.Value), &one); err != nil {
			problems = append(problems, fmt.Errorf("silence %q cannot be read: %w", strings.TrimPrefix(v.Key, silencePrefix), err))
			continue
		}
		held = append(held, one)
	}
	s.held.Store(&held)
	return errors.Join(problems...)
}

// Add begins a silence, or makes one of the same sink, rule and host last until the
// later of both ends. It returns it as it is kept, after it is on disk. An error that
// wraps ErrSilence means that it cannot be.
func (s *Silences) Add(ctx context.Context, one Silence) (Silence, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now().UTC()
	if err := one.check(now); err != nil {
		return Silence{}, err
	}
	one.ID, one.At, one.Until = one.name(), now, one.Until.UTC()
	held := s.active(now)
	what := "silence " + one.ID + " begun: "
	if i := slices.IndexFunc(held, func(o Silence) bool { return o.ID == one.ID }); i >= 0 {
		one.At = held[i].At
		if held[i].Until.After(one.Until) {
			one.Until = held[i].Until
		}
		held = slices.Delete(held, i, i+1)
		what = "silence " + one.ID + " prolonged: "
	} else if len(held) >= maxSilences {
		return Silence{}, fmt.Errorf("%w: there are %d, and no more can be kept; end some first", ErrSilence, len(held))
	}
	value, err := json.Marshal(one)
	if err != nil {
		return Silence{}, fmt.Errorf("%w: %w", ErrSilence, err)
	}
	_, err = s.kv.Commit(ctx, soar.Change{
		KV:   []soar.KV{{Key: silencePrefix + one.ID, Value: string(value), Expires: one.Until}},
		Acts: []soar.Act{{At: now, By: one.By, What: what + one.String() + ", until " + one.Until.Format(time.RFC3339), Reason: one.Reason}},
	})
	if err != nil {
		return Silence{}, fmt.Errorf("silence: %w", err)
	}
	held = append(held, one)
	s.held.Store(&held)
	return one, nil
}

// End ends a silence before its time, and returns it. The error wraps soar.ErrNotFound
// when there is none with that id.
func (s *Silences) End(ctx context.Context, id, by, reason string) (Silence, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now().UTC()
	held := s.active(now)
	i := slices.IndexFunc(held, func(o Silence) bool { return o.ID == id })
	if i < 0 {
		return Silence{}, fmt.Errorf("silence %q: %w", id, soar.ErrNotFound)
	}
	if strings.TrimSpace(by) == "" {
		return Silence{}, fmt.Errorf("%w: somebody has to end it by name", ErrSilence)
	}
	one := held[i]
	_, err := s.kv.Commit(ctx, soar.Change{
		KV:   []soar.KV{{Key: silencePrefix + id}},
		Acts: []soar.Act{{At: now, By: by, What: "silence " + id + " ended: " + one.String(), Reason: reason}},
	})
	if err != nil {
		return Silence{}, fmt.Errorf("silence %q: %w", id, err)
	}
	held = slices.Delete(held, i, i+1)
	s.held.Store(&held)
	return one, nil
}

// List returns the silences that hold now, the one that ends first at the front.
func (s *Silences) List() []Silence {
	held := s.active(s.now())
	slices.SortFunc(held, func(a, b Silence) int { return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.ID, b.ID)) })
	return held
}

// active is a copy of those that hold at a time.
func (s *Silences) active(at time.Time) []Silence {
	var list []Silence
	for _, one := range *s.held.Load() {
		if at.Before(one.Until) {
			list = append(list, one)
		}
	}
	return list
}

// Of finds the silence that keeps an alert out of a sink now.
func (s *Silences) Of(sink string, a *soar.Alert) (Silence, bool) {
	if s == nil {
		return Silence{}, false
	}
	held := *s.held.Load()
	if len(held) == 0 || a == nil {
		return Silence{}, false
	}
	now := s.now()
	for i := range held {
		if held[i].covers(sink, a, now) {
			return held[i], true
		}
	}
	return Silence{}, false
}

// holds reports whether a silence that began at a time still does.
func (s *Silences) holds(id string, since time.Time) bool {
	now := s.now()
	return slices.ContainsFunc(*s.held.Load(), func(o Silence) bool { return o.ID == id && o.At.Equal(since) && now.Before(o.Until) })
}
