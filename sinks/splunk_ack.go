package sinks

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"time"
)

// splunkAcks asks the indexers whether they have written what was sent (Splunk
// Enterprise, "About HTTP Event Collector Indexer Acknowledgment"). Numbers count
// for one channel on one indexer. So each channel has its cookies, by which a load
// balancer finds the same indexer again; and one that has not answered in time is
// left for a new one, which may lead to an indexer that works.
//
// Nothing of this is durable: after a restart what was not acknowledged is sent
// again, with the same event ids.
type splunkAcks struct {
	sink     *splunk
	url      *url.URL
	timeout  time.Duration
	interval time.Duration

	channel string // empty: the next request opens one
	client  *http.Client
}

// open is the channel for the next request, with the client that has its cookies.
func (a *splunkAcks) open() (*http.Client, string) {
	if a.channel == "" {
		a.channel = newChannel()
		client := *a.sink.client
		client.Jar, _ = cookiejar.New(nil) // it returns no error
		a.client = &client
	}
	return a.client, a.channel
}

// newChannel makes the random GUID that names a channel.
func newChannel() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand: never returns an error
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	text := hex.EncodeToString(b[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// wait asks until the events of that number are written. What passes by itself is
// asked again, because to send again now would double the events. An error that is
// no ErrConfig means that nobody knows, and that they have to be sent again.
func (a *splunkAcks) wait(ctx context.Context, ack int64) error {
	ctx, cancel := context.WithTimeoutCause(ctx, a.timeout, errNoAck)
	defer cancel()
	var last error
	for {
		done, err := a.ask(ctx, ack)
		switch {
		case done:
			return nil
		case errors.Is(err, ErrConfig):
			a.channel = ""
			return fmt.Errorf("acknowledgement: %w", err)
		case err != nil && ctx.Err() == nil:
			last = err
		}
		wait := a.interval
		if asked, ok := errors.AsType[*RetryAfter](err); ok {
			wait = max(wait, asked.Wait)
		}
		select {
		case <-ctx.Done():
			cause := context.Cause(ctx)
			if !errors.Is(cause, errNoAck) {
				return fmt.Errorf("acknowledgement: %w", cause)
			}
			a.channel = ""
			if last != nil {
				return fmt.Errorf("%w within %s; the last answer: %w", cause, a.timeout, last)
			}
			return fmt.Errorf("%w within %s; behind a load balancer, are its sessions sticky?", cause, a.timeout)
		case <-time.After(wait):
		}
	}
}

var errNoAck = errors.New("the indexers did not acknowledge the events")

// ask asks once. False means not yet, and also that the indexer was restarted and
// knows nothing of the number any more.
func (a *splunkAcks) ask(ctx context.Context, ack int64) (bool, error) {
	body, err := json.Marshal(map[string][]int64{"acks": {ack}})
	if err != nil {
		return false, err
	}
	address := *a.url
	address.RawQuery = url.Values{"channel": {a.channel}}.Encode()
	req, err := a.sink.request(ctx, address.String(), body, false, a.channel) // this endpoint reads no gzip
	if err != nil {
		return false, err
	}
	r, err := exchange(a.client, req, maxReplyBytes)
	if err != nil {
		return false, err
	}
	var answer struct {
		Acks map[string]bool `json:"acks"`
	}
	switch {
	case r.Status == http.StatusBadRequest: // the channel, or acknowledgement is off
		return false, r.errorf(ErrConfig)
	case r.Status != http.StatusOK:
		return false, r.judge(a.sink.now())
	}
	if err := json.Unmarshal(r.Body, &answer); err != nil || answer.Acks == nil {
		return false, fmt.Errorf("%w: this is no answer about acknowledgements", r.errorf(ErrConfig))
	}
	return answer.Acks[strconv.FormatInt(ack, 10)], nil
}
