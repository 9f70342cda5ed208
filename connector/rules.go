package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RulesService is the section "Rules" of the REST guide.
type RulesService struct {
	c    *Client
	turn turn
}

// Rule is a detection rule.
type Rule struct {
	ID          int64
	Name        string
	Description string
	// Severity is INFO, LOW, MEDIUM, HIGH or CRITICAL; INFO, WARNING or CRITICAL in
	// release 2.1.2; empty in a rule that was modified without one.
	Severity   string
	Type       string   // MITRE or DEFAULT; empty in a rule that was modified without one
	Status     string   // ACTIVE or INACTIVE
	Platform   string   // windows, linux, darwin or all; release 4.0
	Techniques []string // T1003
	Tactics    []string // slugs: credential-access
	Alerters   []string // debug, rsyslog, email
	// AlertDescription reports whether e-mails about alerts have the description;
	// release 4.0.
	AlertDescription bool
	// Conditions is the tree as the server has it; see Condition.
	Conditions json.RawMessage
	AlertCount int       // unresolved alerts; list only
	CreatedAt  time.Time // release 4.0
	UpdatedAt  time.Time
}

// Condition reads the tree of the rule.
func (r Rule) Condition() (Condition, error) {
	v, err := parse(r.Conditions)
	if err != nil {
		return Condition{}, errNoCondition
	}
	return readCondition(v)
}

func readRule(v value) Rule {
	return Rule{
		ID:               v.at("id").id(),
		Name:             v.at("name").text(),
		Description:      v.at("description").text(),
		Severity:         v.at("severity").text(),
		Type:             v.at("type").text(),
		Status:           v.at("status").text(),
		Platform:         v.at("platform").text(),
		Techniques:       v.at("technique_id").texts(), // a comma list in one string
		Tactics:          v.at("tactics").texts(),
		Alerters:         v.at("alerters").texts(),
		AlertDescription: v.at("alert_description").truth(),
		Conditions:       v.at("conditions").raw(),
		AlertCount:       v.at("alerts_count").count(),
		CreatedAt:        v.at("created_at").time(),
		UpdatedAt:        v.at("updated_at").time(),
	}
}

func ruleRow(v value) (Rule, error) {
	r := readRule(v)
	return r, needID(v, r.ID, "rule")
}

// RuleQuery filters the list of rules. Empty fields filter nothing. Release 2.1.2
// heeds Search, Start and Limit only.
type RuleQuery struct {
	Active *bool // nil for active and inactive ones
	Search string
	Column string // name, created_at or alert_count; default is most alerts first
	Desc   bool
	// Start is an offset, Limit a page size; default 100.
	Start, Limit int
}

// Page fetches one page of rules. Rows without an id are in Page.Malformed.
// API: POST /rules (REST guide 4.0.0, "Get a list of all rules").
func (s *RulesService) Page(ctx context.Context, q RuleQuery) (page Page[Rule], err error) {
	const what = "list rules"
	in := make(map[string]any)
	if err := errors.Join(inSet(what, "column", q.Column, "name", "created_at", "alert_count"), noNUL(what, "search text", q.Search),
		paging(in, what, q.Start, q.Limit)); err != nil {
		return page, err
	}
	if q.Active != nil {
		in["status"] = *q.Active
	}
	set(in, "searchterm", q.Search)
	order(in, q.Column, q.Desc)
	return paged(ctx, s.c, callRulesList, in, ruleRow)
}

// List walks through all rules from q.Start on, q.Limit at a time. Without a column
// it sorts by name, where the server can, so that alerts do not move the pages.
func (s *RulesService) List(ctx context.Context, q RuleQuery) iter.Seq2[Rule, error] {
	if q.Column == "" {
		q.Column, q.Desc = "name", false
	}
	return listFrom(ctx, &q.Start, &q.Limit, func(ctx context.Context) (Page[Rule], error) {
		return s.Page(ctx, q)
	}, func(r *Rule) string { return idKey(r.ID) })
}

// RuleName is what the short list tells of a rule.
type RuleName struct {
	ID     int64
	Name   string
	Status string
}

