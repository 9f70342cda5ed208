package ersim

import (
	"encoding/json"
	"maps"
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
		ref := what.name
		if what.id != 0 {
			ref = strconv.FormatInt(what.id, 10)
		}
		a.text, a.item = what.kind+" with id '"+ref+"' has been deleted", item{}
	}
	*log = append(*log, a)
}

// inPath says that the id stands in the path.
const inPath = "{}"

// recorded says for calls of other sections what they leave in the log: the action
// and the kind of the item, where its id stands (in the path, or in an argument that
// may be a list), and in which argument its name.
var recorded = map[string]struct{ action, kind, ids, name string }{
	"alerts-update":      {"updated", "Alerts", "alert_ids", ""},
	"carves-delete":      {"deleted", "CarveSession", "session_id", ""},
	"configs-add":        {"created", "Config", "", "name"},
	"configs-delete":     {"deleted", "Config", inPath, ""},
	"configs-update":     {"updated", "Config", inPath, "name"},
	"hosts-archive-bulk": {"updated", "Node", "node_ids", ""},
	"hosts-deactivate":   {"updated", "Node", inPath, ""},
	"hosts-delete":       {"updated", "Node", inPath, ""}, // a deleted host is one in another state
	"hosts-delete-bulk":  {"updated", "Node", "node_ids", ""},
	"hosts-enable-bulk":  {"updated", "Node", "node_ids", ""},
	"hosts-reactivate":   {"updated", "Node", inPath, ""},
	"hosts-tags-add":     {"created", "Tag", "", "tag"},
	"iocs-replace":       {"created", "IOCIntel", "", ""},
	"packs-add":          {"created", "Pack", "", "name"},
	"packs-delete":       {"deleted", "Pack", inPath, ""},
	"queries-add":        {"created", "Query", "", "name"},
	"queries-delete":     {"deleted", "Query", inPath, ""},
	"queries-update":     {"updated", "Query", inPath, ""},
	"rules-add":          {"created", "Rule", "", "name"},
	"rules-delete":       {"updated", "Rule", "rule_ids", ""}, // likewise one with another status
	"rules-disable":      {"updated", "Rule", "rule_ids", ""},
	"rules-enable":       {"updated", "Rule", "rule_ids", ""},
	"rules-update":       {"updated", "Rule", inPath, "name"},
	"tags-add":           {"created", "Tag", "", "tag"},
	"tags-delete":        {"deleted", "Tag", "tag", ""},
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
	refs := []string{""}
	switch _, isArray := c.values[what.ids].([]any); {
	case what.ids == inPath:
		refs = slices.Collect(maps.Values(c.path))
	case isArray:
		refs = c.array(what.ids)
	case c.present(what.ids):
		refs = c.list(what.ids)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ref := range refs {
		one := item{kind: what.kind, name: c.text(what.name)}
		id, err := strconv.ParseInt(ref, 10, 64)
		if one.id = id; err != nil && one.name == "" {
			one.name = ref
		}
		s.record(c.user, what.action, one)
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
