package modeltest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
)

// world is one sequence while it is played: the server and its hosts, the disk, and one
// life of the engine after the other. It also writes down what the server was asked to
// do, by which the promises are judged.
type world struct {
	t       *testing.T
	plan    *plan
	sim     *ersim.Server
	disk    disk
	analyst *connector.Client // with a way of its own to the server

	// Of the goroutine that plays.
	life     *life
	actions  map[string]playbooks.Action
	set      int
	alerts   []soar.Alert
	resolved map[string]time.Time // alerts that an analyst has resolved

	onTheWay sync.WaitGroup // requests and websockets that the server has still
	taking   sync.Mutex     // held while a request with an effect is served

	mu        sync.Mutex
	broken    []string                        // promises; guarded by mu, as all that follows
	reached   map[string]int                  // what has come to happen
	received  []received                      // what the server has accepted
	lifted    []received                      // calls after which a host was no longer protected
	paused    bool                            // the kill switch is thrown, and whoever threw it knows
	touched   map[string]time.Time            // when something else changed a host last
	protected map[string]time.Time            // hosts that are protected since
	anew      map[string]time.Time            // hosts that were enrolled anew
	votes     map[runStep]map[string]struct{} // who agreed
	rearms    map[string][]time.Time          // budgets that were re-armed
	lates     []late
	fullUntil time.Time
}

// runStep is a step of a run.
type runStep struct {
	run  soar.RunID
	step string
}

// received is a command that the server has accepted from a step.
type received struct {
	sentCall
	ersim.CommandRecord
}

// played is what came of a sequence.
type played struct {
	broken  []string
	reached map[string]int
}

// play plays a sequence from its start until all of it is quiet.
func play(t *testing.T, p *plan) (out played) {
	dir := ""
	if p.onDisk {
		var err error
		if dir, err = os.MkdirTemp(memoryDir(), "model"); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		}()
	}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 11, 22, 3, 22, 30, 0, time.UTC)))
		w := &world{
			t: t, plan: p, reached: map[string]int{}, touched: map[string]time.Time{}, protected: map[string]time.Time{}, anew: map[string]time.Time{},
			votes: map[runStep]map[string]struct{}{}, rearms: map[string][]time.Time{},
			resolved: map[string]time.Time{},
		}
		w.play(dir)
		out = played{w.broken, w.reached}
	})
	return out
}

// memoryDir is a folder whose syncs cost nothing, where there is one: what the disk
// does is not what this tests.
func memoryDir() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}

func (w *world) play(dir string) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var parts sync.WaitGroup
	var err error
	fleet := fleetOptions()
	fleet.CommandDelay = w.plan.work
	w.sim, err = ersim.New(fleet)
	w.must(err)
	parts.Go(func() { w.sim.Work(ctx) })
	w.disk = newMemory()
	if dir != "" {
		s, err := store.Open(ctx, dir, store.Options{})
		w.must(err)
		defer func() { w.must(s.Close()) }()
		parts.Go(func() { w.must(s.Run(ctx)) })
		w.disk = s
	}
	w.analyst, err = connector.New(connector.Options{
		URL: "http://127.0.0.1", BasePath: w.sim.BasePath(), Username: "admin", Password: soar.SecretValue("admin"),
		Transport: direct{w.sim}, Retries: -1,
	})
	w.must(err)

	w.begin()
	if w.plan.fleet > 0 {
		w.must(w.life.engine.SetFleet(ctx, w.plan.fleet))
	}
	for _, m := range w.plan.moves {
		time.Sleep(m.wait)
		w.revive()
		m.do(w)
	}
	w.quieten()
	w.life.stop()
	w.onTheWay.Wait()
	w.judgeAll()
	cancel()
	parts.Wait()
}

// revive starts the engine anew when it is dead.
func (w *world) revive() {
	if w.life.gone() {
		w.life.stop()
		w.begin()
	}
}

// quieten lets everything come back and nothing more go wrong, and waits until nothing
// is left to be done.
func (w *world) quieten() {
	w.life.doom("", 0)
	w.sim.ClearFaults()
	w.mu.Lock()
	w.lates, w.fullUntil = nil, time.Time{}
	w.mu.Unlock()
	for _, h := range w.sim.Hosts() {
		w.touch(h.Name)
		w.sim.SetOnline(h.Identifier, true)
		w.sim.SetResponseEnabled(h.Identifier, true)
	}
	w.revive()
	w.resume()
	for range 100 {
		time.Sleep(20 * time.Minute)
		if !w.busy() {
			time.Sleep(10 * time.Minute) // for what is on its way
			return
		}
	}
	for _, run := range w.runs() {
		if !run.State.Ended() {
			w.wrong("run %s of %s is %s more than a day after everything is well again; it waits until %s: %+v",
				run.ID, run.Playbook, run.State, run.Wake, playbooks.HeldSteps(w.entries(run.ID)))
		}
	}
}