// Names lists id, name and status of all rules, by name. With a rule that cannot be
// read, the error is a *MalformedError, and the others are returned all the same.
// API: GET /rules (public source of release 4.0), release 4.0.
func (s *RulesService) Names(ctx context.Context) ([]RuleName, error) {
	return listed(ctx, s.c, callRulesNames, func(v value) (RuleName, error) {
		r, err := ruleRow(v)
		return RuleName{ID: r.ID, Name: r.Name, Status: r.Status}, err
	})
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

// RuleSpec is what a rule is written from.
type RuleSpec struct {
	Name        string
	Description string
	// Condition says when the rule fires.
	Condition Condition
	// Severity is INFO, LOW, MEDIUM, HIGH or CRITICAL in release 4.0, and INFO, WARNING
	// or CRITICAL in 2.1.2; each refuses the other's words. Add takes INFO for none.
	Severity string
	Status   string // ACTIVE or INACTIVE; Add takes ACTIVE for none, and others leave it
	Type     string // MITRE or DEFAULT; Add takes DEFAULT for none
	// Techniques are like T1003; the server refuses sub-techniques.
	Techniques []string
	Tactics    []string // slugs: credential-access
	// Alerters are email, rsyslog and debug; the server always adds debug.
	Alerters []string
	Platform string // windows, linux, darwin or all; empty is all. Release 4.0
	// AlertDescription puts the description into e-mails. Release 4.0.
	AlertDescription bool

	kept json.RawMessage // the tree as the server had it
	read Condition       // what was made of kept
}

// Spec returns what the rule could be written from.
func (r Rule) Spec() RuleSpec {
	condition, err := r.Condition()
	if err != nil {
		condition = Condition{} // kept as it is, unless it is set anew
	}
	return RuleSpec{
		Name: r.Name, Description: r.Description, Condition: condition, Severity: r.Severity, Status: r.Status, Type: r.Type,
		Techniques: slices.Clone(r.Techniques), Tactics: slices.Clone(r.Tactics), Alerters: slices.Clone(r.Alerters),
		Platform: r.Platform, AlertDescription: r.AlertDescription, kept: r.Conditions, read: condition.clone(),
	}
}

// Add makes a rule and returns its id. ErrRefused if there is one of that name. It
// needs the admin role in release 4.0.
// API: POST /rules/add (REST guide 4.0.0, "Add a rule").
func (s *RulesService) Add(ctx context.Context, spec RuleSpec) (id int64, err error) {
	spec.kept = nil
	in, err := spec.write(RuleSpec{})
	if err != nil {
		return 0, fmt.Errorf("add a rule: %w", err)
	}
	if err := s.c.do(ctx, callRulesAdd, in, func(answer value) { id = answer.at("rule_id").id() }); err != nil {
		return 0, err
	}
	if id == 0 {
		return 0, lacking(callRulesAdd, "the answer holds no id")
	}
	return id, nil
}

// Replace writes a rule anew from spec, of which severity and type must be given,
// for the server empties what is left out; only the status stays. Modify changes
// single things. It needs the consent ReplaceEverything, and the admin role in
// release 4.0. ErrNotFound if there is no such rule; for ErrConflict see there.
// Release 2.1.2 drops the rule's recon queries, which no call tells.
// API: POST /rules/{rule_id} (REST guide 4.0.0, "Modify a rule").
func (s *RulesService) Replace(ctx context.Context, id int64, spec RuleSpec, consent Consent) (Rule, error) {
	if err := consent.must(ReplaceEverything, "replace a rule"); err != nil {
		return Rule{}, err
	}
	if spec.Severity == "" || spec.Type == "" {
		return Rule{}, fmt.Errorf("replace a rule: %w: without severity or type the rule would have none", ErrInvalid)
	}
	spec.kept = nil
	release, err := s.turn.take(ctx)
	if err != nil {
		return Rule{}, err
	}
	defer release()
	if _, err := s.Get(ctx, id); err != nil {
		return Rule{}, err
	}
	return s.overwrite(ctx, id, RuleSpec{}, spec)
}

// Modify reads a rule, lets change alter what it likes, writes all of it, and
// reads it back. What change leaves alone stays as it is, conditions that are not
// understood here included. An error of change ends it before anything is written.
// It needs the admin role in release 4.0.
//
// Changes by one Client wait for each other, so change must not make one. The server
// has no call that does this in one step: what somebody else writes into the rule
// meanwhile is lost; what somebody else overwrites of ours is ErrConflict. A
// rule that cannot be read back is ErrUncertain.
// Release 2.1.2 drops the rule's recon queries, which no call tells.
// API: GET and POST /rules/{rule_id} (REST guide 4.0.0, "Modify a rule").
func (s *RulesService) Modify(ctx context.Context, id int64, change func(*RuleSpec) error) (Rule, error) {
	release, err := s.turn.take(ctx)
	if err != nil {
		return Rule{}, err
	}
	defer release()
	r, err := s.Get(ctx, id)
	if err != nil {
		return Rule{}, err
	}
	spec := r.Spec()
	if err := change(&spec); err != nil {
		return Rule{}, fmt.Errorf("modify rule %d: %w", id, err)
	}
	return s.overwrite(ctx, id, r.Spec(), spec)
}

// overwrite writes a rule and reads it back. Where the answer was lost, what is
// read decides.
func (s *RulesService) overwrite(ctx context.Context, id int64, old, spec RuleSpec) (Rule, error) {
	in, err := spec.write(old)
	if err != nil {
		return Rule{}, fmt.Errorf("modify rule %d: %w", id, err)
	}
	k, err := callRulesUpdate.with(strconv.FormatInt(id, 10))
	if err != nil {
		return Rule{}, err
	}
	if err = s.c.do(ctx, k, in, nil); err != nil && !errors.Is(err, ErrUncertain) {
		return Rule{}, err
	}
	now, readErr := s.Get(ctx, id)
	if readErr != nil {
		return Rule{}, unread(fmt.Sprintf("rule %d", id), err, readErr)
	}
	if differ := spec.differsFrom(now, in["conditions"]); len(differ) > 0 {
		return now, errors.Join(err, fmt.Errorf("rule %d: %w: %s", id, ErrConflict, strings.Join(differ, ", ")))
	}
	return now, nil
}

// differsFrom names what of a rule is not as it was written.
func (spec RuleSpec) differsFrom(r Rule, conditions any) (names []string) {
	for _, field := range []struct {
		name string
		same bool
	}{
		{"name", r.Name == spec.Name},
		{"description", r.Description == spec.Description},
		{"severity", strings.EqualFold(r.Severity, spec.Severity)},
		{"status", spec.Status == "" || strings.EqualFold(r.Status, spec.Status)},
		{"type", strings.EqualFold(r.Type, spec.Type)},
		{"techniques", slices.Equal(r.Techniques, spec.Techniques)},
		{"tactics", slices.Equal(r.Tactics, spec.Tactics)},
		{"alerters", !slices.ContainsFunc(spec.Alerters, func(name string) bool { return !slices.Contains(r.Alerters, name) })},
		// Release 2.1.2 has neither of these.
		{"platform", r.Platform == "" || spec.Platform == "" || r.Platform == spec.Platform},
		{"alert_description", r.Platform == "" || r.AlertDescription == spec.AlertDescription},
		{"conditions", sameJSON(r.Conditions, conditions)},
	} {
		if !field.same {
			names = append(names, field.name)
		}
	}
	return names
}

// sameJSON reports whether a text says the same as a value that was written.
func sameJSON(text json.RawMessage, written any) bool {
	sent, err := json.Marshal(written)
	if err != nil {
		return false
	}
	a, errA := parse(text)
	b, errB := parse(sent)
	return errA == nil && errB == nil && string(encode(a.v)) == string(encode(b.v)) // keys are written in order
}

// The rule for technique ids of releases 2.1.2 to 4.0.
var techniqueForm = regexp.MustCompile(`^T1[0-9]{3}$`)

var (
	ruleSeverities = []string{"INFO", "LOW", "MEDIUM", "HIGH", "CRITICAL", "WARNING"}
	ruleTypes      = []string{"MITRE", "DEFAULT"}
	ruleStatuses   = []string{"ACTIVE", "INACTIVE"}
	rulePlatforms  = []string{"windows", "linux", "darwin", "all"}
	ruleAlerters   = []string{"email", "rsyslog", "debug"}
)

// write checks a rule and writes it as the server reads it: lists as comma texts.
// What stands in old passes, so that a rule which somebody made by other means can
// be modified.
func (spec RuleSpec) write(old RuleSpec) (map[string]any, error) {
	var problems []error
	problem := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...))
	}
	among := func(what, text, before string, allowed []string) {
		if text != "" && text != before && !slices.Contains(allowed, text) {
			problem("%s %q is none of %s", what, clip(text, 40), strings.Join(allowed, ", "))
		}
	}
	if strings.TrimSpace(spec.Name) == "" {
		problem("the rule has no name")
	}
	among("severity", spec.Severity, old.Severity, ruleSeverities)
	among("type", spec.Type, old.Type, ruleTypes)
	among("status", spec.Status, old.Status, ruleStatuses)
	among("platform", spec.Platform, old.Platform, rulePlatforms)
	for _, name := range spec.Alerters {
		if !slices.Contains(old.Alerters, name) {
			among("alerter", name, "", ruleAlerters)
		}
	}
	for _, id := range spec.Techniques {
		if !techniqueForm.MatchString(id) {
			problem("technique %q: the server takes T1 and three digits, without a sub-technique", clip(id, 40))
		}
	}
	for _, list := range [][]string{spec.Tactics, spec.Alerters} {
		for _, text := range list {
			if text == "" || strings.TrimSpace(text) != text || strings.Contains(text, ",") {
				problem("%q is empty, or has a comma or a blank at its end", clip(text, 40))
			}
		}
	}
	conditions, err := spec.conditions()
	if err != nil {
		problems = append(problems, err)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	in := map[string]any{"name": spec.Name, "conditions": conditions, "alert_description": spec.AlertDescription}
	set(in, "description", spec.Description)
	set(in, "severity", spec.Severity)
	set(in, "status", spec.Status)
	set(in, "type", spec.Type)
	set(in, "platform", spec.Platform)
	set(in, "technique_id", strings.Join(spec.Techniques, ","))
	set(in, "tactics", strings.Join(spec.Tactics, ","))
	set(in, "alerters", strings.Join(spec.Alerters, ","))
	return in, nil
}

