package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"
)

// ResponsesService is the section "Response actions" of the REST guide. All of it
// is Enterprise only.
type ResponsesService struct{ c *Client }

// Command is what the server returns for a response action: one of the two ids,
// or both, or, against the guide, none. CommandID is the action on one host,
// OpenC2ID the action on all hosts that it was sent to. What is not told is zero.
type Command struct {
	CommandID string
	OpenC2ID  int64
}

// read reads the ids where they stand, beside status or in data.
func (cmd *Command) read(answer value) {
	for _, v := range []value{answer, answer.at("data")} {
		if id := v.at("command_id").text(); id != "" {
			cmd.CommandID = id
		}
		if id := v.at("openc2_id").id(); id != 0 {
			cmd.OpenC2ID = id
		}
	}
}

// ResponseAction is one action, maybe for many hosts.
type ResponseAction struct {
	ID         int64 // the openc2 id
	Action     string
	Target     string // file, process, ip_connection, ...
	ScriptName string
	// Command is the server's description: action, actuator, and below target
	// what was acted on.
	Command json.RawMessage
	// Done and Hosts say how many hosts have finished, of how many.
	Done, Hosts          int
	CreatedAt, UpdatedAt time.Time
}

func actionRow(v value) (ResponseAction, error) {
	a := ResponseAction{
		ID:         v.at("id").id(),
		Action:     v.at("action").text(),
		Target:     v.at("target").text(),
		ScriptName: v.at("script_name").text(),
		Command:    commandObject(v.at("command")),
		CreatedAt:  v.at("created_at").time(),
		UpdatedAt:  v.at("updated_at").time(),
	}
	done, hosts, _ := strings.Cut(v.at("Executed", "executed").text(), "/") // the capital is the server's: "1/1"
	a.Done, _ = strconv.Atoi(strings.TrimSpace(done))
	a.Hosts, _ = strconv.Atoi(strings.TrimSpace(hosts))
	return a, needID(v, a.ID, "response action")
}

// commandObject reads a command: an object, or an object in a string as the older
// API has it.
func commandObject(v value) json.RawMessage {
	if text, ok := v.v.(string); ok {
		if inner, err := parse([]byte(text)); err == nil {
			return inner.raw()
		}
	}
	return v.raw()
}

// ResponseQuery filters the list of actions.
type ResponseQuery struct {
	Search string
	Column string // created_at
	Desc   bool
	// Start is an offset, Limit a page size; default 100.
	Start, Limit int
}

// Page fetches one page of actions. An answer without a list is ErrNotJSON.
// API: POST /response (REST guide 4.0.0, "Get all response actions").
func (s *ResponsesService) Page(ctx context.Context, q ResponseQuery) (page Page[ResponseAction], err error) {
	in := map[string]any{}
	err = errors.Join(paging(in, "response actions", q.Start, q.Limit), inSet("response actions", "column", q.Column, "created_at"))
	if err != nil {
		return page, err
	}
	set(in, "searchterm", q.Search)
	order(in, q.Column, q.Desc)
	return paged(ctx, s.c, callResponseList, in, actionRow)
}

// List walks through all actions from q.Start on, q.Limit at a time.
func (s *ResponsesService) List(ctx context.Context, q ResponseQuery) iter.Seq2[ResponseAction, error] {
	return listFrom(ctx, &q.Start, &q.Limit, func(ctx context.Context) (Page[ResponseAction], error) {
		return s.Page(ctx, q)
	}, func(a *ResponseAction) string { return idKey(a.ID) })
}

// Export copies the list of actions to w, as CSV; with a host identifier, those of
// that host.
// API: POST /response/export (REST guide 4.0.0, "Export all response actions").
func (s *ResponsesService) Export(ctx context.Context, host string, w io.Writer) (n int64, err error) {
	in := map[string]any{}
	set(in, "host_identifier", host)
	return s.c.export(ctx, callResponseExport, in, w)
}

// Delete removes an action from the server's list for good, with what its hosts
// answered; nothing on the hosts changes. Only completed actions can be removed.
// API: DELETE /response/{openc2_id}/delete (REST guide 4.0.0, "Delete a response
// action").
func (s *ResponsesService) Delete(ctx context.Context, openC2ID int64, consent Consent) error {
	if err := consent.must(DeleteForGood, "delete response action"); err != nil {
		return err
	}
	if openC2ID <= 0 {
		return fmt.Errorf("delete response action: %w: openc2 id is %d", ErrInvalid, openC2ID)
	}
	k, err := callResponseDelete.with(strconv.FormatInt(openC2ID, 10))
	if err != nil {
		return err
	}
	return s.c.do(ctx, k, nil, nil)
}

// DeleteMany is Delete for several actions. The server does not tell which of them
// it has removed: read the list to be sure.
// API: DELETE /response/delete (REST guide 4.0.0, "Delete response actions").
func (s *ResponsesService) DeleteMany(ctx context.Context, openC2IDs []int64, consent Consent) error {
	if err := consent.must(DeleteForGood, "delete response actions"); err != nil {
		return err
	}
	texts := make([]string, 0, len(openC2IDs))
	for _, id := range openC2IDs {
		if id <= 0 {
			return fmt.Errorf("delete response actions: %w: openc2 id is %d", ErrInvalid, id)
		}
		texts = append(texts, strconv.FormatInt(id, 10))
	}
	ids, err := commaList("delete response actions", texts)
	if err != nil {
		return err
	}
	return s.c.do(ctx, callResponseDeleteBulk, map[string]any{"openc2_ids": ids}, nil)
}
