package store

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/testenv"
)

// running opens a store in a folder of the test and runs it until the test ends.
func running(tb testing.TB, o Options) *Store {
	tb.Helper()
	s, stop := start(tb, tb.TempDir(), o)
	tb.Cleanup(stop)
	return s
}

// start opens and runs a store; stop ends it and may be called more than once.
func start(tb testing.TB, dir string, o Options) (s *Store, stop func()) {
	tb.Helper()
	s, run, stop := prepare(tb, dir, o)
	run()
	return s, stop
}

// prepare opens a store and leaves it to the test when to run it.
func prepare(tb testing.TB, dir string, o Options) (s *Store, run, stop func()) {
	tb.Helper()
	s, err := Open(tb.Context(), dir, o)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	var ended chan error
	run = func() {
		ended = make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
	}
	return s, run, sync.OnceFunc(func() {
		cancel()
		if ended != nil {
			if err := <-ended; err != nil {
				tb.Errorf("Run: %v", err)
			}
		}
		if err := s.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
}

// ingest commits n alerts in batches from several callers; every second alert
// repeats one that was taken in earlier, chosen from all of them.
func ingest(b *testing.B, s *Store, n, callers, batch int, id func(n int) string) {
	b.Helper()
	samples := make([]soar.Alert, 4096)
	for i := range samples {
		samples[i] = sampleAlert(i)
	}
	var taken, fresh atomic.Int64
	var newest atomic.Int64 // ids below are on disk
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(c)))
			for taken.Add(int64(batch)) <= int64(n) {
				first := fresh.Add(int64(batch/2)) - int64(batch/2)
				alerts := make([]soar.Alert, batch)
				for i := range alerts {
					number := first + int64(i/2)
					if known := newest.Load(); i%2 == 1 && known > 0 {
						number = random.Int64N(known)
					}
					alerts[i] = samples[number%int64(len(samples))]
					alerts[i].ID = id(int(number))
				}
				if _, err := s.Commit(b.Context(), soar.Change{Alerts: alerts}); err != nil {
					b.Error(err)
					return
				}
				for was := newest.Load(); was < first && !newest.CompareAndSwap(was, first); was = newest.Load() {
				}
			}
		})
	}
	wg.Wait()
}

func serverID(n int) string { return strconv.Itoa(100000 + n) }

func scatteredID(n int) string {
	return strconv.FormatUint(uint64(n)*0x9e3779b97f4a7c15, 36) + "-" + strconv.Itoa(n)
}

// BenchmarkIngest takes alerts in durably, half of them repeats. Numbered ids are
// those of an Endpoint Response server; scattered ones, of a webhook sender.
func BenchmarkIngest(b *testing.B) {
	for _, ids := range []struct {
		name string
		id   func(int) string
	}{{"numbered", serverID}, {"scattered", scatteredID}} {
		b.Run(ids.name, func(b *testing.B) {
			s := running(b, Options{})
			b.ResetTimer()
			ingest(b, s, b.N, 8, 500, ids.id)
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "alerts/s")
			testenv.ReportMachine(b, sampleAlert(1))
		})
	}
}

// BenchmarkRuns journals runs of three steps, each in four changes.
func BenchmarkRuns(b *testing.B) {
	s := running(b, Options{})
	intent := json.RawMessage(`{"action":"host.contain","target":"4C4C4544-0051-3010-8052-C7C04F4D3732","with":{"host":"WIN-FIN-01","for":"4h"}}`)
	result := json.RawMessage(`{"state":"verified","output":{"rule":"erbridge","hosts":1},"took_ms":812}`)
	ingest(b, s, 2*b.N+1000, 2, 1000, serverID) // b.N alerts to evaluate
	var started atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range 512 {
		wg.Go(func() {
			for {
				n := started.Add(1)
				if n > int64(b.N) {
					return
				}
				now := time.Now().UTC()
				run := soar.Run{ID: soar.NewRunID(now), AlertKey: n, Alert: "er-main-" + strconv.FormatInt(n, 10), Playbook: "contain-shadow-copy-deletion",
					Version: "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef", Mode: soar.ModeEnforce, State: soar.RunRunning, StartedAt: now}
				entry := func(seq int, step string, kind soar.EntryKind, body json.RawMessage) soar.Entry {
					return soar.Entry{Run: run.ID, Seq: seq, At: now, Step: step, Kind: kind, Body: body}
				}
				done := run
				done.State, done.PC, done.EndedAt = soar.RunDone, 3, now
				for _, change := range []soar.Change{
					{
						Evaluated: []soar.Evaluation{{AlertKey: n, Verdicts: map[string]string{run.Playbook: "match"}}},
						Runs:      []soar.Run{run},
						Entries:   []soar.Entry{entry(1, "ask", soar.EntryIntent, intent)},
					},
					{Entries: []soar.Entry{entry(2, "ask", soar.EntryResult, result), entry(3, "contain", soar.EntryIntent, intent)}},
					{Entries: []soar.Entry{entry(4, "contain", soar.EntryResult, result), entry(5, "note", soar.EntryIntent, intent)}},
					{
						Runs:    []soar.Run{done},
						Entries: []soar.Entry{entry(6, "note", soar.EntryResult, result)},
						Events: []soar.Event{{ID: run.ID.String() + "/finished", Type: soar.EventRunFinished, At: now, AlertKey: n,
							Run: &soar.RunSummary{ID: run.ID, Playbook: run.Playbook, Mode: run.Mode, State: soar.RunDone}}},
					},
				} {
					if _, err := s.Commit(b.Context(), change); err != nil {
						b.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
	testenv.ReportMachine(b, sampleAlert(1))
}

// BenchmarkVerifyAudit follows the chain and compares it with the store, beside nobody.
func BenchmarkVerifyAudit(b *testing.B) {
	s := running(b, Options{})
	ingest(b, s, 20_000, 2, 500, serverID)
	fill(b, s, 500)
	b.ResetTimer()
	var records int64
	for range b.N {
		report, err := s.VerifyAudit(b.Context(), AuditCheck{})
		if err != nil {
			b.Fatal(err)
		}
		records += report.Records
	}
	b.StopTimer()
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
}
