package store

import (
	"bytes"
	"sync"

	"github.com/erbridge/erbridge/internal/soar"
)

// maxRecent bounds what recent holds: more than the engine evaluates at a time.
const maxRecent = 1024

// recent remembers the alerts that were last read as pending. The engine looks for
// new ones at every commit, and meets those again that are being evaluated: with an
// alert in each call of the webhook, decoding them again was a fifth of all the work.
// What is handed out twice is not changed by whoever gets it.
type recent struct {
	mu          sync.Mutex
	now, before map[int64]decoded // this look and the one before
}

type decoded struct {
	packed []byte
	alert  soar.Alert
}

// begin is a new look, from the first pending alert on.
func (r *recent) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before, r.now = r.now, make(map[int64]decoded, len(r.now))
}

// decode is decodeAlert, unless the same bytes were decoded a moment ago.
func (r *recent) decode(key int64, packed []byte) (soar.Alert, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, ok := r.before[key]
	if !ok || !bytes.Equal(d.packed, packed) {
		alert, err := decodeAlert(packed)
		if err != nil {
			return alert, err
		}
		d = decoded{bytes.Clone(packed), alert}
	}
	if r.now == nil { // nobody began at the first one
		r.now = map[int64]decoded{}
	}
	if len(r.now) < maxRecent {
		r.now[key] = d
	}
	return d.alert, nil
}
