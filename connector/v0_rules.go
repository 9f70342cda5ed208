package connector

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Rules fetches all rules. Release 2.1.2 writes conditions in the way of Python,
// which Rule.Condition cannot read.
// API v0: GET /rules/ (guide of API v0, "List all the Rules").
func (s *V0Service) Rules(ctx context.Context) (Page[Rule], error) {
	return v0Page(ctx, s, callV0Rules, nil, ruleRow)
}

// Rule fetches one rule. ErrNotFound if there is none.
// API v0: GET /rules/{rule_id} (guide of API v0, "List a Specific Rule").
func (s *V0Service) Rule(ctx context.Context, id int64) (Rule, error) {
	k, err := callV0RulesGet.with(strconv.FormatInt(id, 10))
	if err != nil {
		return Rule{}, err
	}
	return v0One(ctx, s, k, nil, ruleRow)
}

// AddRule adds a rule and returns its id. Platform and AlertDescription are not for
// API v0. ErrRefused if there is a rule of that name.
// API v0: POST /rules/add (guide of API v0, "Add a Rule").
func (s *V0Service) AddRule(ctx context.Context, spec RuleSpec) (id int64, err error) {
	in, err := v0Rule("add rule", spec)
	if err != nil {
		return 0, err
	}
	return s.made(ctx, callV0RulesAdd, in, "rule_id")
}

// UpdateRule writes a rule anew and returns it. The server takes what spec leaves out
// for empty, so the consent ReplaceEverything is needed.
// API v0: POST /rules/{rule_id} (guide of API v0, "Modify a Rule").
func (s *V0Service) UpdateRule(ctx context.Context, id int64, spec RuleSpec, consent Consent) (Rule, error) {
	if err := consent.must(ReplaceEverything, "update rule"); err != nil {
		return Rule{}, err
	}
	in, err := v0Rule("update rule", spec)
	if err != nil {
		return Rule{}, err
	}
	k, err := callV0RulesUpdate.with(strconv.FormatInt(id, 10))
	if err != nil {
		return Rule{}, err
	}
	return v0One(ctx, s, k, in, ruleRow)
}

// v0Rule is a rule as API v0 wants it. The server splits the alerters without a
// look, so they are always sent; it adds debug itself.
func v0Rule(what string, spec RuleSpec) (map[string]any, error) {
	if spec.Platform != "" || spec.AlertDescription {
		return nil, fmt.Errorf("%s: %w: API v0 knows neither platform nor description in e-mails", what, ErrInvalid)
	}
	if strings.TrimSpace(spec.Description) == "" {
		return nil, fmt.Errorf("%s: %w: API v0 wants a description", what, ErrInvalid)
	}
	in, err := spec.write(RuleSpec{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	delete(in, "alert_description")
	if in["alerters"] == nil {
		in["alerters"] = "debug"
	}
	return in, nil
}
