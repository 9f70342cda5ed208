package sinks

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Bounds of what is remembered of groups, whatever alerts say.
const (
	maxGroups   = 10_000         // of one sink; alerts beyond are delivered one by one
	maxClosed   = 1_000          // groups that have ended, kept for what their runs still do
	keepClosed  = 24 * time.Hour // and for how long
	keepOpen    = 30 * 24 * time.Hour
	maxHosts    = 4096 // told apart in one group; Hosts stays there when there are more
	maxNames    = 5
	maxWords    = 50  // different actions and states counted in one group
	maxKeyRunes = 200 // shown of a key
)

// gathered is a group as it is kept. Members are found by the order in which the store
// takes alerts in: those with the same key between From and To, which are keys of the
// store, belong to it. So nothing has to be kept of each of them.
type gathered struct {
	Key   string `json:"key"`   // what the alerts have in common, for people
	Kin   string `json:"kin"`   // the same for comparing; see kinOf
	Storm bool   `json:"storm"` // not configured, but so many that they are put together
	// Head is the alert whose message stands for all.
	Head      string `json:"head"`
	HeadEvent string `json:"head_event"`
	HeadKey   int64  `json:"head_key"`
	From      int64  `json:"from"`
	To        int64  `json:"to"`

	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
	Ends   time.Time `json:"ends"` // a later alert begins a new group
	Closed time.Time `json:"closed,omitzero"`

	Count int            `json:"count"`
	Hosts hostSet        `json:"hosts"`
	Names []string       `json:"names,omitempty"`
	Runs  map[string]int `json:"runs,omitempty"`
	Steps map[string]int `json:"steps,omitempty"`

	// Shown counts what was delivered although its alert has no message of its own,
	// Asked are the approvals among it.
	Shown map[string]int `json:"shown,omitempty"`
	Asked []string       `json:"asked,omitempty"`

	// News counts what happened, Told is how much of it the receiver was told with the
	// last of Updates.
	News    int       `json:"news"`
	Told    int       `json:"told"`
	Updates int       `json:"updates"`
	ToldAt  time.Time `json:"told_at"`
	// Waiting is set while the last update is still before the cursor.
	Waiting bool `json:"waiting,omitempty"`
}

// name is the group's place in the store; one and the same alert heads one group.
func (g *gathered) name() string {
	sum := sha256.Sum256([]byte(g.Kin + "\x00" + g.HeadEvent))
	return hex.EncodeToString(sum[:12])
}

// updateID is the id of an update; the same update always has the same one.
func (g *gathered) updateID(n int) string { return g.HeadEvent + "-group-" + strconv.Itoa(n) }

func (g *gathered) has(kin string, alert int64) bool {
	return g.Kin == kin && alert != 0 && g.From <= alert && alert <= g.To
}

// add counts an alert.
func (g *gathered) add(alert int64, host groupHost, at time.Time) {
	g.Count++
	if g.From == 0 {
		g.From = alert
	}
	g.To = max(g.To, alert)
	if at.After(g.Last) {
		g.Last = at
	}
	g.addHost(host)
	g.News++
}

// groupHost is a host, and its name as the receiver may know it.
type groupHost struct{ called, shown string }

func (g *gathered) addHost(host groupHost) {
	if host.called == "" || !g.Hosts.add(host.called) || len(g.Names) == maxNames || host.shown == "" || slices.Contains(g.Names, host.shown) {
		return
	}
	g.Names = append(g.Names, host.shown)
}

// count counts what became of a member.
func count(in *map[string]int, word string) {
	if *in == nil {
		*in = map[string]int{}
	}
	if _, known := (*in)[word]; !known && len(*in) >= maxWords {
		word = "other"
	}
	(*in)[word]++
}

// tell is the group as a sink gets it.
func (g *gathered) tell() *soar.Group {
	return &soar.Group{
		Key: g.Key, Head: g.Head, Count: g.Count, Hosts: len(g.Hosts), Names: slices.Clone(g.Names), First: g.First, Last: g.Last,
		Runs: maps.Clone(g.Runs), Steps: maps.Clone(g.Steps), Closed: !g.Closed.IsZero(),
	}
}

// hostSet tells hosts apart by a hash of 64 bits; people are shown names and numbers,
// and nothing is decided by it.
type hostSet map[uint64]struct{}

// add reports whether the host is new.
func (s *hostSet) add(host string) bool {
	if s.has(host) || len(*s) >= maxHosts {
		return false
	}
	if *s == nil {
		*s = hostSet{}
	}
	(*s)[hostSum(host)] = struct{}{}
	return true
}

func (s hostSet) has(host string) bool {
	_, known := s[hostSum(host)]
	return known
}

func hostSum(host string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(host)) // it never fails
	return h.Sum64()
}

// MarshalText is base64 of the hashes in their order.
func (s hostSet) MarshalText() ([]byte, error) {
	raw := make([]byte, 0, 8*len(s))
	for _, h := range slices.Sorted(maps.Keys(s)) {
		raw = binary.BigEndian.AppendUint64(raw, h)
	}
	return base64.StdEncoding.AppendEncode(nil, raw), nil
}