// busy tells whether something is left to be done.
func (w *world) busy() bool {
	pending, err := w.disk.Pending(w.t.Context(), 0, 1)
	w.must(err)
	return len(pending) > 0 || slices.ContainsFunc(w.runs(), func(run soar.Run) bool { return !run.State.Ended() })
}

// read loads the playbooks that are there now.
func (w *world) read(all map[string]playbooks.Action) *playbooks.Set {
	files := fstest.MapFS{}
	for _, b := range w.plan.books[w.set] {
		files[b.name+".yaml"] = &fstest.MapFile{Data: []byte(b.text)}
	}
	set, problems := playbooks.LoadFS(files, ".", all)
	if problems != nil {
		panic(fmt.Sprintf("the playbooks do not load:\n%v", problems)) // a mistake in book
	}
	return set
}

// log shows what the engine has to say, where somebody asks for that.
func (w *world) log() *slog.Logger {
	if os.Getenv("MODEL_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Error(err)
	}
}

// wrong notes that a promise is broken.
func (w *world) wrong(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = append(w.broken, fmt.Sprintf("%s: ", time.Now().UTC().Format(time.TimeOnly))+fmt.Sprintf(format, args...))
}

func (w *world) reach(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reached[what]++
}

func (w *world) slow(one late) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lates = append(w.lates, one)
}

// delay is how long a request takes to arrive.
func (w *world) delay(call string) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.lates {
		if one := &w.lates[i]; one.call == call && one.count > 0 {
			one.count--
			w.reached["call on its way for long"]++
			return one.by
		}
	}
	return 0
}

var errFull = errors.New("no space left on device")

func (w *world) fill(trouble time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fullUntil = time.Now().Add(trouble)
}

func (w *world) diskTrouble() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Now().Before(w.fullUntil) {
		w.reached["disk full"]++
		return errFull
	}
	return nil
}

func (w *world) setPaused(paused bool) (before bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before, w.paused = w.paused, paused
	return before
}

// touch notes that something but a command changes a host.
func (w *world) touch(host string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.touched[host] = time.Now()
}

func (w *world) protect(host string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.protected[host]; !known {
		w.protected[host] = time.Now()
	}
}

func (w *world) enrol(host, identifier string) {
	w.touch(host)
	w.sim.Enrol(w.host(host).Identifier, identifier)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reached["host enrolled anew"]++
	w.anew[host] = time.Now()
}

func (w *world) voted(run soar.RunID, step, by string, agree bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	who := w.votes[runStep{run, step}]
	if who == nil {
		who = map[string]struct{}{}
		w.votes[runStep{run, step}] = who
	}
	if agree {
		who[by] = struct{}{}
	}
}

func (w *world) rearmed(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rearms[name] = append(w.rearms[name], time.Now())
}

// sends is told of each request that changes something when it is sent.
func (w *world) sends(call *sentCall, path string) {
	w.mu.Lock()
	paused := w.paused
	w.mu.Unlock()
	if paused && call != nil {
		w.wrong("%s of run %s, step %s is sent to %s while the kill switch is thrown", call.action, call.run, call.step, path)
	}
}

// untagging reports whether a call takes tags away.
func untagging(call *sentCall) bool {
	return call.action == "host.untag" || call.action == "host.tag" && call.with["remove"] == true
}

// took is told of each request that changes something when the server has served it.
func (w *world) took(call *sentCall, commands []ersim.CommandRecord) {
	hosts := w.sim.Hosts()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range hosts {
		_, before := w.protected[h.Name]
		switch now := slices.Contains(h.Tags, "domain-controller"); {
		case now && !before:
			w.protected[h.Name] = time.Now()
		case !now && before && call != nil && untagging(call): // no other call takes tags away
			w.lifted = append(w.lifted, received{*call, ersim.CommandRecord{HostName: h.Name}})
			fallthrough
		case !now:
			delete(w.protected, h.Name)
		}
	}
	if call == nil {
		return
	}
	for _, c := range commands {
		w.received = append(w.received, received{*call, c})
	}
}

// accepted counts the commands that the server has accepted from a step.
func (w *world) accepted(run soar.RunID, step string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.received {
		if r := &w.received[i]; r.run == run && r.step == step {
			n++
		}
	}
	return n
}

// host is a host of the fleet by its name.
func (w *world) host(name string) ersim.HostState {
	for _, h := range slices.Backward(w.sim.Hosts()) {
		if h.Name == name {
			return h
		}
	}
	return ersim.HostState{}
}

func (w *world) runs() []soar.Run {
	runs, err := w.disk.Runs(w.t.Context(), store.RunFilter{})
	w.must(err)
	slices.Reverse(runs) // the oldest first
	return runs
}

func (w *world) entries(run soar.RunID) []soar.Entry {
	entries, err := w.disk.Entries(w.t.Context(), run)
	w.must(err)
	return entries
}

func (p *played) add(to map[string]int) {
	for what, n := range maps.All(p.reached) {
		to[what] += n
	}
}
