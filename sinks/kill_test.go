package sinks_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

// With these, the test binary is a child that takes alerts in and delivers them until
// it is killed.
const (
	killDirEnv      = "ERBRIDGE_SINKS_KILL_DIR"
	killReceiverEnv = "ERBRIDGE_SINKS_KILL_RECEIVER"
	killAlertsEnv   = "ERBRIDGE_SINKS_KILL_ALERTS" // how many to take in; 0: only deliver
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDirEnv); dir != "" {
		killChild(dir, os.Getenv(killReceiverEnv))
	}
	os.Exit(m.Run())
}

// posted is a sink that posts events as lines of JSON.
type posted struct{ url string }

func (p posted) Send(ctx context.Context, events []soar.Event) error {
	var body bytes.Buffer
	for i := range events {
		data, err := json.Marshal(&events[i])
		if err != nil {
			return err
		}
		body.Write(append(data, '\n'))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, &body)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

func (posted) Close() error { return nil }

// killChild never returns.
func killChild(dir, url string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx := context.Background()
	s, err := store.Open(ctx, dir, store.Options{})
	if err != nil {
		fail(err)
	}
	go func() { fail(s.Run(ctx)) }()
	f, err := sinks.NewForwarder("siem", posted{url}, s, sinks.ForwarderOptions{
		MaxBatch: 20, FromStart: true, MinBackoff: time.Millisecond, MaxBackoff: 4 * time.Millisecond,
	})
	if err != nil {
		fail(err)
	}
	go func() { fail(f.Run(ctx)) }()
	counts, err := s.Counts(ctx)
	if err != nil {
		fail(err)
	}
	alerts, err := strconv.Atoi(os.Getenv(killAlertsEnv))
	if err != nil {
		fail(err)
	}
	for n := range alerts { // in commits of ten, which the parent is told of
		number := int(counts.Alerts)/10*10 + n*10
		var c soar.Change
		for i := range 10 {
			c.Alerts = append(c.Alerts, *sinktest.Event(number + i + 1).Alert)
		}
		if _, err := s.Commit(ctx, c); err != nil {
			fail(err)
		}
		fmt.Println(number + 10)
	}
	select {}
}

// judge receives what children deliver over all their lives.
type judge struct {
	t *testing.T

	mu       sync.Mutex
	down     int // requests to refuse
	order    []string
	bodies   map[string]string // by id
	byAlert  map[string]string // id by alert
	repeats  int
	requests int
	arrived  chan struct{} // a token when something has
}

func (j *judge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // cut off: not taken
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.down > 0 {
		j.down--
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	j.requests++
	for line := range strings.Lines(string(body)) {
		var ev soar.Event
		if err := json.Unmarshal([]byte(line), &ev); err != nil || ev.Alert == nil {
			j.t.Errorf("%q: %v", line, err)
			return
		}
		if id, known := j.byAlert[ev.Alert.Ref()]; known && id != ev.ID {
			j.t.Errorf("alert %s arrived as %s and as %s", ev.Alert.Ref(), id, ev.ID)
		}
		j.byAlert[ev.Alert.Ref()] = ev.ID
		if before, known := j.bodies[ev.ID]; known {
			j.repeats++
			if before != line {
				j.t.Errorf("a repeat of %s says something else:\n%s\n%s", ev.ID, before, line)
			}
			continue
		}
		j.bodies[ev.ID] = line
		j.order = append(j.order, ev.Alert.ID)
	}
	select {
	case j.arrived <- struct{}{}:
	default:
	}
}

// The process is killed (SIGKILL) again and again while its sink recovers from an
// outage, anywhere in what it does: between delivery and cursor as well. No alert that
// was acknowledged is lost, all of them arrive in order, and a repeat has the id and
// the words of the first.
func TestKilledDuringRecoveryNothingIsLost(t *testing.T) {
	lives := 12
	if testing.Short() {
		lives = 4
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	j := &judge{t: t, bodies: map[string]string{}, byAlert: map[string]string{}, arrived: make(chan struct{}, 1)}
	server := httptest.NewServer(j)
	defer server.Close()
	random := rand.New(rand.NewPCG(20261122, 2))

	acknowledged := 0
	// live runs a child until the judge has taken so many more requests; all is until it
	// has everything.
	live := func(alerts, down, requests int, all bool) {
		ctx, kill := context.WithCancel(t.Context())
		defer kill()
		j.mu.Lock()
		j.down = down
		until := j.requests + requests
		j.mu.Unlock()
		cmd := exec.CommandContext(ctx, exe)
		cmd.Env = append(os.Environ(), killDirEnv+"="+dir, killReceiverEnv+"="+server.URL, killAlertsEnv+"="+strconv.Itoa(alerts))
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		told := make(chan error, 1)
		go func() {
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				n, err := strconv.Atoi(lines.Text())
				if err != nil {
					told <- err
					return
				}
				j.mu.Lock()
				acknowledged = max(acknowledged, n)
				j.mu.Unlock()
			}
			told <- nil
		}()
		for {
			j.mu.Lock()
			reached := j.requests >= until
			if all {
				reached = len(j.order) >= acknowledged
			}
			j.mu.Unlock()
			if reached {
				break
			}
			select {
			case <-j.arrived:
			case err := <-told:
				t.Fatalf("the child ended by itself: %v\n%s", err, stderr.String())
			}
		}
		// Anywhere in what it does, and not only right after a request.
		time.AfterFunc(time.Duration(random.IntN(3000))*time.Microsecond, kill)
		if err := <-told; err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil || !errors.Is(ctx.Err(), context.Canceled) {
			t.Fatalf("the child ended by itself: %s", stderr.String())
		}
	}
	for range lives {
		live(20+random.IntN(20), 3+random.IntN(10), 1+random.IntN(12), false)
	}
	live(0, 2, 0, true)

	if len(j.order) < acknowledged || acknowledged == 0 {
		t.Errorf("%d alerts arrived, %d were acknowledged", len(j.order), acknowledged)
	}
	for i, id := range j.order {
		if id != strconv.Itoa(i+1) {
			t.Fatalf("alert %s arrived in place %d", id, i+1)
		}
	}
	if j.repeats > lives*20 {
		t.Errorf("%d repeats, want a batch for each kill at most", j.repeats)
	}
	t.Logf("%d kills, %d alerts acknowledged, %d arrived, %d repeats", lives+1, acknowledged, len(j.order), j.repeats)
}
