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
	k, err := callRulesGet.with(strconv.FormatInt(id, 10))
	if err != nil {
		return Rule{}, err
	}
	err = s.c.do(ctx, k, nil, data(func(v value) { r = readRule(v) }))
	if err == nil && r.ID == 0 {
		err = missing(k)
	}
	if err != nil {
		return Rule{}, err
	}
	return r, nil
}

func readRule(v value) Rule {
	return Rule{
		ID:          v.at("id").id(),
		Name:        v.at("name").text(),
		Description: v.at("description").text(),
		Severity:    v.at("severity").text(),
		Type:        v.at("type").text(),
		Status:      v.at("status").text(),
		Platform:    v.at("platform").text(),
		Techniques:  v.at("technique_id").texts(), // a comma list in one string
		Tactics:     v.at("tactics").texts(),
		Alerters:    v.at("alerters").texts(),
		UpdatedAt:   v.at("updated_at").time(),
	}
}
