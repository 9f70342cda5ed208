package actions

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/evidence"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// at binds the actions anew, as after a restart, with a clock that stands.
func (b *bench) at(now time.Time) *evidence.Store {
	b.Helper()
	b.deps.Now = func() time.Time { return now }
	store, err := evidence.New(b.deps.CarveDir, evidence.Options{MaxBytes: b.deps.MaxCarveBytes, Now: b.deps.Now})
	if err != nil {
		b.Fatal(err)
	}
	b.deps.Evidence = store
	b.actions = All(b.deps)
	return store
}

// beginCarve carves evil from a host, and follows it until the server tells of a first block.
func (b *bench) beginCarve(c playbooks.Call) (ref, session string) {
	b.Helper()
	out, err := b.actions["carve.file"].Do(b.Context(), c)
	for err == nil && out.State == soar.StepAccepted && !strings.Contains(out.Progress, "IN PROGRESS") {
		ref = out.Ref
		out, err = b.actions["carve.file"].Poll(b.Context(), c, ref)
	}
	if err != nil || out.State != soar.StepAccepted {
		b.Fatalf("%+v: %v", out, err)
	}
	all := b.sim.Carves()
	return ref, all[len(all)-1].SessionID
}

// record is what was recorded of a carve, in its order.
func record(t *testing.T, store *evidence.Store, session string) string {
	t.Helper()
	report, err := store.Verify(t.Context(), session)
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("carve %s: %v: %v", session, report.Problems, err)
	}
	var all []string
	for _, e := range report.Custody.Entries {
		all = append(all, e.What)
	}
	return strings.Join(all, " ")
}

// A carve of which nothing new comes is given up, with how far it came, and not only when
// the time of the step is over. Its clock goes on over restarts.
func TestCarveStalls(t *testing.T) {
	for name, tt := range map[string]struct {
		blocks  bool // the server tells how many it has
		offline bool
		far     string
		host    string
	}{
		"server that tells no blocks": {far: `4 blocks, 27136 bytes in all, the server says "IN PROGRESS"`, host: "the host is online: look at the agent on it"},
		"server that tells blocks":    {blocks: true, far: `1 of 4 blocks, 27136 bytes, the server says "IN PROGRESS"`, host: "the host is online"},
		"host that went away":         {offline: true, far: "4 blocks", host: "the host is offline"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, ersim.Options{})
			if tt.blocks {
				b.tellBlocks()
			}
			h := b.windows()
			start := time.Now()
			b.at(start)
			b.sim.Inject(ersim.Fault{Kind: ersim.CarveStuck, Host: h.Identifier})
			c := call("carve", b.raise(h, evil), object{"host": h.Identifier, "path": evil})
			ref, session := b.beginCarve(c)
			if tt.offline {
				b.sim.SetOnline(h.Identifier, false)
			}
			for _, after := range []time.Duration{0, 5 * time.Minute, 10*time.Minute - time.Second} {
				b.at(start.Add(after))
				out, err := b.actions["carve.file"].Poll(t.Context(), c, ref)
				if err != nil || out.State != soar.StepAccepted || !strings.HasPrefix(out.Progress, tt.far) || !strings.HasSuffix(out.Summary, out.Progress) {
					t.Errorf("after %s: %+v: %v", after, out, err)
				}
			}
			store := b.at(start.Add(10*time.Minute + time.Second))
			for range 2 { // the second time after a crash, before the result was written down
				out, err := b.actions["carve.file"].Poll(t.Context(), c, ref)
				if err != nil || out.State != soar.StepFailed {
					t.Fatalf("%+v: %v", out, err)
				}
				for _, words := range []string{"stalled: nothing new for 10m0s (carves.stall)", tt.far, tt.host, "carve.fetch gets it as session " + session} {
					if !strings.Contains(out.Error, words) {
						t.Errorf("%q does not say %q", out.Error, words)
					}
				}
				if out.Output.(CarveOutput).Session != session {
					t.Errorf("output %+v", out.Output)
				}
			}
			if got := record(t, store, session); got != "carved stalled" {
				t.Errorf("record: %s", got)
			}
		})
	}
}