// UnmarshalText reads it.
func (s *hostSet) UnmarshalText(text []byte) error {
	raw, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil || len(raw)%8 != 0 {
		return fmt.Errorf("hosts of a group: %d bytes that are no hashes", len(raw))
	}
	*s = hostSet{}
	for ; len(raw) > 0; raw = raw[8:] {
		(*s)[binary.BigEndian.Uint64(raw)] = struct{}{}
	}
	return nil
}

// silenced counts what one silence kept out of a sink.
type silenced struct {
	ID    string    `json:"id"`
	Since time.Time `json:"since"`
	Words string    `json:"words"`
	By    string    `json:"by"`
	Count int       `json:"count"`
}

// groups is all that is remembered of the groups of one sink.
type groups struct {
	all      map[string]*gathered
	byKin    map[string][]*gathered // in the order of their beginning
	silenced map[string]*silenced
	dirty    map[string]bool // by place in the store: differs from what is there
}

func newGroups() *groups {
	return &groups{all: map[string]*gathered{}, byKin: map[string][]*gathered{}, silenced: map[string]*silenced{}, dirty: map[string]bool{}}
}

// effect is what an event does to groups. It is done twice: when the event is looked
// at, to decide about the next, and when it is settled, for the store.
type effect func(*groups)

func (s *groups) insert(g *gathered) {
	s.all[g.name()] = g
	s.byKin[g.Kin] = append(s.byKin[g.Kin], g)
}

func (s *groups) remove(g *gathered) {
	delete(s.all, g.name())
	left := slices.DeleteFunc(s.byKin[g.Kin], func(o *gathered) bool { return o.name() == g.name() })
	if len(left) == 0 {
		delete(s.byKin, g.Kin)
		return
	}
	s.byKin[g.Kin] = left
}

// newest is the youngest group of a kin; nil when there is none.
func (s *groups) newest(kin string) *gathered {
	of := s.byKin[kin]
	if len(of) == 0 {
		return nil
	}
	return of[len(of)-1]
}

// begin is the effect of a new group.
func begin(g gathered) effect {
	return func(s *groups) {
		own := g
		own.Hosts, own.Names = maps.Clone(g.Hosts), slices.Clone(g.Names)
		s.insert(&own)
		s.dirty[groupPlace+own.name()] = true
	}
}

// change is an effect on a group that is there.
func change(name string, f func(*gathered)) effect {
	return func(s *groups) {
		if g := s.all[name]; g != nil {
			f(g)
			s.dirty[groupPlace+name] = true
		}
	}
}

// forget is the effect of dropping a group.
func forget(name string) effect {
	return func(s *groups) {
		if g := s.all[name]; g != nil {
			s.remove(g)
			s.dirty[groupPlace+name] = true
		}
	}
}

// The places in the store, behind that of the sink. No key of a State begins with
// them: their slashes are escaped.
const (
	groupPlace    = "group/"
	silencedPlace = "silenced/"
)

// statePrefix is the place of all that a sink remembers.
func statePrefix(sink string) string { return "sink/" + url.PathEscape(sink) + "/" }

// unsaved is what has to be written so that the store has it.
func (s *groups) unsaved(sink string, now time.Time) ([]soar.KV, error) {
	var kvs []soar.KV
	var problems []error
	for _, place := range slices.Sorted(maps.Keys(s.dirty)) {
		kv := soar.KV{Key: statePrefix(sink) + place}
		var value any
		if name, ok := strings.CutPrefix(place, groupPlace); ok {
			if g := s.all[name]; g != nil {
				value, kv.Expires = g, now.Add(keepOpen)
				if !g.Closed.IsZero() {
					kv.Expires = g.Closed.Add(keepClosed)
				}
			}
		} else if one := s.silenced[strings.TrimPrefix(place, silencedPlace)]; one != nil {
			value, kv.Expires = one, now.Add(maxSilence+keepOpen)
		}
		if value != nil {
			data, err := json.Marshal(value)
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", place, err))
				continue
			}
			kv.Value = string(data)
		}
		kvs = append(kvs, kv)
	}
	return kvs, errors.Join(problems...)
}

// load reads what unsaved has written.
func (s *groups) load(sink string, kvs []soar.KV) error {
	var found []*gathered
	var problems []error
	read := func(kv soar.KV, to any) bool {
		err := json.Unmarshal([]byte(kv.Value), to)
		if err != nil {
			problems = append(problems, fmt.Errorf("value %s %w: %w", kv.Key, errBadValue, err))
		}
		return err == nil
	}
	for _, kv := range kvs {
		place := strings.TrimPrefix(kv.Key, statePrefix(sink))
		if name, ok := strings.CutPrefix(place, silencedPlace); ok {
			if one := new(silenced); read(kv, one) {
				s.silenced[name] = one
			}
		} else if g := new(gathered); read(kv, g) {
			found = append(found, g)
		}
	}
	slices.SortFunc(found, func(a, b *gathered) int { return a.First.Compare(b.First) })
	for _, g := range found {
		s.insert(g)
	}
	return errors.Join(problems...)
}
