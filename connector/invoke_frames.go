package connector

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/erbridge/erbridge/connector/catalogue"
)

// methodSocket is what the catalogue calls the method of a websocket.
const methodSocket = "SOCKET"

// Frames opens a websocket of the catalogue, sends the one argument of the
// invocation as text, and hands each frame that is a JSON object to each, until the
// deadline, ten minutes at most, the server closes, or each returns an error, which
// is then returned. What the server says in plain words, such as that it is waiting,
// is passed over. None of the sockets has an end mark; that the deadline is over is
// therefore no error.
//
// It opens one socket and never a second, because two share the frames.
func (c *Client) Frames(ctx context.Context, i *Invocation, deadline time.Duration, each func(frame []byte) error) (err error) {
	defer c.metrics.observe(i.Call.ID, time.Now(), &err)
	if i.Call.Method != methodSocket {
		return fmt.Errorf("%s: %w: it is not a websocket", i.Call.ID, ErrInvalid)
	}
	inner, cancel := liveDeadline(ctx, deadline)
	defer cancel()
	base, err := c.Base(inner)
	if err != nil {
		return fmt.Errorf("%s: %w", i.Call.ID, err)
	}
	conn, err := c.dialer.dialAny(inner, socketAddresses(base, i.Call))
	if err != nil {
		if errors.Is(err, websocket.ErrBadHandshake) {
			err = fmt.Errorf("%w: %w", unavailable{callOf(i.Call)}, err)
		}
		return fmt.Errorf("%s: %w", i.Call.ID, err)
	}
	var said error
	answered := false
	err = listen(inner, conn, i.socketText(), func(frame []byte) bool {
		answered = true
		if v, err := parse(frame); err == nil && v.isObject() {
			said = each(v.encoded())
		}
		return said != nil
	})
	switch {
	case said != nil:
		return said
	case websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived):
		return nil
	}
	if err = liveEnd(ctx, inner, err); err != nil {
		text := "connection lost"
		if _, closed := errors.AsType[*websocket.CloseError](err); closed && !answered {
			text = "the server closed the connection without an answer; is the argument right?"
		}
		err = fmt.Errorf("%s: %s: %w", i.Call.ID, text, err)
	}
	return err
}

// socketText is what is sent when the socket is open: the digits or the text of the
// argument alone. An object of arguments is not understood (observed on release
// 2.1.2).
func (i *Invocation) socketText() string {
	for _, p := range i.Call.Params {
		if v, ok := i.values[p.Name]; ok {
			return plainText(v)
		}
	}
	return ""
}

// socketAddresses are the addresses that a socket of the catalogue may have.
func socketAddresses(base string, of *catalogue.Call) []string {
	path := strings.TrimPrefix(of.Path, "/esp-ui")
	return liveURLs(base, path, "/websocket/"+strings.TrimPrefix(strings.TrimPrefix(path, "/websocket"), "/"))
}
