package sinksim

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// tokens are the access tokens that a fake has given out.
type tokens struct {
	mu    sync.Mutex
	valid map[string]bool
	given int
}

// issue answers a request for a token.
func (t *tokens) issue(w http.ResponseWriter, lifetime time.Duration) {
	answerJSON(w, http.StatusOK, map[string]any{"token_type": "Bearer", "expires_in": int(lifetime.Seconds()), "access_token": t.fresh()})
}

// fresh is a token that is good from now on.
func (t *tokens) fresh() string {
	token := "access-" + rand.Text()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.valid == nil {
		t.valid = map[string]bool{}
	}
	t.valid[token] = true
	t.given++
	return token
}

func (t *tokens) takes(token string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.valid[token]
}

func (t *tokens) revoke() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.valid = nil
}

func (t *tokens) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.given
}

func answerJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the sender's loss
}