// conditions is the tree as the server had it, if nobody touched it.
func (spec RuleSpec) conditions() (any, error) {
	if spec.kept != nil && spec.Condition.equal(spec.read) {
		return spec.kept, nil
	}
	return spec.Condition.forRule()
}

// Enable makes the server heed rules again. ErrNotFound if one of them is not there,
// and then nothing changes: the server would leave it out, or bring a deleted one
// back. Release 2.1.2 has no such call: Modify sets the status there.
// API: POST /rules/enable (public source of release 4.0), release 4.0.
func (s *RulesService) Enable(ctx context.Context, ids ...int64) error {
	return s.change(ctx, callRulesEnable, ids)
}

// Disable makes the server pass rules over. As to ids that are not there and to
// release 2.1.2 see Enable.
// API: POST /rules/disable (public source of release 4.0), release 4.0.
func (s *RulesService) Disable(ctx context.Context, ids ...int64) error {
	return s.change(ctx, callRulesDisable, ids)
}

// Delete deletes rules; their alerts stay. It needs the consent DeleteForGood. As to
// ids that are not there see Enable. The server goes on heeding a deleted rule until
// it reads its rules anew, which Enable and Disable make it do: disable a rule first
// if it must be quiet at once.
// API: DELETE /rules/disable (REST guide 4.0.0, "Delete rules"), release 4.0.
func (s *RulesService) Delete(ctx context.Context, consent Consent, ids ...int64) error {
	if err := consent.must(DeleteForGood, "delete rules"); err != nil {
		return err
	}
	return s.change(ctx, callRulesDelete, ids)
}

