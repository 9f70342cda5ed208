package connector

import (
	"context"
	"encoding/json"
	"strconv"
)

// V0AlertQuery filters the alerts of API v0. Release 2.1.2 refuses a query without
// any of them.
type V0AlertQuery struct {
	// Host is a host identifier. Beside other filters the server leaves one that it
	// does not know out, and answers with the alerts of all hosts.
	Host      string
	QueryName string
	RuleID    int64
}

func (q V0AlertQuery) arguments() map[string]any {
	in := map[string]any{}
	set(in, "host_identifier", q.Host)
	set(in, "query_name", q.QueryName)
	if q.RuleID != 0 {
		in["rule_id"] = q.RuleID
	}
	return in
}

// Alerts fetches all alerts that fit, in no order. That none fits is ErrRefused.
// Where the server tells no id, it is derived: see Alert.HasDerivedID.
// API v0: POST /alerts/ (guide of API v0, "List alerts"; refusals observed on
// release 2.1.2).
func (s *V0Service) Alerts(ctx context.Context, q V0AlertQuery) (Page[Alert], error) {
	return v0Page(ctx, s, callV0Alerts, q.arguments(), func(v value) (Alert, error) { return alertRow(tidyAlert(v)) })
}

// AlertData fetches one alert by the server's id. ErrNotFound if there is none.
// API v0: GET /alerts/data/{alert_id} (public source of release 2.1.2).
func (s *V0Service) AlertData(ctx context.Context, id int64) (a Alert, err error) {
	k, err := callV0AlertsData.with(strconv.FormatInt(id, 10))
	if err != nil {
		return a, err
	}
	err = s.c.do(ctx, k, nil, data(func(v value) { a = readAlert(alertObject(v)) }))
	if err == nil && a.CreatedAt.IsZero() && a.Columns == nil && a.Source == "" {
		err = missing(k)
	}
	if err != nil {
		return Alert{}, err
	}
	a.ID = id // the answer need not repeat it
	return a, nil
}

// alertObject is the alert of a detail call: below alert, or all of data.
func alertObject(v value) value {
	if inner := v.at("alert"); inner.isObject() {
		return inner
	}
	return v
}

// tidyAlert makes an alert of v1 of one of v0: with an id, and with its rule in one
// place. Alerts of threat intelligence name rule 1 there, which did not raise them.
func tidyAlert(v value) value {
	if !v.isObject() {
		return v
	}
	change := map[string]any{}
	if name := first(v.at("rule_name"), v.at("rule").at("name")); !v.at("rule").isObject() {
		if name == "" {
			name = v.at("rule").text()
		}
		change["rule"] = map[string]any{"id": v.at("rule_id").v, "name": name}
	}
	if source := v.at("source").text(); source != "" && source != "rule" {
		change["rule"], change["rule_id"] = nil, nil
	}
	v = altered(v, change)
	if v.at("id").id() == 0 {
		a := readAlert(v)
		v = altered(v, map[string]any{"id": json.Number(strconv.FormatInt(derivedID(&a), 10))})
	}
	return v
}
