package connector

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// LiveOutput is what a live response has said.
type LiveOutput struct {
	// Output is all that the host printed, as it came.
	Output string
	// Status is the server's last word; see CommandSuccess.
	Status string
	// Message is the reason of a failure.
	Message string
	// Complete reports whether the command has ended. If not, Output is what came
	// until the deadline, and Get tells how it ends.
	Complete bool
	// Polled reports that the socket was refused, so that Output came at the end.
	Polled bool
}

// outputPollInterval is how often a command is asked for where there is no socket.
const outputPollInterval = 2 * time.Second

// LiveOutput listens to the output of a live response until the command has ended,
// at most until deadline or ten minutes. Each piece is handed to piece, which may be
// nil, as it comes. A command that is still under way at the deadline is no error:
// Complete is false then. With an error, what has come so far is returned all the
// same.
//
// It opens one socket and never a second. The guide repeats the address of live
// queries here; the address used is that of the vendor's own console. A server that
// refuses it is asked for the command time and again.
//
// API: websocket action/result (REST guide 4.0.0, "Initiate a live response action";
// address and frames as the vendor's console has them).
func (s *ResponsesService) LiveOutput(ctx context.Context, cmd Command, deadline time.Duration, piece func(text string)) (out LiveOutput, err error) {
	defer s.c.metrics.observe("ws-live-response", time.Now(), &err)
	if cmd == (Command{}) {
		return out, fmt.Errorf("live output: %w: the command has no id", ErrInvalid)
	}
	inner, cancel := liveDeadline(ctx, deadline)
	defer cancel()
	if piece == nil {
		piece = func(string) {}
	}
	hearer := &outputHearer{piece: piece}
	err = s.hear(ctx, inner, cmd, hearer)
	out = hearer.out
	out.Complete = finalStatus(out.Status)
	if err != nil {
		err = fmt.Errorf("live output of command %s: %w", commandName(cmd), err)
	}
	return out, err
}

func commandName(cmd Command) string {
	if cmd.CommandID != "" {
		return clip(oneLine(cmd.CommandID), 64)
	}
	return fmt.Sprintf("of action %d", cmd.OpenC2ID)
}

// hear listens, or polls where nobody listens to such sockets.
func (s *ResponsesService) hear(outer, ctx context.Context, cmd Command, h *outputHearer) error {
	if cmd.CommandID == "" { // the socket wants it
		return liveEnd(outer, ctx, s.pollOutput(ctx, cmd, h))
	}
	base, err := s.c.Base(ctx)
	if err != nil {
		return err
	}
	conn, err := s.c.dialer.dialAny(ctx, liveURLs(base, "/websocket/action/result", "/action/result"))
	switch {
	case errors.Is(err, websocket.ErrBadHandshake):
		return liveEnd(outer, ctx, s.pollOutput(ctx, cmd, h))
	case err != nil:
		return err
	}
	h.pong = func() {
		// An error shows up in the read as well.
		_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_ = conn.WriteMessage(websocket.TextMessage, []byte("pong"))
	}
	err = listen(ctx, conn, cmd.CommandID, h.take)
	if err = liveEnd(outer, ctx, err); err != nil {
		err = fmt.Errorf("connection lost after %d bytes of output: %w", len(h.out.Output), err)
	}
	return err
}

// outputHearer reads the frames of one live response. It belongs to one goroutine.
type outputHearer struct {
	pong  func() // answers a frame
	piece func(string)
	text  strings.Builder
	out   LiveOutput
}

// take reads a frame: {"status", "data", "message"}, in binary frames as a rule.
// What is not such an object, such as the sentence that it begins with, is passed
// over. The vendor's console answers every frame but the last with the text pong.
func (h *outputHearer) take(frame []byte) (all bool) {
	v, err := parse(frame)
	if err != nil || !v.has("status") && !v.has("data") {
		return false
	}
	if text := v.at("data").text(); text != "" {
		h.text.WriteString(text)
		h.out.Output = h.text.String()
		h.piece(text)
	}
	if status := v.at("status").text(); status != "" {
		h.out.Status = status
	}
	if message := v.at("message").text(); message != "" {
		h.out.Message = message
	}
	if finalStatus(h.out.Status) {
		return true
	}
	h.pong()
	return false
}

// pollOutput asks for the command until it has ended.
func (s *ResponsesService) pollOutput(ctx context.Context, cmd Command, h *outputHearer) error {
	h.out.Polled = true
	for {
		now, err := s.command(ctx, cmd)
		if err != nil {
			return err
		}
		h.out.Status = now.Status
		if now.Final() {
			h.out.Output = now.Output
			if !strings.EqualFold(now.Status, CommandSuccess) {
				h.out.Message = now.Message
			}
			if now.Output != "" {
				h.piece(now.Output)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(outputPollInterval):
		}
	}
}

// command fetches the state of a command by either of its ids.
func (s *ResponsesService) command(ctx context.Context, cmd Command) (HostCommand, error) {
	if cmd.CommandID != "" {
		return s.Get(ctx, cmd.CommandID)
	}
	all, err := s.View(ctx, cmd.OpenC2ID)
	if err != nil {
		return HostCommand{}, err
	}
	if len(all) != 1 {
		return HostCommand{}, fmt.Errorf("view response: %w: action %d has %d commands, not one", ErrNotFound, cmd.OpenC2ID, len(all))
	}
	return all[0], nil
}
