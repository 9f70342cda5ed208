package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/guard"
	"github.com/erbridge/erbridge/sinks"
)

// Control changes what a daemon works on. A running daemon is reached through a
// socket in the store's folder; without one, the commands that need nothing but
// the store work on it directly.
type Control interface {
	// Replay delivers dead letters of sinks again.
	Replay(ctx context.Context, o LetterOrder) error
	// Drop forgets dead letters.
	Drop(ctx context.Context, o LetterOrder) error
	// Settle ends the doubt about a step of a run.
	Settle(ctx context.Context, s Settlement) error
	// Cancel calls off a run, or a step of it that waits. The run that it returns is under
	// way still while a step that was sent has not ended.
	Cancel(ctx context.Context, c playbooks.Cancellation) (soar.Run, error)
	// Undo takes back what a run did, or a step of it.
	Undo(ctx context.Context, o playbooks.UndoOrder) (playbooks.Undoing, error)
	// Extend moves the time at which what a run did is taken back by itself.
	Extend(ctx context.Context, x playbooks.Extension) ([]playbooks.ExtendedStep, error)
	// TestSink sends one test event through a fresh connection of a sink.
	TestSink(ctx context.Context, name string) error
	// EditDeadLetter gives a dead letter another payload.
	EditDeadLetter(ctx context.Context, e LetterEdit) error
	// HoldSink pauses a sink until ResumeSink, also over a restart.
	HoldSink(ctx context.Context, o SinkOrder) error
	// ResumeSink takes a hold back, makes a sink that waits try at once, and returns the
	// state it was in.
	ResumeSink(ctx context.Context, o SinkOrder) (state string, err error)
	// ReplaySink delivers a stretch of the feed again, or calls off that it does.
	ReplaySink(ctx context.Context, o ReplayOrder) (sinks.Replay, error)
	// SkipAtSink passes over the event at which a sink stands; it becomes a dead letter.
	SkipAtSink(ctx context.Context, o SkipOrder) (Skipped, error)
	// SinkStatus tells how each sink is doing.
	SinkStatus(ctx context.Context) ([]SinkStatus, error)
	// Pause throws the kill switch.
	Pause(ctx context.Context, o PauseOrder) (PauseState, error)
	// Resume takes it back, as far as a person threw it.
	Resume(ctx context.Context, by string) (PauseState, error)
	// TestGuard tells what would become of a call now.
	TestGuard(ctx context.Context, q GuardQuestion) (*playbooks.GuardAnswer, error)
	// StartRun runs a playbook by hand.
	StartRun(ctx context.Context, s RunStart) (soar.Run, error)
	// StartJob does an action on many hosts.
	StartJob(ctx context.Context, s JobStart) (playbooks.Job, error)
	// RehearseJob tells what would become of each host of a job, and sends nothing.
	RehearseJob(ctx context.Context, s JobStart) ([]playbooks.JobLine, error)
	// CancelJob calls off what is left of a job, and returns how many of its runs that was.
	CancelJob(ctx context.Context, c JobCancel) (runs int, err error)
	// Silences lists what is kept out of sinks.
	Silences(ctx context.Context) ([]sinks.Silence, error)
	// AddSilence keeps alerts out of a sink for a while, and returns it as it is kept.
	AddSilence(ctx context.Context, o SilenceOrder) (sinks.Silence, error)
	// EndSilence ends a silence before its time, and returns it.
	EndSilence(ctx context.Context, e SilenceEnd) (sinks.Silence, error)
	// Approvals lists what playbooks ask people, decided ones included.
	Approvals(ctx context.Context) ([]soar.Approval, error)
	// Decide takes a person's answer to an approval. The first one counts.
	Decide(ctx context.Context, approval string, v soar.Vote) (soar.Approval, error)
	// Budgets tells how far each budget of the guard is used.
	Budgets(ctx context.Context) ([]guard.BudgetStatus, error)
	// RearmBudget lets calls go out again that a latched budget refuses.
	RearmBudget(ctx context.Context, r Rearming) error
	// Reload reads configuration and playbooks again.
	Reload(ctx context.Context) (Reloaded, error)
}

// Settlement is a person's word about a step whose outcome nobody else knows.
type Settlement struct {
	Run      soar.RunID `json:"run"`
	Step     string     `json:"step"`
	Happened bool       `json:"happened"`
	By       string     `json:"by"`
	Reason   string     `json:"reason"`
}

