package sinks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

// intake is an API behind an OAuth token that takes all of a request or nothing, and
// does not recognise a repeat.
type intake struct {
	bearer   bearer
	url      string
	maxBytes int // of a body, before compression
	compress bool
	log      *slog.Logger
}

// post sends the body of n events as JSON.
func (i *intake) post(ctx context.Context, body []byte, n int, judge func(reply) error) error {
	if len(body) > i.maxBytes {
		return fmt.Errorf("%w: %d events of %d bytes", ErrTooLarge, n, len(body))
	}
	r, err := i.bearer.post(ctx, i.url, "application/json", body, i.compress)
	if errors.Is(err, errReplyLost) && r.Status >= 200 {
		// The status says that the events are taken, and a repeat would double them.
		i.log.Warn("reply broke off after its status, events count as delivered", "events", n, "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	return judge(r)
}

// Close implements Sink.
func (i *intake) Close() error {
	i.bearer.client.CloseIdleConnections()
	i.bearer.others.CloseIdleConnections()
	return nil
}
