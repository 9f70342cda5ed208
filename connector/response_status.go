package connector

import (
	"context"
	"errors"
	"fmt"
)

// Channel says whether a host can take actions.
type Channel struct {
	ResponseEnabled bool
	EndpointOnline  bool
}

// Status fetches whether a host can take actions, by host identifier.
// API: POST /response/status (REST guide 4.0.0, "Get connection status for a host").
func (s *ResponsesService) Status(ctx context.Context, host string) (Channel, error) {
	if host == "" {
		return Channel{}, fmt.Errorf("response status: %w", ErrEmptyTarget)
	}
	return s.status(ctx, map[string]any{"host_identifier": host})
}

// StatusByNode is Status by the number of a host.
// API: POST /response/status (REST guide 4.0.0, "Get connection status for a host").
func (s *ResponsesService) StatusByNode(ctx context.Context, nodeID int64) (Channel, error) {
	if nodeID <= 0 {
		return Channel{}, fmt.Errorf("response status: %w: node id is %d", ErrEmptyTarget, nodeID)
	}
	return s.status(ctx, map[string]any{"node_id": nodeID})
}

func (s *ResponsesService) status(ctx context.Context, in map[string]any) (ch Channel, err error) {
	told := false
	err = s.c.do(ctx, callResponseStatus, in, func(answer value) { told = ch.read(answer) })
	if err == nil && !told {
		err = lacking(callResponseStatus, "the answer does not tell the status")
	}
	return ch, err
}

// read reads the flags where they stand, beside status or in data, and reports
// whether there are any.
func (ch *Channel) read(answer value) (told bool) {
	for _, v := range []value{answer, answer.at("data")} {
		enabled, online := v.at("responseEnabled").boolean(), v.at("endpointOnline").boolean()
		told = told || enabled != nil || online != nil
		ch.ResponseEnabled = ch.ResponseEnabled || enabled != nil && *enabled
		ch.EndpointOnline = ch.EndpointOnline || online != nil && *online
	}
	return told
}

// HostChannel is the Channel of a host.
type HostChannel struct {
	Identifier string
	Name       string
	Channel
	// Degraded is an agent that is connected and yet will not act soon.
	Degraded bool
}

// StatusAll fetches the channels of all hosts. With a host that cannot be read, the
// error is a *MalformedError, and the others are returned all the same.
// API: GET /response/status/all (REST guide 4.0.0, "Get connection status for all hosts").
func (s *ResponsesService) StatusAll(ctx context.Context) (all []HostChannel, err error) {
	return listed(ctx, s.c, callResponseStatusAll, channelRow)
}

func channelRow(v value) (HostChannel, error) {
	h := HostChannel{
		Identifier: v.at("hostIdentifier").text(),
		Name:       v.at("epName").text(),
		Degraded:   v.at("host_degraded").truth(),
	}
	// onlineStatus can say ONLINE while endpointOnline is false; it is left out on
	// purpose.
	told := h.read(v)
	switch {
	case !v.isObject():
		return h, errNotObject
	case h.Identifier == "" || !told:
		return h, errors.New("host without identifier or status")
	}
	return h, nil
}

// RestartAgent restarts the agent of an online host. The server returns no id, so
// nothing tells when it has happened.
// API: POST /response/restart-agent (REST guide 4.0.0, "Restart an agent").
func (s *ResponsesService) RestartAgent(ctx context.Context, host string) error {
	if host == "" {
		return fmt.Errorf("restart agent: %w", ErrEmptyTarget)
	}
	return s.c.do(ctx, callResponseRestartAgent, map[string]any{"host_identifier": host}, nil)
}