// Each new block starts the clock anew.
func TestCarveDoesNotStallWhileBlocksCome(t *testing.T) {
	b := newBench(t, ersim.Options{})
	b.tellBlocks()
	h := b.windows()
	start := time.Now()
	b.at(start)
	b.sim.Inject(ersim.Fault{Kind: ersim.CarveStuck, Host: h.Identifier, Delay: 100 * time.Millisecond})
	c := call("carve", b.raise(h, evil), object{"host": h.Identifier, "path": evil})
	ref, session := b.beginCarve(c)
	b.at(start.Add(9 * time.Minute)) // a restart between blocks
	for out := (playbooks.Outcome{Progress: "1 of"}); strings.HasPrefix(out.Progress, "1 of"); {
		var err error
		if out, err = b.actions["carve.file"].Poll(t.Context(), c, ref); err != nil {
			t.Fatal(err)
		}
	}
	store := b.at(start.Add(18 * time.Minute))
	out, err := b.actions["carve.file"].Poll(t.Context(), c, ref)
	if err != nil {
		t.Fatal(err)
	}
	want(t, b.finish("carve.file", c, out), soar.StepVerified, "carved "+evil)
	if got := record(t, store, session); got != "carved downloaded checked" {
		t.Errorf("record: %s", got)
	}
}

// Where the server does not tell how many blocks it has, a large carve gets the time that
// all of them take.
func TestStallAfter(t *testing.T) {
	done := int64(1)
	d := &Deps{CarveStall: 10 * time.Minute}
	for _, tt := range []struct {
		seen evidence.Seen
		want time.Duration
	}{
		{evidence.Seen{}, 10 * time.Minute},
		{evidence.Seen{Size: 20}, 10 * time.Minute},
		{evidence.Seen{Size: 64 << 20}, 10*time.Minute + 1024*time.Second},
		{evidence.Seen{Size: 64 << 20, Done: &done}, 10 * time.Minute},
	} {
		if got := d.stallAfter(tt.seen); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.seen, got, tt.want)
		}
	}
}

