package ersim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// activity is a row of the log of what users did (release 4.0).
type activity struct {
	id     int64
	at     time.Time
	user   int64
	action string // created, updated or deleted
	text   string // of what is gone and so has no item any more
	item   item
}

// item is what somebody did something to. An empty kind is no item, a zero id or
// an empty name is not told.
type item struct {
	kind string
	id   int64
	name string
}

// maxActivities bounds the log: the oldest half goes when it is full.
const maxActivities = 100_000

// record writes to the log what a user did.
func (s *Server) record(u *user, action string, what item) {
	if u == nil || !s.profile.v4 {
		return
	}
	log := &s.account.activities
	if len(*log) >= maxActivities {
		*log = slices.Delete(*log, 0, maxActivities/2)
	}
	next := int64(1)
	if n := len(*log); n > 0 {
		next = (*log)[n-1].id + 1
	}
	a := activity{id: next, at: s.now().Truncate(time.Microsecond), user: u.id, action: action, item: what}
	if action == "deleted" {
		a.text, a.item = what.kind+" with id '"+strconv.FormatInt(what.id, 10)+"' has been deleted", item{}
	}
	*log = append(*log, a)
}

// recorded says for calls of other sections what they leave in the log: the action
// and the kind of the item. Its id is the number in the path, or those of the
// argument, its name an argument.
var recorded = map[string]struct{ action, kind, ids, name string }{
	"alerts-update":  {"updated", "Alerts", "alert_ids", ""},
	"hosts-tags-add": {"created", "Tag", "", "tag"},
	"tags-add":       {"created", "Tag", "", "tag"},
	"rules-add":      {"created", "Rule", "", "name"},
	"rules-update":   {"updated", "Rule", "", "name"},
	"rules-enable":   {"updated", "Rule", "rule_ids", ""},
	"rules-disable":  {"updated", "Rule", "rule_ids", ""},
	"rules-delete":   {"updated", "Rule", "rule_ids", ""}, // a deleted rule is one with another status
	"packs-add":      {"created", "Pack", "", "name"},
	"packs-delete":   {"deleted", "Pack", "", ""},
	"queries-add":    {"created", "Query", "", "name"},
	"queries-update": {"updated", "Query", "", ""},
	"queries-delete": {"deleted", "Query", "", ""},
	"configs-create": {"created", "Config", "", "name"},
	"configs-update": {"updated", "Config", "", "name"},
	"configs-delete": {"deleted", "Config", "", ""},
	"hosts-remove":   {"updated", "Node", "", ""},
	"hosts-delete":   {"updated", "Node", "", ""},
	"hosts-enable":   {"updated", "Node", "", ""},
	"iocs-add":       {"created", "IOCIntel", "", ""},
	"carves-delete":  {"deleted", "CarveSession", "", ""},
}

// recordCall writes to the log what a call of another section did.
func (s *Server) recordCall(c *call, out answer) {
	what, ok := recorded[c.route.id]
	if !ok || !s.profile.v4 || out.status != http.StatusOK {
		return
	}
	var result struct{ Status string }
	if json.Unmarshal(out.body, &result) != nil || !strings.EqualFold(result.Status, "success") {
		return
	}
	ids := c.array(what.ids)
	for _, part := range c.path {
		ids = append(ids, part)
	}
	if len(ids) == 0 {
		ids = []string{""}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range ids {
		id, _ := strconv.ParseInt(text, 10, 64) // other references are not ids
		s.record(c.user, what.action, item{what.kind, id, c.text(what.name)})
	}
}

// API: GET /users/platform_activity, newest first.
func (s *Server) usersActivity(c *call) answer {
	start, limit := c.number("start", "start", 0), c.number("limit", "limit", 25)
	only := c.number("user_id", "user_id", 0)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	if start < 0 || limit < 0 {
		return s.crash()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	search := strings.ToLower(c.text("searchterm"))
	var found []activity
	for _, a := range slices.Backward(s.account.activities) {
		if (only == 0 || only == a.user) && (search == "" || a.matches(s.user(a.user), search)) {
			found = append(found, a)
		}
	}
	results := []obj{}
	for _, a := range page(found, start, limit) {
		results = append(results, a.object(s.user(a.user)))
	}
	return s.ok("Successfully fetched the latest user(s) platform activity",
		obj{"results": results, "count": len(found), "total_count": len(s.account.activities)})
}

func (a *activity) matches(u *user, search string) bool {
	return slices.ContainsFunc([]string{u.name, u.first, u.last, a.item.name}, func(text string) bool {
		return strings.Contains(strings.ToLower(text), search)
	})
}

func (a *activity) object(u *user) obj {
	what := obj{}
	if a.item.kind != "" {
		what["type"] = a.item.kind
	}
	if a.item.id != 0 {
		what["id"] = a.item.id
	}
	if a.item.name != "" {
		what["name"] = a.item.name
	}
	out := obj{
		"id": a.id, "action": a.action, "text": nil, "created_at": pySpace(a.at), "item": what,
		"user": obj{"id": u.id, "first_name": u.first, "last_name": u.last, "username": u.name},
	}
	if a.text != "" {
		out["text"] = a.text
	}
	return out
}
