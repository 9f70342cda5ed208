package sinks_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/testenv"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

// TestSyslogCollectorRestarts restarts a real collector in the middle of a stream, in good
// order and by kill -9, at moments at which it has taken messages from the network and not
// handed them on yet. Every event comes out of it at least once.
func TestSyslogCollectorRestarts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		signal os.Signal
	}{{"in good order", syscall.SIGTERM}, {"by kill -9", os.Kill}} {
		t.Run("rsyslog "+tt.name, func(t *testing.T) {
			testenv.Need(t, "rsyslogd")
			out := listenForLines(t)
			setup := rsyslogSetup{Dir: t.TempDir(), Forward: out.port}
			stop := setup.launch(t)
			address := setup.address(t)
			if _, err := fmt.Sscanf(address, "127.0.0.1:%d", &setup.Port); err != nil {
				t.Fatal(err)
			}
			streamThrough(t, address, out, func() {
				stop(tt.signal)
				stop = setup.launch(t)
			})
		})
		t.Run("syslog-ng "+tt.name, func(t *testing.T) {
			testenv.Need(t, "syslog-ng")
			out := listenForLines(t)
			setup := syslogNGSetup{Dir: t.TempDir(), Port: freePort(t), Forward: out.port}
			stop := setup.launch(t)
			streamThrough(t, fmt.Sprintf("127.0.0.1:%d", setup.Port), out, func() {
				stop(tt.signal)
				stop = setup.launch(t)
			})
		})
	}
}

// streamThrough sends batches as a forwarder does, which sends a batch again until it is
// taken, restarts the collector between and during batches, and reads what the collector
// hands on until every event has come through.
func streamThrough(t *testing.T, address string, out *lineListener, restart func()) {
	t.Helper()
	const batches, size = 60, 20
	settings := syslogSettings(address)
	settings.Payload = "text"
	s := openSIEM(t, "syslog", settings)
	defer func() { // before the collector goes
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	restarted := make(chan struct{}, 1)
	for b := range batches {
		events := make([]soar.Event, size)
		for i := range events {
			events[i] = sinktest.Event(b*size + i + 1)
		}
		switch b {
		case 15, 30: // between two batches
			restart()
		case 45: // while batches are on their way
			go func() { restart(); restarted <- struct{}{} }()
		}
		for s.Send(t.Context(), events) != nil {
			if err := t.Context().Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	<-restarted
	for seen := map[string]bool{}; len(seen) < batches*size; {
		line := <-out.lines
		var m struct {
			SD      string `json:"sd"`
			EventID string `json:"event_id"`
		}
		if json.Unmarshal(line, &m) != nil {
			continue // the collector was killed while it wrote
		}
		var sd map[string]map[string]string
		if m.SD != "" && json.Unmarshal([]byte(m.SD), &sd) == nil {
			m.EventID = sd["erbridge@32473"]["event_id"]
		}
		if m.EventID != "" {
			seen[m.EventID] = true
		}
	}
}

// lineListener takes lines on a port of the loopback.
type lineListener struct {
	port  int
	lines chan []byte // with room for a whole test, so that nobody waits for its reader
}

func listenForLines(t *testing.T) *lineListener {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out := &lineListener{l.Addr().(*net.TCPAddr).Port, make(chan []byte, 100_000)}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // the end of the test
			}
			stop := context.AfterFunc(t.Context(), func() { _ = conn.Close() })
			conns.Go(func() {
				defer stop()
				for in := bufio.NewReader(conn); ; {
					line, err := in.ReadBytes('\n')
					if err != nil {
						return
					}
					out.lines <- line
				}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); conns.Wait() })
	return out
}
