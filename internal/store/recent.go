package store

import (
	"bytes"
	"sync"

	"github.com/erbridge/erbridge/internal/soar"
)

// How much recent takes up before what it held until then begins to go: more than the
// engine evaluates at a time, and more than a sink that keeps up is behind.
const (
	maxRecent      = 1024
	maxRecentBytes = 8 << 20 // of JSON; what an attacker repeats packs to next to nothing
)

// recent remembers the alerts that were decoded last. When one comes in, the engine and
// each of the sinks read it within a moment, and decoding it costs more than the rest of
// the reading. What is handed out several times is not changed by whoever gets it.
type recent struct {
	mu          sync.Mutex
	now, before map[int64]decoded // by key
	bytes       int               // of what is in now
}

type decoded struct {
	packed []byte
	alert  soar.Alert
}

// decode is decodeAlert, unless the same bytes were decoded a moment ago.
func (r *recent) decode(key int64, packed []byte) (soar.Alert, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, ok := r.now[key]
	if !ok {
		d, ok = r.before[key]
	}
	if ok && bytes.Equal(d.packed, packed) {
		return d.alert, nil
	}
	alert, err := decodeAlert(packed)
	size := unpackedSize(packed)
	if err != nil || size > maxRecentBytes {
		return alert, err
	}
	if r.now == nil || len(r.now) >= maxRecent || r.bytes+size > maxRecentBytes {
		r.before, r.now, r.bytes = r.now, map[int64]decoded{}, 0
	}
	r.now[key] = decoded{bytes.Clone(packed), alert}
	r.bytes += size
	return alert, nil
}
