package killtest

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// elsewhere is another system, to which http.request goes. It stands outside of the
// bubble, since that action opens connections of its own.
type elsewhere struct {
	*httptest.Server

	mu    sync.Mutex
	p     *process // that may die here; guarded by mu
	taken int      // guarded by mu
}

func newElsewhere(t *testing.T) *elsewhere {
	t.Helper()
	e := &elsewhere{}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	return e
}

func (e *elsewhere) meet(p *process) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.p = p
}

func (e *elsewhere) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.taken
}

// ServeHTTP takes a request. Here a process cannot be ended, as the bubble forbids it: it
// is dead to the journal, and hears nothing.
func (e *elsewhere) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	die := func(where string) bool {
		if e.p.at != (moment{where, 1}) {
			return false
		}
		e.p.mu.Lock()
		e.p.died = true
		e.p.mu.Unlock()
		return true
	}
	if die("call") {
		panic(http.ErrAbortHandler)
	}
	e.taken++
	if die("called") {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(http.StatusNoContent)
}