// RunStart is a person's wish to run a playbook.
type RunStart struct {
	Playbook string `json:"playbook"`
	Alert    string `json:"alert,omitempty"` // Alert.Ref; empty: none
	Input    any    `json:"input,omitempty"` // what steps see as .input
	By       string `json:"by"`
	// Enforce agrees to a run that may change something; without, such a one is
	// refused with playbooks.ErrNotAgreed.
	Enforce bool `json:"enforce,omitempty"`
}

// ErrNotRunning means that a command needs a running daemon and there is none.
var ErrNotRunning = errors.New("erbridge is not running")

const (
	socketName      = "control.sock"
	maxControlBytes = 2 << 20  // an edited dead letter fits, in base 64
	maxAnswerBytes  = 64 << 20 // a list of approvals, with the texts that people are shown
	// maxSocketPath is what fits into sockaddr_un on every system (unix(7): 108 on Linux, 104 on BSD).
	maxSocketPath = 103
	// controlPatience bounds one control call; a sink test may dial and wait.
	controlPatience = 2 * time.Minute
)

// controlServer serves Control on a unix socket that only the daemon's own user
// can open.
type controlServer struct {
	listener net.Listener
	server   *http.Server
	log      *slog.Logger
}

// listenControl opens the socket. The caller holds the store's lock, so a socket
// that is there belongs to nobody any more.
func listenControl(ctx context.Context, dir string, c Control, log *slog.Logger) (*controlServer, error) {
	path := filepath.Join(dir, socketName)
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("%w: store.path is too long for the control socket: %d bytes in %s, the system's limit is %d", ErrConfig, len(path), path, maxSocketPath)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	// The folder is the daemon's alone already; this is for folders that are not.
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), l.Close())
	}
	return &controlServer{listener: l, log: log, server: &http.Server{
		Handler: controlHandler(c), ConnContext: withPeer, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}, nil
}

