package main

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
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/sinks/sinksim"
)

// The times between start and kill. The shorter ones hit the start itself.
const (
	shortestLife = 20 * time.Millisecond
	longestLife  = 1200 * time.Millisecond
)

// rig is the simulator in a process of its own, the daemon in another, and a
// syslog receiver here.
type rig struct {
	options
	dir    string
	random *rand.Rand

	sim     *exec.Cmd
	control string // URL of the simulator's control API
	syslog  *sinksim.Syslog
	daemon  *exec.Cmd
	log     *os.File
	starts  int
}

// playbook acts on every second alert. The fleet has hosts of all systems, so the
// name of the process is what follows the last separator of either kind.
const playbook = `playbook: stop-every-second
match:
  all:
    - the number of the alert is even: (.alert.id | tonumber) % 2 == 0
steps:
  - id: stop
    do: process.kill
    with:
      host: ${{ .alert.host.identifier }}
      pid: ${{ .alert.event.pid }}
      name: ${{ .alert.event.path | split("\\") | last | split("/") | last }}
    timeout: 2m
`

// prepare starts the simulator and the receiver, writes the configuration, and
// lets the daemon meet the server once: what is there before that is history.
func (r *rig) prepare(ctx context.Context) error {
	var err error
	if r.log, err = os.Create(filepath.Join(r.dir, "erbridge.log")); err != nil {
		return err
	}
	r.syslog = sinksim.NewSyslog(sinksim.SyslogOptions{MaxMessageBytes: 64 << 10})
	if err := r.syslog.Start(ctx); err != nil {
		return err
	}
	url, err := r.startSimulator(ctx)
	if err != nil {
		return err
	}
	if err := r.writeConfig(url); err != nil {
		return err
	}
	if err := r.startDaemon(ctx); err != nil {
		return err
	}
	firstPoll := func(ctx context.Context, s *store.Reader) (string, error) {
		cursor, err := s.Cursor(ctx, "poll/er")
		if len(cursor) == 0 {
			return "no cursor yet", err
		}
		return "", err
	}
	if err := r.waitFor(ctx, time.Minute, "the first poll", firstPoll); err != nil {
		return err
	}
	return r.killDaemon()
}