func (s *RulesService) change(ctx context.Context, k call, ids []int64) error {
	if len(ids) == 0 {
		return fmt.Errorf("rules: %w: no id", ErrInvalid)
	}
	names, err := s.Names(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !slices.ContainsFunc(names, func(r RuleName) bool { return r.ID == id }) {
			return fmt.Errorf("%s %s: rule %d: %w", k.method, k.path, id, ErrNotFound)
		}
	}
	return s.c.do(ctx, k, map[string]any{"rule_ids": ids}, nil)
}

// Tactics is what MITRE ATT&CK says about techniques.
type Tactics struct {
	Tactics     []string // slugs: credential-access; one may stand twice
	Description string   // of the techniques, one after the other
}

var attackForm = regexp.MustCompile(`^T[0-9]{4}(\.[0-9]{3})?$`)

// Tactics asks for the tactics of techniques, like T1003. The server looks them up
// at a site of MITRE, and fails where it cannot reach it.
// API: POST /rules/tactics (REST guide 4.0.0, "Get MITRE tactics").
func (s *RulesService) Tactics(ctx context.Context, techniques ...string) (t Tactics, err error) {
	if len(techniques) == 0 {
		return t, fmt.Errorf("tactics: %w: no technique", ErrInvalid)
	}
	for _, id := range techniques {
		if !attackForm.MatchString(id) {
			return t, fmt.Errorf("tactics: %w: technique %q is not like T1003 or T1003.001", ErrInvalid, clip(id, 40))
		}
	}
	has := false
	err = s.c.do(ctx, callRulesTactics, map[string]any{"technique_ids": strings.Join(techniques, ",")}, data(func(v value) {
		has = v.has("tactics")
		t = Tactics{Tactics: v.at("tactics").texts(), Description: strings.TrimSpace(v.at("description").text())}
	}))
	if err == nil && !has {
		err = lacking(callRulesTactics, "the answer has no tactics")
	}
	return t, err
}
