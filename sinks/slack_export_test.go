package sinks

import (
	"context"
	"net"
	"net/http"
)

// DialSlack lets a slack sink reach its workspace by other means than a network.
func DialSlack(s Sink, dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	k := s.(*slackSink)
	k.http.Transport.(*http.Transport).DialContext = dial
	k.dial = dial
}