func (r *rig) startSimulator(ctx context.Context) (url string, err error) {
	r.sim = exec.CommandContext(ctx, r.erbridge, "simulate", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0",
		"--ca-out", filepath.Join(r.dir, "er-ca.pem"), "--aggregation-window", "-1s", "--command-delay", "30ms", "--hosts", "40")
	r.sim.Stderr = os.Stderr
	out, err := r.sim.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := r.sim.Start(); err != nil {
		return "", fmt.Errorf("simulator: %w", err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		return "", fmt.Errorf("simulator: %w", err)
	}
	var where struct{ URL, Control string }
	if err := json.Unmarshal(line, &where); err != nil {
		return "", fmt.Errorf("simulator: %w", err)
	}
	r.control = where.Control
	return where.URL, nil
}

// writeConfig edits the example as a user would.
func (r *rig) writeConfig(url string) error {
	data, err := os.ReadFile(r.example)
	if err != nil {
		return err
	}
	text := string(data)
	for _, edit := range [][2]string{
		{"url: https://er.example.org", "url: " + url},
		{"username: soc-automation", "username: admin\n  timeout: 10s"},
		{"password: {env: ER_PASSWORD}", "password: {file: er-password}"},
		{"# ca_file: er-ca.pem ", "ca_file: er-ca.pem #"},
		{"poll: {interval: 15s, backfill: 24h}", "poll: {interval: 200ms, backfill: 24h}"},
		{"library: [triage-note, contain-shadow-copy-deletion, kill-credential-dumping]", "dir: playbooks"},
		{"mode: observe ", "mode: enforce #"},
		// It acts on all of the fleet, which the guard keeps from happening elsewhere.
		{"    - {name: domain controllers, match: {roles: [domain-controller]}}\n", ""},
		{"# budgets:\n  #   - {name: destructive, hosts: 5}", "budgets:\n    - {name: destructive, hosts: 1000, share: 100%}"},
		{"archive: {type: file, path: data/events.ndjson}", fmt.Sprintf("archive: {type: file, path: %q}\n  siem: {type: syslog, address: %q, transport: tcp, payload: json, max_message_bytes: 65536}",
			filepath.Join(r.dir, "events.ndjson"), r.syslog.Address())},
		{"soc-slack:                            # the playbooks of the library write here\n    type: stdout", "screen:\n    type: stdout\n    events: [trouble]"},
		{`console: {listen: "127.0.0.1:8088"}`, `console: {listen: ""}`},
		{"log: {level: info, format: text}", "log: {level: warn, format: text}\nlimits: {settle: 3s}"},
	} {
		if !strings.Contains(text, edit[0]) {
			return fmt.Errorf("%s has no longer the text %q, which is to be edited", r.example, edit[0])
		}
		text = strings.Replace(text, edit[0], edit[1], 1)
	}
	if err := os.Mkdir(filepath.Join(r.dir, "playbooks"), 0o700); err != nil {
		return err
	}
	for name, data := range map[string]string{"erbridge.yaml": text, "er-password": "admin\n", "playbooks/stop.yaml": playbook, "playbooks/case.yaml": caseBook} {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(data), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (r *rig) startDaemon(ctx context.Context) error {
	r.daemon = exec.CommandContext(ctx, r.erbridge, "run", "--config", filepath.Join(r.dir, "erbridge.yaml"))
	r.daemon.Stdout, r.daemon.Stderr = r.log, r.log
	r.starts++
	return r.daemon.Start()
}

// killDaemon gives it no chance to finish anything.
func (r *rig) killDaemon() error {
	if err := r.daemon.Process.Kill(); err != nil {
		return err
	}
	return r.ended(r.daemon.Wait())
}

// ended makes an error of a daemon that ended by itself.
func (r *rig) ended(err error) error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if ok {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
			return nil
		}
	}
	return fmt.Errorf("erbridge ended by itself (%w); its log is %s", err, r.log.Name())
}

// killAtRandom raises the alerts over the time that the kills will take.
func (r *rig) killAtRandom(ctx context.Context) error {
	lives := make([]time.Duration, r.kills)
	var total time.Duration
	for i := range lives {
		lives[i] = shortestLife + time.Duration(r.random.Int64N(int64(longestLife-shortestLife)))
		total += lives[i]
	}
	load := map[string]any{"count": r.alerts, "rate": float64(r.alerts) / total.Seconds(), "separate": true}
	if err := r.call(ctx, http.MethodPost, "/sim/raise", load, nil); err != nil {
		return err
	}
	for i, life := range lives {
		if err := r.startDaemon(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(life):
		}
		if err := r.killDaemon(); err != nil {
			return err
		}
		if (i+1)%25 == 0 {
			fmt.Printf("  %d kills\n", i+1)
		}
	}
	return nil
}

// finish lets the last daemon end everything that is open, and stops it properly.
func (r *rig) finish(ctx context.Context) error {
	if err := r.startDaemon(ctx); err != nil {
		return err
	}
	if err := r.waitFor(ctx, r.settle, "everything to be finished", r.finished); err != nil {
		return err
	}
	if err := r.daemon.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := r.daemon.Wait(); err != nil {
		return fmt.Errorf("stop erbridge: %w", err)
	}
	r.daemon = nil
	return nil
}

// finished says what is still open, or nothing.
func (r *rig) finished(ctx context.Context, s *store.Reader) (open string, err error) {
	if err := r.answer(ctx, s); err != nil {
		return "", err
	}
	counts, err := s.Counts(ctx)
	if err != nil {
		return "", err
	}
	if running := counts.RunsByState[soar.RunRunning] + counts.RunsByState[soar.RunWaiting]; counts.Alerts < int64(r.alerts) || counts.Pending > 0 || running > 0 {
		return fmt.Sprintf("%d of %d alerts, %d pending, %d runs open", counts.Alerts, r.alerts, counts.Pending, running), nil
	}
	for _, sink := range []string{"archive", "siem", "screen"} {
		pos, _, err := s.SinkCursor(ctx, sink)
		if err != nil {
			return "", err
		}
		if pos < counts.FeedHead {
			return fmt.Sprintf("sink %s is at %d of %d", sink, pos, counts.FeedHead), nil
		}
	}
	return "", nil
}

// waitFor asks the store until done says yes. Waiting is this script's own; it
// has no way to be told.
func (r *rig) waitFor(ctx context.Context, allowed time.Duration, what string, open question) error {
	ctx, cancel := context.WithTimeout(ctx, allowed)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last string
	for {
		still, err := r.ask(ctx, open)
		switch {
		case err == nil && still == "":
			return nil
		case err == nil:
			last = still
		case ctx.Err() == nil:
			last = err.Error()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %s for %s: %s", allowed, what, last)
		case <-tick.C:
		}
	}
}

// question looks into the store and says what is still open, or nothing.
type question func(ctx context.Context, s *store.Reader) (open string, err error)

func (r *rig) ask(ctx context.Context, open question) (string, error) {
	s, err := store.OpenReader(ctx, filepath.Join(r.dir, "data"))
	if errors.Is(err, store.ErrNoStore) {
		return "no store yet", nil
	}
	if err != nil {
		return "", err
	}
	defer s.Close()
	return open(ctx, s)
}

func (r *rig) state(ctx context.Context, query string) (s ersim.State, err error) {
	return s, r.call(ctx, http.MethodGet, "/sim/state"+query, nil, &s)
}

func (r *rig) call(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, r.control+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1024))
		return fmt.Errorf("simulator: %s %s: %s %s", method, path, res.Status, text)
	}
	if out == nil {
		_, err := io.Copy(io.Discard, res.Body)
		return err
	}
	return json.NewDecoder(res.Body).Decode(out)
}

func (r *rig) close() error {
	var problems []error
	if r.daemon != nil && r.daemon.ProcessState == nil {
		problems = append(problems, r.daemon.Process.Kill())
		_ = r.daemon.Wait() // it was killed
	}
	if r.sim != nil && r.sim.ProcessState == nil {
		problems = append(problems, r.sim.Process.Signal(syscall.SIGTERM))
		problems = append(problems, r.sim.Wait())
	}
	if r.syslog != nil {
		r.syslog.Stop(false)
	}
	if r.log != nil {
		problems = append(problems, r.log.Close())
	}
	return errors.Join(problems...)
}
