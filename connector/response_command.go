package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The words for the state of a command that are known. CommandReceived and
// CommandCancelling are not final; there may be other words, and a command with one
// is best taken as still under way.
const (
	CommandSuccess    = "success"
	CommandFailure    = "failure"
	CommandCancelled  = "cancelled"
	CommandReceived   = "received"
	CommandCancelling = "cancel_initiated"
)

// HostCommand is one action on one host.
type HostCommand struct {
	ID        int64 // of this row; not the openc2 id
	CommandID string
	NodeID    int64
	Hostname  string
	Action    string
	Target    string
	// Status is the server's word; see CommandSuccess.
	Status string
	// Output is what the host printed, as it came; the guide does not show it, the
	// vendor's own console reads it. Empty when the server says NULL or NA.
	Output string
	// Message is the reason of a failure, such as RESP_SERVER_DISABLED or
	// FILE_NOT_FOUND, as it came. Where the server puts nothing there, it is Output.
	Message              string
	Command              json.RawMessage
	CreatedAt, UpdatedAt time.Time
}

// Final reports whether nothing more will come of the command.
func (h HostCommand) Final() bool { return finalStatus(h.Status) }

func finalStatus(word string) bool {
	switch strings.ToLower(word) {
	case CommandSuccess, CommandFailure, CommandCancelled, "canceled":
		return true
	}
	return false
}

func readHostCommand(v value) HostCommand {
	h := HostCommand{
		ID:        v.at("id").id(),
		CommandID: v.at("command_id").text(),
		NodeID:    v.at("node_id").id(),
		Hostname:  v.at("hostname").text(),
		Action:    v.at("action").text(),
		Target:    v.at("target").text(),
		Status:    v.at("status").text(),
		Output:    v.at("data").text(),
		Message:   v.at("message").text(),
		Command:   commandObject(v.at("command")),
		CreatedAt: v.at("created_at", "Created_at").time(), // both spellings are in the guide
		UpdatedAt: v.at("updated_at").time(),
	}
	if h.Output == "NULL" || h.Output == "NA" {
		h.Output = ""
	}
	if h.Message == "" {
		h.Message = h.Output
	}
	return h
}

func hostCommandRow(v value) (HostCommand, error) {
	h := readHostCommand(v)
	switch {
	case !v.isObject():
		return h, errNotObject
	case h.CommandID == "" && h.ID == 0:
		return h, errors.New("command without id")
	}
	return h, nil
}

// ResponseView chooses among the commands of one action.
type ResponseView struct {
	OpenC2ID int64
	Search   string // host name
	// Start is an offset, Limit a page size; default 100.
	Start, Limit int
}

// ViewPage fetches one page of what became of an action, a row for each host. An
// answer without a list is ErrNotJSON.
// API: POST /response/view (REST guide 4.0.0, "Get additional information for all
// response actions").
func (s *ResponsesService) ViewPage(ctx context.Context, q ResponseView) (page Page[HostCommand], err error) {
	if q.OpenC2ID <= 0 {
		return page, fmt.Errorf("view response: %w: openc2 id is %d", ErrInvalid, q.OpenC2ID)
	}
	in := map[string]any{"openc2_id": q.OpenC2ID}
	if err := paging(in, "view response", q.Start, q.Limit); err != nil {
		return page, err
	}
	set(in, "searchterm", q.Search)
	return paged(ctx, s.c, callResponseView, in, hostCommandRow)
}

// View fetches what became of an action on all hosts. With an error, what was read
// before it is returned all the same.
// API: POST /response/view (REST guide 4.0.0, "Get additional information for all
// response actions").
func (s *ResponsesService) View(ctx context.Context, openC2ID int64) (all []HostCommand, err error) {
	pages := list(ctx, 0, func(ctx context.Context, start, limit int) (Page[HostCommand], error) {
		return s.ViewPage(ctx, ResponseView{OpenC2ID: openC2ID, Start: start, Limit: limit})
	}, func(h *HostCommand) string { return strconv.FormatInt(h.ID, 10) + "/" + h.CommandID })
	for h, err := range pages {
		if err != nil {
			return all, err
		}
		all = append(all, h)
	}
	return all, nil
}

// Get fetches one action on one host. ErrNotFound if there is none.
// API: GET /response/{command_id} (REST guide 4.0.0, "Get a response action").
func (s *ResponsesService) Get(ctx context.Context, commandID string) (h HostCommand, err error) {
	k, err := callResponseGet.with(commandID)
	if err != nil {
		return h, err
	}
	err = s.c.do(ctx, k, nil, data(func(v value) { h = readHostCommand(v) }))
	if err == nil && h.CommandID == "" && h.Status == "" && h.ID == 0 {
		err = missing(k)
	}
	return h, err
}

// Cancel withdraws a command. What the host has done already stays done.
// API: POST /response/cancel (REST guide 4.0.0, "Cancel an ongoing response action").
func (s *ResponsesService) Cancel(ctx context.Context, commandID string) error {
	if commandID == "" {
		return fmt.Errorf("cancel response: %w: command id is empty", ErrInvalid)
	}
	return s.c.do(ctx, callResponseCancel, map[string]any{"command_id": commandID}, nil)
}
