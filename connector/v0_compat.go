package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// oldAPI lets the services speak with a server of the 2.x line that has API v0
// alone. It stands where calls of v1 leave: some are the same in v0 but for their
// path, some are put together from what v0 has, and the rest are ErrUnavailable
// before anything is sent. What it hands back has the shape of a v1 answer, so that
// the services read it with the same functions.
//
// Lists of v0 have no pages and few filters: they are read whole, and filtered and
// cut here.
type oldAPI struct {
	c      *Client
	hosts  snapshot[value]
	alerts snapshot[oldAlert]
	calls  map[string]translation
}

// translation does in v0 what a call of v1 asks for and returns what v1 would have
// answered below data.
type translation func(ctx context.Context, k call, in value) (data any, err error)

func newOldAPI(c *Client) *oldAPI {
	o := &oldAPI{c: c, hosts: newSnapshot[value](), alerts: newSnapshot[oldAlert]()}
	o.calls = map[string]translation{
		callHostsList.id:       o.listHosts,
		callHostsGet.id:        o.getHost,
		callHostsCount.id:      o.countHosts,
		callHostsTagsList.id:   o.hostTags,
		callHostsTagsAdd.id:    o.addHostTag,
		callHostsTagsRemove.id: o.removeHostTag,
		callAlertsList.id:      o.listAlerts,
		callAlertsGet.id:       o.getAlert,
		callDistributedAdd.id:  o.askLive,
		callCarvesList.id:      o.listCarves,
		callCarvesQuery.id:     o.carveOfQuery,
		callResponseAdd.id:     o.respond,
	}
	return o
}

// twins are the calls that v0 has with the same arguments and the same answer.
var twins = map[string]call{
	callAuthLogin.id:      callV0Login,
	callAuthLogout.id:     callV0Logout,
	callHostsExportAll.id: callV0NodesCsv,
	callRulesGet.id:       callV0RulesGet,
	callCarvesDownload.id: callV0CarvesDownload,
	callResponseGet.id:    callV0ResponseGet,
}

// same is the twin of a call of v1, ErrUnavailable if it has none.
func (o *oldAPI) same(k call) (call, error) {
	twin, ok := twins[k.id]
	if !ok {
		return k, notInV0(k)
	}
	return twin.with(k.parts...)
}

// spoken is a call in the API that the client speaks.
func (c *Client) spoken(k call) call {
	if twin, ok := twins[k.id]; ok && c.old != nil {
		return twin
	}
	return k
}

func (o *oldAPI) do(ctx context.Context, k call, in any, read readFunc) error {
	translate, ok := o.calls[k.id]
	if !ok {
		twin, err := o.same(k)
		if err != nil {
			return err
		}
		return o.c.do(ctx, twin, in, read)
	}
	text, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", k.id, ErrInvalid, err)
	}
	arguments, err := parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", k.id, ErrInvalid, err)
	}
	data, err := translate(ctx, k, arguments)
	if err != nil || read == nil {
		return err
	}
	answer, err := parse(encode(map[string]any{"status": "success", "data": data}))
	if err != nil {
		return fmt.Errorf("%s %s: %w: %w", k.method, k.path, ErrNotJSON, err)
	}
	read(answer)
	return nil
}

// notInV0 is the error of a call that API v0 lacks. Nothing is sent.
func notInV0(k call) error {
	return fmt.Errorf("%s %s: %w: API v0 has no such call", k.method, k.path, ErrUnavailable)
}

// understood refuses arguments that v0 cannot heed and that nothing here does in
// its place: without a filter the answer would be another one than asked for.
func understood(k call, in value, known ...string) error {
	for name := range in.fields() {
		if !slices.Contains(known, name) {
			return fmt.Errorf("%s %s: %w: API v0 knows no argument like %s", k.method, k.path, ErrUnavailable, name)
		}
	}
	return nil
}

// before marks the error of a read that had to come before a call with an effect.
// What the server said for certain stays as it is.
func before(k call, err error) error {
	if err == nil || !k.effect {
		return err
	}
	for _, certain := range []error{ErrNotFound, ErrRefused, ErrUnavailable, ErrInvalid, ErrForbidden, ErrUnauthorized, ErrBadCredentials} {
		if errors.Is(err, certain) {
			return err
		}
	}
	return notSent(k, err)
}

// whole reads a list of v0, which comes without pages, and perhaps not at all if it is
// empty.
func (o *oldAPI) whole(ctx context.Context, k call, in any, tidy func(value) value) (list []value, err error) {
	page, err := v0Page(ctx, o.c.V0, k, in, func(v value) (value, error) { return tidy(v), nil })
	return page.Results, err
}

// absentIn is the error of a call that names something the server does not have.
func absentIn(k call, what string) error {
	return &APIError{Method: k.method, Path: k.path, Status: 200, Message: oneLine(what), kinds: []error{ErrRefused, ErrNotFound}}
}

// pageOf cuts the page that a call asks for out of a whole list.
func pageOf(list []value, in value) map[string]any {
	start := min(max(in.at("start").count(), 0), len(list))
	end := len(list)
	if limit, ok := in.at("limit").integer(); ok && limit >= 0 {
		end = start + int(min(limit, int64(end-start)))
	}
	results := make([]any, 0, end-start)
	for _, row := range list[start:end] {
		results = append(results, row.v)
	}
	return map[string]any{"count": len(list), "total_count": len(list), "results": results}
}

// altered is a copy of an object with other values under some keys. What is no
// object stays as it is, to be told as a malformed row.
func altered(v value, change map[string]any) value {
	object, ok := v.v.(map[string]any)
	if !ok {
		return v
	}
	object = maps.Clone(object)
	maps.Copy(object, change)
	return value{v: object, source: v.source}
}
