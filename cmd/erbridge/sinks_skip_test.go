package main

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/soar"
)

// picky is a receiver that answers 403 to one event, until it is told to take it.
type picky struct {
	*httptest.Server
	mild atomic.Bool
	took chan string // what it accepted
}

func newPicky(t *testing.T) *picky {
	p := &picky{took: make(chan string, 100)}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || strings.Contains(string(body), "poison") && !p.mild.Load() {
			http.Error(w, "this index is closed", http.StatusForbidden)
			return
		}
		p.took <- string(body)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *picky) awaits(t *testing.T, text string) {
	t.Helper()
	for {
		select {
		case body := <-p.took:
			if strings.Contains(body, text) {
				return
			}
		case <-t.Context().Done():
			t.Fatalf("%q did not arrive", text)
		}
	}
}

// pickySink is a daemon whose sink hook stands at the event poison.
func pickySink(t *testing.T) (p *picky, file string, d *daemon.Daemon) {
	t.Helper()
	p = newPicky(t)
	key := write(t, t.TempDir(), "key", "whsec_"+base64.StdEncoding.EncodeToString([]byte("a key of twenty-four bytes")))
	_, file, d = working(t, ersim.Options{}, "sinks: {hook: {type: webhook, url: \""+p.URL+"\", secrets: [{file: "+key+"}], allow_private: true, events: [notification]}}\n")
	change := soar.Change{Events: []soar.Event{
		{ID: "n-1", Type: soar.EventNotification, At: time.Now().UTC(), Text: "poison"},
		{ID: "n-2", Type: soar.EventNotification, At: time.Now().UTC(), Text: "fine"},
	}}
	if _, err := d.Store().Commit(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	for after := int64(0); ; {
		changed := d.Store().Changed(soar.SignalFeed)
		events, err := d.Store().Feed(t.Context(), after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range events {
			if after = ev.Pos; strings.HasPrefix(ev.ID, "sink-paused-hook/") {
				return p, file, d
			}
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatal("the sink was not paused")
		}
	}
}

// A 403 that is about one event does not need the daemon to be stopped, nor the event to
// be lost.
func TestSinksSkip(t *testing.T) {
	p, file, _ := pickySink(t)
	runCases(t, file, []commandCase{
		{"where it stands", []string{"sinks", "list"}, "", exitOK, []string{"paused", "stands at event n-1 after", "this index is closed"}, ""},
		{"for scripts", []string{"sinks", "list", "-o", "jsonl", "--jq", ".stands_at.event"}, "", exitOK, []string{`"n-1"`}, ""},
		{"no sink", []string{"sinks", "skip"}, "", exitUsage, nil, "accepts 1 arg"},
		{"another sink", []string{"sinks", "skip", "hok"}, "", exitNotFound, nil, `did you mean "hook"?`},
		{"another event", []string{"sinks", "skip", "hook", "--event", "n-2"}, "", exitFailed, nil, `nothing was skipped: sink hook stands at event "n-1", not at "n-2"`},
		{"try again", []string{"sinks", "resume", "hook", "--reason", "opened it", "--by", "eve"}, "", exitOK, []string{"hook: was paused, tries again now"}, ""},
		{"who made it try", []string{"audit", "list"}, "", exitOK, []string{"sink hook told to try again, it was paused", daemon.SignedHere("eve"), "opened it"}, ""},
		{"skip", []string{"sinks", "skip", "hook", "--event", "n-1", "--reason", "closed index", "--by", "ada"}, "", exitOK,
			[]string{"hook: event n-1 is a dead letter now, the next event is tried", "erbridge deadletters list --sink hook"}, ""},
	})
	p.awaits(t, "fine")
	runCases(t, file, []commandCase{
		{"the letter", []string{"deadletters", "list", "--sink", "hook", "-o", "jsonl", "--jq", "[.event_id, .reason]|join(\" \")"}, "", exitOK,
			[]string{"n-1 skipped by " + daemon.SignedHere("ada"), "(closed index); before that: ", "this index is closed"}, ""},
		{"the audit record", []string{"audit", "list"}, "", exitOK, []string{"event n-1 skipped at sink hook: it is a dead letter now", daemon.SignedHere("ada"), "closed index"}, ""},
		{"skip what goes well", []string{"sinks", "skip", "hook"}, "", exitFailed, nil, "stands at no event"},
	})
	p.mild.Store(true)
	runCases(t, file, []commandCase{
		{"replay", []string{"deadletters", "replay", "1", "--why", "the index is open", "--by", "bob"}, "", exitOK, []string{"1 dead letter replayed"}, ""},
		{"the audit record", []string{"audit", "list"}, "", exitOK,
			[]string{"dead letters of sink:hook replayed: 1 (event n-1)", daemon.SignedHere("bob"), "the index is open"}, ""},
	})
	p.awaits(t, "poison")
}

func TestSinksSkipNeedsADaemon(t *testing.T) {
	runCases(t, deliveries(t), []commandCase{
		{"no daemon", []string{"sinks", "skip", "siem"}, "", exitFailed, nil, "erbridge is not running"},
		{"no such sink", []string{"sinks", "skip", "sime"}, "", exitNotFound, nil, `did you mean "siem"?`},
	})
}

// Whoever breaks the configuration at three in the morning keeps nobody from a daemon
// that runs well with the one it has.
func TestDeliveryCommandsWithABrokenConfiguration(t *testing.T) {
	p, file, _ := pickySink(t)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p.mild.Store(true)
	wrong := write(t, filepath.Dir(file), "wrong.yaml", string(text)+"sniks: {}\nlimits: {workers: many}\n")
	const goes = "has mistakes, erbridge check shows them; the running erbridge goes by the configuration it has"
	runCases(t, wrong, []commandCase{
		{"check", []string{"check"}, "", exitConfig, nil, "sniks"},
		{"sinks list", []string{"sinks", "list"}, "", exitOK, []string{"hook"}, goes},
		{"sinks pause", []string{"sinks", "pause", "hook", "--reason", "maintenance", "--by", "ada"}, "", exitOK, []string{"hook: paused"}, goes},
		{"sinks skip", []string{"sinks", "skip", "hook", "--by", "ada"}, "", exitOK, []string{"n-1 is a dead letter now, and the sink stays paused by a person"}, goes},
		{"deadletters list", []string{"deadletters", "list"}, "", exitOK, []string{"n-1"}, "has mistakes, erbridge check shows them; this is what the store"},
		{"deadletters show", []string{"deadletters", "show", "1"}, "", exitOK, []string{"poison"}, "has mistakes"},
		{"deadletters edit", []string{"deadletters", "edit", "1", "--set", `.text = "mended"`, "--by", "ada", "--reason", "poison is gone"}, "", exitOK, []string{"changed"}, "has mistakes"},
		{"deadletters drop", []string{"deadletters", "drop", "--sink", "hook", "--yes", "--by", "ada", "--why", "it is of no use"}, "", exitOK, []string{"1 dead letter dropped"}, "has mistakes"},
		{"sinks resume", []string{"sinks", "resume", "hook", "--by", "ada", "--reason", "all is well"}, "", exitOK, []string{"goes on now"}, goes},
		{"silences add", []string{"silences", "add", "--rule", "noise", "--for", "1h", "--by", "ada", "--reason", "a test"}, "", exitOK, []string{"silenced until"}, goes},
		{"silences list", []string{"silences", "list"}, "", exitOK, []string{"noise"}, goes},
		{"audit list", []string{"audit", "list", "-o", "json"}, "", exitOK, []string{
			"sink hook paused", "maintenance", "event n-1 skipped at sink hook", "dead letter 1 of sink:hook edited", "poison is gone",
			"dead letters of sink:hook dropped: 1 (event n-1)", "it is of no use", "sink hook resumed", "all is well", "noise", "a test", daemon.SignedHere("ada"),
		}, "has mistakes"},
		{"what needs the whole file", []string{"sinks", "replay", "hook", "--since", "1h", "--dry-run"}, "", exitConfig, nil, "sniks"},
	})
	p.awaits(t, "fine")
	garbled := write(t, filepath.Dir(file), "garbled.yaml", "server: {url: \"https://\nsinks: [\n")
	runCases(t, garbled, []commandCase{
		{"no YAML", []string{"sinks", "list"}, "", exitConfig, nil, "is not YAML, so store.path cannot be found in it; until it is mended, a running erbridge is found with another file, in which there is nothing but store: {path: THE-FOLDER}"},
	})
	alone := write(t, t.TempDir(), "store.yaml", "store: {path: "+filepath.Join(filepath.Dir(file), "data")+"}\n")
	runCases(t, alone, []commandCase{{"the store alone", []string{"sinks", "list"}, "", exitOK, []string{"hook"}, goes}})
	elsewhere := write(t, t.TempDir(), "elsewhere.yaml", "store: {path: data}\nsniks: {}\n")
	runCases(t, elsewhere, []commandCase{
		{"nobody runs there", []string{"sinks", "list"}, "", exitConfig, nil, "no erbridge runs on the store " + filepath.Join(filepath.Dir(elsewhere), "data")},
		{"nor is there a store", []string{"deadletters", "list"}, "", exitConfig, nil, "sniks"},
	})
}