// tellBlocks binds a client to whom the server tells how many blocks it has, as no known
// release does.
func (b *bench) tellBlocks() {
	b.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(b.sim.CAPEM())
	client, err := connector.New(connector.Options{
		URL: b.sim.URL(), Username: "admin", Password: soar.SecretValue("admin"), Retries: -1,
		Transport: &telling{&http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}, b.sim},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.deps.Client = client
}

type telling struct {
	*http.Transport
	sim *ersim.Server
}

func (w *telling) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := w.Transport.RoundTrip(req)
	if err != nil || !strings.HasSuffix(req.URL.Path, "/carves/query") {
		return resp, err
	}
	data, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	if all := w.sim.Carves(); len(all) > 0 {
		data = bytes.Replace(data, []byte(`"block_count"`), fmt.Appendf(nil, `"completed_blocks": %d, "block_count"`, all[len(all)-1].Received), 1)
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
	resp.Header.Del("Content-Length")
	return resp, nil
}

func TestOddCarves(t *testing.T) {
	for name, tt := range map[string]struct {
		fault   ersim.FaultKind
		path    string
		max     int64
		state   soar.StepState
		words   string // in summary or error
		record  string
		archive bool // is kept
	}{
		"no archive":                  {fault: ersim.CarveJunk, state: soar.StepFailed, words: "what came is no archive: its first bytes are neither", record: "downloaded checked", archive: true},
		"larger than the server told": {fault: ersim.CarveSize, state: soar.StepVerified, words: "the server told of 54272 bytes, and sent 27136", record: "downloaded checked", archive: true},
		"too large":                   {max: 100, state: soar.StepFailed, words: "tells of 27136 bytes, and 100 are allowed (actions.max_carve_bytes)", record: "refused"},
		"hostile name":                {path: "/tmp/../../../../../../etc/cron.d/evil", state: soar.StepVerified, words: "carved /tmp/../", record: "downloaded checked", archive: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, ersim.Options{})
			outside := t.TempDir()
			b.deps.CarveDir = filepath.Join(outside, "a", "b", "carves")
			b.deps.MaxCarveBytes = tt.max
			store := b.at(time.Now())
			h, path := b.windows(), evil
			if tt.path != "" {
				h, path = b.other(), tt.path
			}
			if tt.fault != "" {
				b.sim.Inject(ersim.Fault{Kind: tt.fault, Host: h.Identifier})
			}
			out := b.run("carve.file", call("carve", b.raise(h, path), object{"host": h.Identifier, "path": path}))
			if out.State != tt.state || !strings.Contains(out.Summary+out.Error, tt.words) {
				t.Errorf("%+v", out)
			}
			output := out.Output.(CarveOutput)
			if got := strings.TrimPrefix(record(t, store, output.Session), "carved "); got != tt.record {
				t.Errorf("record: %s", got)
			}
			if _, err := os.Stat(output.File); (err == nil) != tt.archive {
				t.Errorf("archive %q: %v", output.File, err)
			}
			err := filepath.WalkDir(outside, func(path string, e fs.DirEntry, err error) error {
				if err == nil && !e.IsDir() && filepath.Dir(path) != filepath.Join(b.deps.CarveDir, output.Session) {
					t.Errorf("%s was written", path)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
			if downloads := b.sim.Calls()["carves-download"]; (downloads == 1) != tt.archive {
				t.Errorf("downloaded %d times", downloads)
			}
		})
	}
}

// A download that breaks off is made again, whatever broke it.
func TestCarveDownloadBreaksOff(t *testing.T) {
	for _, kind := range []ersim.FaultKind{ersim.Truncate, ersim.DropBefore, ersim.DropAfter, ersim.HTMLAnswer, ersim.ServerError} {
		b := newBench(t, ersim.Options{})
		store := b.at(time.Now())
		h := b.windows()
		b.sim.Inject(ersim.Fault{Kind: kind, Call: "carves-download"})
		c := call("carve", b.raise(h, evil), object{"host": h.Identifier, "path": evil})
		out, err := b.actions["carve.file"].Do(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		failed := 0
		for out.State == soar.StepAccepted && t.Context().Err() == nil {
			next, err := b.actions["carve.file"].Poll(t.Context(), c, out.Ref)
			if err != nil {
				failed++
				continue
			}
			out = next
		}
		want(t, out, soar.StepVerified, "carved "+evil)
		if failed > 1 { // none where the client itself tries again
			t.Errorf("%s: %d polls failed", kind, failed)
		}
		session := b.sim.Carves()[0].SessionID
		if got := strings.TrimPrefix(record(t, store, session), "carved "); got != "downloaded checked" {
			t.Errorf("%s: record: %s", kind, got)
		}
		entries, err := os.ReadDir(filepath.Join(b.deps.CarveDir, session))
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".part") || e.Name() == "progress.json" {
				t.Errorf("%s: %s was left", kind, e.Name())
			}
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// Two runs carve one file at the same time: each has a carve of its own.
func TestTwoRunsCarveOneFile(t *testing.T) {
	b := newBench(t, ersim.Options{})
	store := b.at(time.Now())
	h := b.windows()
	alert := b.raise(h, evil)
	outs := make([]playbooks.Outcome, 2)
	var runs sync.WaitGroup
	for i := range outs {
		runs.Go(func() {
			c := call("carve"+strconv.Itoa(i), alert, object{"host": h.Identifier, "path": evil})
			out, err := b.actions["carve.file"].Do(t.Context(), c)
			for err == nil && out.State == soar.StepAccepted {
				out, err = b.actions["carve.file"].Poll(t.Context(), c, out.Ref)
			}
			if err != nil {
				t.Error(err)
			}
			outs[i] = out
		})
	}
	runs.Wait()
	a, z := outs[0].Output.(CarveOutput), outs[1].Output.(CarveOutput)
	if outs[0].State != soar.StepVerified || outs[1].State != soar.StepVerified || a.Session == z.Session || a.File == z.File {
		t.Errorf("%+v\n%+v", outs[0], outs[1])
	}
	for _, out := range []CarveOutput{a, z} {
		if got := strings.TrimPrefix(record(t, store, out.Session), "carved "); got != "downloaded checked" {
			t.Errorf("record: %s", got)
		}
	}
}

// carvedByHand carves evil on the server, without erbridge.
func (b *bench) carvedByHand(h ersim.HostState) (session string) {
	b.Helper()
	b.raise(h, evil)
	statement, err := bindSQL("select * from carves where path = :path and carve = 1", object{"path": evil})
	if err == nil {
		_, err = b.deps.Client.Queries.Live(b.Context(), connector.LiveQuery{SQL: statement, Hosts: []string{h.Identifier}})
	}
	if err != nil {
		b.Fatal(err)
	}
	for b.Context().Err() == nil {
		for _, c := range b.sim.Carves() {
			if c.Status == "COMPLETED" {
				return c.SessionID
			}
		}
		if _, err := b.deps.Client.Carves.Page(b.Context(), connector.CarveQuery{}); err != nil {
			b.Fatal(err)
		}
	}
	b.Fatal(context.Cause(b.Context()))
	return ""
}

func TestCarveListFetchDelete(t *testing.T) {
	b := newBench(t, ersim.Options{})
	store := b.at(time.Now())
	h := b.windows()
	session := b.carvedByHand(h)
	with := object{"session": session}

	// Nothing is lost: what is not here is not deleted there.
	remove := call("delete", soar.Alert{}, with)
	if err := b.ready("carve.delete", remove); err == nil || !strings.Contains(err.Error(), "its archive is not in the folder for carves; fetch it with carve.fetch first") {
		t.Errorf("delete: %v", err)
	}
	if err := b.ready("carve.delete", call("delete", soar.Alert{}, object{"session": session, "unfetched": true})); err != nil {
		t.Errorf("delete what nobody has: %v", err)
	}

	// Two runs fetch it at once.
	outs := make([]playbooks.Outcome, 2)
	var runs sync.WaitGroup
	for i := range outs {
		runs.Go(func() {
			c := call("fetch"+strconv.Itoa(i), soar.Alert{}, with)
			if err := b.actions["carve.fetch"].(playbooks.Readier).Ready(t.Context(), c); err != nil {
				t.Error(err)
			}
			out, err := b.actions["carve.fetch"].Do(t.Context(), c)
			for err == nil && out.State == soar.StepAccepted {
				out, err = b.actions["carve.fetch"].Poll(t.Context(), c, out.Ref)
			}
			if err != nil {
				t.Error(err)
			}
			outs[i] = out
		})
	}
	runs.Wait()
	for _, out := range outs {
		want(t, out, soar.StepVerified, "fetched carve "+session+" (27136 bytes)")
		if output := out.Output.(CarveOutput); output.Host != h.Identifier || output.Path != "" || output.File == "" || out.Target != h.Identifier {
			t.Errorf("%+v", out)
		}
	}
	if got := record(t, store, session); got != "downloaded checked used" || b.sim.Calls()["carves-download"] != 1 {
		t.Errorf("record: %s, after %d downloads", got, b.sim.Calls()["carves-download"])
	}

	listed := b.run("carve.list", call("list", soar.Alert{}, object{"host": h.Identifier}))
	rows := listed.Output.(CarveListOutput)
	if len(rows.Carves) != 1 || rows.More || rows.Carves[0].Session != session || !rows.Carves[0].Done || !rows.Carves[0].Here || rows.Carves[0].Bytes != 27136 ||
		rows.Carves[0].Blocks != 4 || rows.Carves[0].BlocksDone != nil || rows.Carves[0].HostName != h.Name {
		t.Errorf("%+v", rows)
	}
	if none := b.run("carve.list", call("list", soar.Alert{}, object{"host": b.other().Identifier})).Output.(CarveListOutput); none.Carves == nil || len(none.Carves) != 0 {
		t.Errorf("%+v", none)
	}
	b.sim.Inject(ersim.Fault{Kind: ersim.Unavailable, Call: "carves-list"})
	if _, err := b.actions["carve.list"].Do(t.Context(), call("list", soar.Alert{}, object{})); !errors.Is(err, playbooks.ErrTransient) {
		t.Errorf("list: %v", err)
	}

	// A changed archive is no reason to delete the one on the server.
	item, err := store.Get(session)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(item.File)
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range [][]byte{append([]byte("x"), data[1:]...), data} {
		if err := os.WriteFile(item.File, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := b.ready("carve.delete", remove); (err == nil) != bytes.Equal(content, data) || err != nil && !strings.Contains(err.Error(), "is not as it was downloaded") {
			t.Errorf("delete: %v", err)
		}
	}

	// The answer is lost: it is sent again, and is over.
	b.sim.Inject(ersim.Fault{Kind: ersim.DropAfter, Call: "carves-delete"})
	if _, err := b.actions["carve.delete"].Do(t.Context(), remove); !errors.Is(err, playbooks.ErrUncertain) {
		t.Errorf("delete: %v", err)
	}
	out := b.run("carve.delete", remove)
	want(t, out, soar.StepVerified, "deleted carve "+session+" from the server")
	if got := out.Output.(CarveDeleteOutput); !got.Here || got.Session != session {
		t.Errorf("%+v", got)
	}
	if got := record(t, store, session); got != "downloaded checked used removed" {
		t.Errorf("record: %s", got)
	}
	if err := b.ready("carve.delete", remove); !errors.Is(err, playbooks.ErrNothingToDo) {
		t.Errorf("delete again: %v", err)
	}
	if err := b.ready("carve.fetch", remove); !errors.Is(err, soar.ErrNotFound) || !strings.Contains(err.Error(), "carve.list shows those that it has") {
		t.Errorf("fetch what is gone: %v", err)
	}
}

func TestCarveFetchWaits(t *testing.T) {
	b := newBench(t, ersim.Options{})
	b.at(time.Now())
	h := b.windows()
	b.sim.Inject(ersim.Fault{Kind: ersim.CarveStuck, Host: h.Identifier, Delay: 50 * time.Millisecond})
	_, session := b.beginCarve(call("carve", b.raise(h, evil), object{"host": h.Identifier, "path": evil}))
	want(t, b.run("carve.fetch", call("fetch", soar.Alert{}, object{"session": session})), soar.StepVerified, "fetched carve "+session)
}

// The server says that it deleted a carve, and has it still, or nobody can look.
func TestCarveDeleteIsLookedAt(t *testing.T) {
	b := newBench(t, ersim.Options{})
	store := b.at(time.Now())
	session := b.carvedByHand(b.windows())
	c := call("delete", soar.Alert{}, object{"session": session, "unfetched": true})
	said := b.answering("/carves/delete", `{"status": "success", "message": "Successfully deleted the Carve for the session id given!", "data": null}`)
	out, err := said["carve.delete"].Do(t.Context(), c)
	if err != nil || out.State != soar.StepFailed || out.Error != "the server said that it did, and still lists it" {
		t.Errorf("%+v: %v", out, err)
	}
	b.sim.Inject(ersim.Fault{Kind: ersim.ServerError, Call: "carves-list", Count: -1})
	out, err = b.actions["carve.delete"].Do(t.Context(), c)
	if err != nil || out.State != soar.StepExecuted || !strings.Contains(out.Summary, "not verified") {
		t.Errorf("%+v: %v", out, err)
	}
	if _, err := store.Get(session); !errors.Is(err, soar.ErrNotFound) {
		t.Errorf("a carve that was never here has a folder: %v", err)
	}
}

// What came is not all of it: the one on the server may be, and stays.
func TestCarveDeleteKeepsWhatIsWhole(t *testing.T) {
	for fault, words := range map[ersim.FaultKind]string{
		ersim.CarveJunk: "is not whole: its first bytes are neither", ersim.CarveSize: "is not whole: the server told of 54272 bytes, and sent 27136",
	} {
		b := newBench(t, ersim.Options{})
		b.at(time.Now())
		h := b.windows()
		b.sim.Inject(ersim.Fault{Kind: fault, Host: h.Identifier})
		session := b.carvedByHand(h)
		b.run("carve.fetch", call("fetch", soar.Alert{}, object{"session": session}))
		if err := b.ready("carve.delete", call("delete", soar.Alert{}, object{"session": session})); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("delete: %v", err)
		}
		if err := b.ready("carve.delete", call("delete", soar.Alert{}, object{"session": session, "unfetched": true})); err != nil {
			t.Errorf("delete all the same: %v", err)
		}
	}
}

// Only an administrator deletes carves, and hears so before anything is written down.
func TestCarveDeleteNeedsAnAdministrator(t *testing.T) {
	b := newBench(t, ersim.Options{})
	session := b.carvedByHand(b.windows())
	b.deps.Client = b.login("analyst")
	b.actions = All(b.deps)
	c := call("delete", soar.Alert{}, object{"session": session, "unfetched": true})
	if err := b.ready("carve.delete", c); err == nil || !strings.Contains(err.Error(), "deleting a carve from the server needs the role admin") {
		t.Errorf("ready: %v", err)
	}
	if _, err := b.actions["carve.delete"].Do(t.Context(), c); !errors.Is(err, connector.ErrForbidden) || errors.Is(err, playbooks.ErrTransient) {
		t.Errorf("do: %v", err)
	}
	if left := b.sim.Carves(); len(left) != 1 {
		t.Errorf("%d carves are left", len(left))
	}
}

func TestCarveArguments(t *testing.T) {
	b := newBench(t, ersim.Options{})
	for _, tt := range []struct {
		action string
		with   object
		want   string
	}{
		{"carve.fetch", object{}, "session"},
		{"carve.fetch", object{"session": "../../etc"}, "expected letters and digits"},
		{"carve.delete", object{"session": "A,B"}, "expected letters and digits"},
		{"carve.delete", object{"session": "A'; drop table carves"}, "expected letters and digits"},
		{"carve.fetch", object{"session": strings.Repeat("A", 65)}, "expected letters and digits"},
		{"carve.list", object{"limit": 0}, "from 1 to 1000"},
		{"carve.list", object{"limit": 1001}, "from 1 to 1000"},
	} {
		if _, err := b.actions[tt.action].Do(t.Context(), call("x", soar.Alert{}, tt.with)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %v: %v", tt.action, tt.with, err)
		}
	}
	if n := b.sim.Calls()["carves-delete"] + b.sim.Calls()["carves-list"]; n > 0 {
		t.Errorf("%d calls were sent", n)
	}
	b.deps.CarveDir, b.deps.Evidence = "", nil
	b.actions = All(b.deps)
	if err := b.ready("carve.fetch", call("x", soar.Alert{}, object{"session": "A"})); err == nil || !strings.Contains(err.Error(), "actions.carve_dir") {
		t.Errorf("fetch without a folder: %v", err)
	}
}

// With recipients, nothing of a file is on disk that could be read without a key.
func TestCarveIsEncrypted(t *testing.T) {
	b := newBench(t, ersim.Options{})
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	b.deps.Evidence, err = evidence.New(b.deps.CarveDir, evidence.Options{Recipients: []string{key.Recipient().String()}})
	if err != nil {
		t.Fatal(err)
	}
	b.actions = All(b.deps)
	h := b.windows()
	out := b.run("carve.file", call("carve", b.raise(h, evil), object{"host": h.Identifier, "path": evil}))
	want(t, out, soar.StepVerified, "encrypted to 1 recipients")
	output := out.Output.(CarveOutput)
	sealed, err := os.ReadFile(output.File)
	if err != nil || !bytes.HasPrefix(sealed, []byte("age-encryption.org/v1")) || bytes.Contains(sealed, []byte("evil")) || len(output.Files) != 1 {
		t.Errorf("%d bytes, %+v: %v", len(sealed), output, err)
	}
	keys, err := evidence.ReadIdentities(strings.NewReader(key.String()))
	if err != nil {
		t.Fatal(err)
	}
	var plain bytes.Buffer
	if _, err := b.deps.Evidence.Copy(t.Context(), output.Session, &plain, keys, evidence.Actor{Name: "anna"}); err != nil || !strings.Contains(plain.String(), "evil") {
		t.Errorf("%d bytes: %v", plain.Len(), err)
	}
}

// The journal tells how far a carve is, each time once.
func TestCarveProgressIsInTheJournal(t *testing.T) {
	s := stage(t, ersim.Options{})
	s.sim.Inject(ersim.Fault{Kind: ersim.CarveStuck, Host: s.host.Identifier})
	s.begin("{id: act, do: carve.file, timeout: 4s, with: {host: '${{ .alert.host.identifier }}', path: '${{ .alert.event.path }}'}}")
	s.put()
	got := s.ended()
	if got.State != soar.StepExpired || !strings.Contains(got.Summary, `4 blocks, 27136 bytes in all, the server says "IN PROGRESS"`) {
		t.Errorf("ended %+v", got)
	}
	_, entries := s.until(soar.EntryResult)
	var notes []string
	for _, e := range entries {
		if e.Kind == soar.EntryNote && e.Step == "act" && strings.Contains(string(e.Body), "the server says") {
			notes = append(notes, string(e.Body))
		}
	}
	if len(notes) == 0 || len(notes) > 2 || !strings.Contains(notes[len(notes)-1], "IN PROGRESS") {
		t.Errorf("notes %q", notes)
	}
}