// Run serves until ctx ends.
func (s *controlServer) Run(ctx context.Context) error {
	ended := make(chan error, 1) // the one result of Serve
	go func() { ended <- s.server.Serve(s.listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	// ctx has ended, the calls under way have not.
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := s.server.Shutdown(drain)
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// controlCall is the body of every call; each uses what it needs.
type controlCall struct {
	Sink       string     `json:"sink,omitempty"`
	Settlement Settlement `json:"settlement,omitzero"`
	Start      RunStart   `json:"start,omitzero"`
	Approval   string     `json:"approval,omitempty"`
	Vote       soar.Vote  `json:"vote,omitzero"`
	Rearming   Rearming   `json:"rearming,omitzero"`

	Cancellation playbooks.Cancellation `json:"cancellation,omitzero"`
	Undo         playbooks.UndoOrder    `json:"undo,omitzero"`
	Extension    playbooks.Extension    `json:"extension,omitzero"`
	Pause        PauseOrder             `json:"pause,omitzero"`
	Question     GuardQuestion          `json:"question,omitzero"`
	Job          JobStart               `json:"job,omitzero"`
	JobCancel    JobCancel              `json:"job_cancel,omitzero"`
	Silence      SilenceOrder           `json:"silence,omitzero"`
	SilenceEnd   SilenceEnd             `json:"silence_end,omitzero"`
	Edit         LetterEdit             `json:"edit,omitzero"`
	Letters      LetterOrder            `json:"letters,omitzero"` // to replay or to drop
	Order        SinkOrder              `json:"order,omitzero"`   // to pause or resume a sink
	Replay       ReplayOrder            `json:"replay,omitzero"`
	Skip         SkipOrder              `json:"skip,omitzero"`
}

// controlAnswer is the body of every answer. Kind tells errors apart that
// commands have exit codes for.
type controlAnswer struct {
	Error    string               `json:"error,omitempty"`
	Kind     string               `json:"kind,omitempty"`
	Problems registry.Problems    `json:"problems,omitempty"`
	Reloaded Reloaded             `json:"reloaded,omitzero"`
	Sinks    []SinkStatus         `json:"sinks,omitempty"`
	State    string               `json:"state,omitempty"` // of the sink that was resumed
	Replay   sinks.Replay         `json:"replay,omitzero"`
	Skipped  Skipped              `json:"skipped,omitzero"`
	Run      soar.Run             `json:"run,omitzero"`    // the one that was started, or called off
	Asked    []soar.Approval      `json:"asked,omitempty"` // those that were listed, or the one that was decided
	Budgets  []guard.BudgetStatus `json:"budgets,omitempty"`
	Pause    PauseState           `json:"pause,omitzero"`
	// Silences are those that were listed, or the one that was begun or ended.
	Silences []sinks.Silence `json:"silences,omitempty"`

	Guard *playbooks.GuardAnswer `json:"guard,omitempty"`
	Undo  playbooks.Undoing      `json:"undo,omitzero"`
	Job   playbooks.Job          `json:"job,omitzero"`
	// Extended are the steps that are taken back later.
	Extended []playbooks.ExtendedStep `json:"extended,omitempty"`
	Lines    []playbooks.JobLine      `json:"lines,omitempty"` // of the job that was rehearsed
	Runs     int                      `json:"runs,omitempty"`  // of the job, that were called off
}

func controlHandler(c Control) http.Handler {
	mux := http.NewServeMux()
	handle := func(name string, do func(context.Context, controlCall, *controlAnswer) error) {
		mux.HandleFunc("POST /"+name, func(w http.ResponseWriter, r *http.Request) {
			var call controlCall
			var answer controlAnswer
			err := json.NewDecoder(io.LimitReader(r.Body, maxControlBytes)).Decode(&call)
			if err == nil {
				call.sign(r.Context())
				err = do(r.Context(), call, &answer)
			}
			if err != nil {
				answer = describeError(err)
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(answer) // the caller has gone away; nothing to do
		})
	}
	handle("replay", func(ctx context.Context, in controlCall, _ *controlAnswer) error { return c.Replay(ctx, in.Letters) })
	handle("drop", func(ctx context.Context, in controlCall, _ *controlAnswer) error { return c.Drop(ctx, in.Letters) })
	handle("settle", func(ctx context.Context, in controlCall, _ *controlAnswer) error { return c.Settle(ctx, in.Settlement) })
	handle("cancel", func(ctx context.Context, in controlCall, out *controlAnswer) (err error) {
		out.Run, err = c.Cancel(ctx, in.Cancellation)
		return err
	})
	handle("undo", func(ctx context.Context, in controlCall, out *controlAnswer) (err error) {
		// A run that was begun goes on, also when the caller hangs up.
		out.Undo, err = c.Undo(context.WithoutCancel(ctx), in.Undo)
		return err
	})
	handle("extend", func(ctx context.Context, in controlCall, out *controlAnswer) (err error) {
		out.Extended, err = c.Extend(ctx, in.Extension)
		return err
	})
	handle("sink-test", func(ctx context.Context, in controlCall, _ *controlAnswer) error { return c.TestSink(ctx, in.Sink) })
	handle("edit", func(ctx context.Context, in controlCall, _ *controlAnswer) error {
		return c.EditDeadLetter(ctx, in.Edit)
	})
	handle("sink-pause", func(ctx context.Context, in controlCall, _ *controlAnswer) error {
		// What is on disk is in force, also when the caller hangs up.
		return c.HoldSink(context.WithoutCancel(ctx), in.Order)
	})
	handle("sink-resume", func(ctx context.Context, in controlCall, out *controlAnswer) (err error) {
		out.State, err = c.ResumeSink(context.WithoutCancel(ctx), in.Order)
		return err
	})
	handle("sink-replay", func(ctx context.Context, in controlCall, out *controlAnswer) (err error) {
		out.Replay, err = c.ReplaySink(context.WithoutCancel(ctx), in.Replay)
		return err
	})
	handle("sink-skip", func(ctx context.Context, in controlCall, out *controlAnswer) (err error) {
		out.Skipped, err = c.SkipAtSink(ctx, in.Skip) // withdrawn when the caller hangs up, unless it is being recorded
		return err
	})
	handle("sinks", func(ctx context.Context, _ controlCall, out *controlAnswer) (err error) {
		out.Sinks, err = c.SinkStatus(ctx)
		return err
	})
	handle("guard-test", func(ctx context.Context, in controlCall, out *controlAnswer) (err error) {
		out.Guard, err = c.TestGuard(ctx, in.Question)
		return err
	})
	handle("silences", func(ctx context.Context, _ controlCall, out *controlAnswer) (err error) {
		out.Silences, err = c.Silences(ctx)
		return err
	})
	handle("silence-add", func(ctx context.Context, in controlCall, out *controlAnswer) error {
		one, err := c.AddSilence(ctx, in.Silence)
		out.Silences = []sinks.Silence{one}
		return err
	})
	handle("silence-end", func(ctx context.Context, in controlCall, out *controlAnswer) error {
		one, err := c.EndSilence(ctx, in.SilenceEnd)
		out.Silences = []sinks.Silence{one}
		return err
	})
	handle("pause", func(ctx context.Context, in controlCall, out *controlAnswer) (err error) {
		out.Pause, err = c.Pause(ctx, in.Pause)
		return err
	})
	handle("resume", func(ctx context.Context, in controlCall, out *controlAnswer) (err error) {
		out.Pause, err = c.Resume(ctx, in.Pause.By)
		return err
	})
	handle("run", func(ctx context.Context, in controlCall, out *controlAnswer) (err error) {
		out.Run, err = c.StartRun(ctx, in.Start)
		return err
	})
	handle("job-start", func(ctx context.Context, in controlCall, out *controlAnswer) (err error) {
		out.Job, err = c.StartJob(ctx, in.Job)
		return err
	})
	handle("job-rehearse", func(ctx context.Context, in controlCall, out *controlAnswer) (err error) {
		out.Lines, err = c.RehearseJob(ctx, in.Job)
		return err
	})
	handle("job-cancel", func(ctx context.Context, in controlCall, out *controlAnswer) (err error) {
		out.Runs, err = c.CancelJob(ctx, in.JobCancel)
		return err
	})
	handle("approvals", func(ctx context.Context, _ controlCall, out *controlAnswer) (err error) {
		out.Asked, err = c.Approvals(ctx)
		return err
	})
	handle("decide", func(ctx context.Context, in controlCall, out *controlAnswer) error {
		// An answer that was taken is kept, also when the caller hangs up.
		a, err := c.Decide(context.WithoutCancel(ctx), in.Approval, in.Vote)
		out.Asked = []soar.Approval{a}
		return err
	})
	handle("budgets", func(ctx context.Context, _ controlCall, out *controlAnswer) (err error) {
		out.Budgets, err = c.Budgets(ctx)
		return err
	})
	handle("budget-rearm", func(ctx context.Context, in controlCall, _ *controlAnswer) error {
		// What is on disk is in force, also when the caller hangs up.
		return c.RearmBudget(context.WithoutCancel(ctx), in.Rearming)
	})
	handle("reload", func(ctx context.Context, _ controlCall, out *controlAnswer) (err error) {
		// A reload that has begun is finished, also when the caller hangs up.
		out.Reloaded, err = c.Reload(context.WithoutCancel(ctx))
		return err
	})
	return mux
}

// kinds are the errors that keep their identity across the socket.
var kinds = map[string]error{
	"not-found": soar.ErrNotFound, "conflict": soar.ErrConflict, "busy": soar.ErrBusy, "not-accepting": soar.ErrNotAccepting,
	"config": ErrConfig, "unreadable": config.ErrUnreadable, "sink-config": sinks.ErrConfig, "permanent": sinks.ErrPermanent,
	"not-agreed": playbooks.ErrNotAgreed, "not-manual": playbooks.ErrNotManual, "not-started": playbooks.ErrNotStarted,
	"silence": sinks.ErrSilence, "may-not": guard.ErrMayNot, "decided": guard.ErrDecided, "not-latched": guard.ErrNotLatched,
	"not-cancelled": playbooks.ErrNotCancelled, "bad-job": playbooks.ErrBadJob,
	"replaying": sinks.ErrReplaying, "bad-edit": ErrBadEdit, "not-skipped": sinks.ErrNotSkipped,
	"not-undone": playbooks.ErrNotUndone, "not-extended": playbooks.ErrNotExtended,
}

func describeError(err error) controlAnswer {
	answer := controlAnswer{Error: err.Error()}
	if problems, ok := errors.AsType[registry.Problems](err); ok {
		answer.Problems = problems
	}
	for kind, sentinel := range kinds {
		if errors.Is(err, sentinel) {
			answer.Kind = kind
		}
	}
	return answer
}

// remoteError is an error of the daemon, as the command sees it.
type remoteError struct {
	text string
	kind error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }

func (a *controlAnswer) err() error {
	switch {
	case len(a.Problems) > 0:
		return a.Problems.Err()
	case a.Error != "":
		return &remoteError{a.Error, kinds[a.Kind]}
	}
	return nil
}

// controlClient is Control over the socket.
type controlClient struct {
	http *http.Client
}

// dialControl finds the daemon that uses a store. An error wraps ErrNotRunning
// when nobody listens.
func dialControl(ctx context.Context, dir string) (*controlClient, error) {
	path := filepath.Join(dir, socketName)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", path)
	}
	conn, err := dial(ctx, "", "")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotRunning, err)
	}
	if err := conn.Close(); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return &controlClient{&http.Client{Timeout: controlPatience, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}, nil
}

func (c *controlClient) call(ctx context.Context, name string, in controlCall) (answer controlAnswer, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return answer, err
	}
	if len(body) > maxControlBytes {
		return answer, fmt.Errorf("control socket: %d bytes are more than it takes, which is %d: name fewer hosts, or make the arguments shorter", len(body), maxControlBytes)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://erbridge/"+name, bytes.NewReader(body))
	if err != nil {
		return answer, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return answer, fmt.Errorf("control socket: %w", err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswerBytes)).Decode(&answer); err != nil {
		return answer, fmt.Errorf("control socket: answer %s: %w", res.Status, err)
	}
	return answer, answer.err()
}

func (c *controlClient) Replay(ctx context.Context, o LetterOrder) error {
	_, err := c.call(ctx, "replay", controlCall{Letters: o})
	return err
}

func (c *controlClient) Drop(ctx context.Context, o LetterOrder) error {
	_, err := c.call(ctx, "drop", controlCall{Letters: o})
	return err
}

func (c *controlClient) Settle(ctx context.Context, s Settlement) error {
	_, err := c.call(ctx, "settle", controlCall{Settlement: s})
	return err
}

func (c *controlClient) Cancel(ctx context.Context, one playbooks.Cancellation) (soar.Run, error) {
	answer, err := c.call(ctx, "cancel", controlCall{Cancellation: one})
	return answer.Run, err
}

func (c *controlClient) Undo(ctx context.Context, o playbooks.UndoOrder) (playbooks.Undoing, error) {
	answer, err := c.call(ctx, "undo", controlCall{Undo: o})
	return answer.Undo, err
}

func (c *controlClient) Extend(ctx context.Context, x playbooks.Extension) ([]playbooks.ExtendedStep, error) {
	answer, err := c.call(ctx, "extend", controlCall{Extension: x})
	return answer.Extended, err
}

func (c *controlClient) TestSink(ctx context.Context, name string) error {
	_, err := c.call(ctx, "sink-test", controlCall{Sink: name})
	return err
}

func (c *controlClient) EditDeadLetter(ctx context.Context, e LetterEdit) error {
	_, err := c.call(ctx, "edit", controlCall{Edit: e})
	return err
}

func (c *controlClient) HoldSink(ctx context.Context, o SinkOrder) error {
	_, err := c.call(ctx, "sink-pause", controlCall{Order: o})
	return err
}

func (c *controlClient) ResumeSink(ctx context.Context, o SinkOrder) (string, error) {
	answer, err := c.call(ctx, "sink-resume", controlCall{Order: o})
	return answer.State, err
}

func (c *controlClient) ReplaySink(ctx context.Context, o ReplayOrder) (sinks.Replay, error) {
	answer, err := c.call(ctx, "sink-replay", controlCall{Replay: o})
	return answer.Replay, err
}

func (c *controlClient) SkipAtSink(ctx context.Context, o SkipOrder) (Skipped, error) {
	answer, err := c.call(ctx, "sink-skip", controlCall{Skip: o})
	return answer.Skipped, err
}

func (c *controlClient) SinkStatus(ctx context.Context) ([]SinkStatus, error) {
	answer, err := c.call(ctx, "sinks", controlCall{})
	return answer.Sinks, err
}

func (c *controlClient) Pause(ctx context.Context, o PauseOrder) (PauseState, error) {
	answer, err := c.call(ctx, "pause", controlCall{Pause: o})
	return answer.Pause, err
}

func (c *controlClient) Resume(ctx context.Context, by string) (PauseState, error) {
	answer, err := c.call(ctx, "resume", controlCall{Pause: PauseOrder{By: by}})
	return answer.Pause, err
}

func (c *controlClient) StartRun(ctx context.Context, s RunStart) (soar.Run, error) {
	answer, err := c.call(ctx, "run", controlCall{Start: s})
	return answer.Run, err
}

func (c *controlClient) Approvals(ctx context.Context) ([]soar.Approval, error) {
	answer, err := c.call(ctx, "approvals", controlCall{})
	return answer.Asked, err
}

func (c *controlClient) Decide(ctx context.Context, approval string, v soar.Vote) (soar.Approval, error) {
	answer, err := c.call(ctx, "decide", controlCall{Approval: approval, Vote: v})
	if err != nil {
		return soar.Approval{}, err
	}
	if len(answer.Asked) != 1 {
		return soar.Approval{}, errors.New("control socket: the answer has no approval in it")
	}
	return answer.Asked[0], nil
}

func (c *controlClient) Reload(ctx context.Context) (Reloaded, error) {
	answer, err := c.call(ctx, "reload", controlCall{})
	return answer.Reloaded, err
}
