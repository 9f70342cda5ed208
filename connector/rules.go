package connector

import (
	"context"
	"strconv"
	"time"
)

// RulesService is the section "Rules" of the REST guide.
type RulesService struct{ c *Client }

// Rule is a detection rule.
type Rule struct {
	ID          int64
	Name        string
	Description string
	Severity    string
	Type        string // MITRE or DEFAULT
	Status      string
	Platform    string
	Techniques  []string // T1003
	Tactics     []string // slugs: credential-access
	Alerters    []string
	UpdatedAt   time.Time
}

// Get fetches a rule. ErrNotFound if there is none.
// API: GET /rules/{rule_id} (REST guide 4.0.0, "Get a rule").
func (s *RulesService) Get(ctx context.Context, id int64) (r Rule, err error) {
	k, err := rulesGet.with(strconv.FormatInt(id, 10))
	if err != nil {
		return Rule{}, err
	}
	err = s.c.do(ctx, k, nil, data(func(d *decoder) { decodeRule(d, &r) }))
	if err == nil && r.ID == 0 {
		err = missing(k)
	}
	if err != nil {
		return Rule{}, err
	}
	return r, nil
}

func decodeRule(d *decoder, r *Rule) bool {
	return d.object(func(key string) {
		switch key {
		case "id":
			r.ID = d.id()
		case "name":
			r.Name = d.text()
		case "description":
			r.Description = d.text()
		case "severity":
			r.Severity = d.text()
		case "type":
			r.Type = d.text()
		case "status":
			r.Status = d.text()
		case "platform":
			r.Platform = d.text()
		case "technique_id": // a comma list in one string
			r.Techniques = d.texts()
		case "tactics":
			r.Tactics = d.texts()
		case "alerters":
			r.Alerters = d.texts()
		case "updated_at":
			r.UpdatedAt = d.time()
		default:
			d.skip()
		}
	})
}
