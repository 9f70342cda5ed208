package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/soar"
)

// working runs a daemon on a simulated server.
func working(t *testing.T, o ersim.Options, more string) (sim *ersim.Server, file string, d *daemon.Daemon) {
	t.Helper()
	sim, file = simulated(t, o)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Dir(file), "erbridge.yaml", string(text)+"console: {listen: \"\"}\nplaybooks: {mode: enforce}\n"+more)
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if d, err = daemon.New(cfg, daemon.Options{}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("daemon: %v", err)
		}
	})
	select {
	case <-d.Ready():
	case err := <-ended:
		ended <- err
		t.Fatalf("the daemon ended: %v", err)
	}
	return sim, file, d
}

// awaitRuns waits until so many runs have ended.
func awaitRuns(t *testing.T, d *daemon.Daemon, n int) {
	t.Helper()
	for after := int64(0); n > 0; {
		changed := d.Store().Changed(soar.SignalFeed)
		events, err := d.Store().Feed(t.Context(), after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range events {
			if after = ev.Pos; ev.Type == soar.EventRunFinished {
				n--
			}
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatal(context.Cause(t.Context()))
		}
	}
}

func TestJobs(t *testing.T) {
	sim, file, d := working(t, ersim.Options{Hosts: 60}, "")
	run := func(code int, stdin string, line ...string) (stdout, stderr string) {
		t.Helper()
		stdout, stderr, got := erbridge(t, stdin, append([]string{"jobs"}, append(line, "-c", file)...)...)
		if got != code {
			t.Fatalf("erbridge jobs %s: exit code %d, want %d\n%s%s", strings.Join(line, " "), got, code, stdout, stderr)
		}
		return stdout, stderr
	}
	hosts := write(t, t.TempDir(), "hosts.txt", "# the web servers\nweb-01\n  WEB-02 # the old one\n\n"+sim.Hosts()[0].Identifier+"\n")
	tag := []string{"start", "host.tag", "--with", "tag=seen", "--hosts-file", hosts, "--reason", "to see", "--by", "ann"}

	// Looking changes nothing, and neither does a no.
	stdout, stderr := run(exitOK, "", append(tag, "--dry-run")...)
	if strings.Count(stdout, "would be sent") != 3 || !strings.Contains(stderr, "host.tag on 3 hosts: 3 sent; nothing was sent") {
		t.Errorf("dry run:\n%s%s", stdout, stderr)
	}
	if _, stderr := run(exitFailed, "n\n", tag...); !strings.Contains(stderr, "host.tag on 3 hosts") || !strings.Contains(stderr, "nothing was started") {
		t.Errorf("asked:\n%s", stderr)
	}
	for _, h := range sim.Hosts() {
		for _, tag := range h.Tags {
			if tag == "seen" {
				t.Fatalf("%s was tagged", h.Name)
			}
		}
	}
	if stdout, stderr := run(exitOK, "", "list"); stdout != "" || !strings.Contains(stderr, "nothing to list") {
		t.Errorf("list:\n%s%s", stdout, stderr)
	}

	stdout, _ = run(exitOK, "y\n", tag...)
	id := strings.Fields(stdout)[1]
	if !strings.Contains(stdout, "host.tag on 3 hosts, 20 at the same time; erbridge jobs show "+id) {
		t.Errorf("start:\n%s", stdout)
	}
	awaitRuns(t, d, 1)
	stdout, _ = run(exitOK, "", "show", id)
	for _, want := range []string{"state         done", "hosts         3: 3 verified", "by ann", "WEB-01 (", "WEB-02 ("} {
		if !strings.Contains(stdout, want) {
			t.Errorf("show lacks %q:\n%s", want, stdout)
		}
	}

	// A query of two parts, whose rows can be had in every form.
	stdout, _ = run(exitOK, "", "start", "live.query", "--all", "--with", "sql=select name, pid, '=1+1' as trick from processes", "--max-parallel", "7", "--reason", "to see", "--by", "ann", "-o", "json")
	var job struct {
		Job  string   `json:"job"`
		Runs []string `json:"runs"`
	}
	if err := json.Unmarshal([]byte(stdout), &job); err != nil || len(job.Runs) != 2 {
		t.Fatalf("start: %v\n%s", err, stdout)
	}
	awaitRuns(t, d, 3)
	var shown jobWithLines
	stdout, _ = run(exitOK, "", "show", job.Job, "-o", "json")
	if err := json.Unmarshal([]byte(stdout), &shown); err != nil || len(shown.Lines) != 60 || shown.Counts["executed"] != 60 || shown.State != "done" || shown.Lines[0].Output == nil {
		t.Errorf("show: %v, %d lines, %v, %s", err, len(shown.Lines), shown.Counts, shown.State)
	}
	if _, stderr := run(exitUsage, "", "show", job.Job, "--state", "done"); !strings.Contains(stderr, "expected one of planned, held, sent") {
		t.Errorf("a state that there is none of:\n%s", stderr)
	}
	if stdout, _ := run(exitOK, "", "show", job.Job, "--state", "failed", "-o", "jsonl"); stdout != "" {
		t.Errorf("failed hosts:\n%s", stdout)
	}
	stdout, _ = run(exitOK, "", "show", job.Job, "--rows", "--csv")
	table, err := csv.NewReader(strings.NewReader(stdout)).ReadAll()
	if err != nil || len(table) < 61 || strings.Join(table[0], " ") != "job_host_name job_host name pid trick" || table[1][0] == "" || table[1][4] != "'=1+1" {
		t.Errorf("rows as CSV: %v\n%s", err, short(stdout, 400))
	}
	if stdout, _ := run(exitOK, "", "show", job.Job, "--rows", "-o", "jsonl"); strings.Count(stdout, "\n") != len(table)-1 {
		t.Errorf("%d rows as JSON, %d as CSV", strings.Count(stdout, "\n"), len(table)-1)
	}
	stdout, _ = run(exitOK, "", "show", job.Job, "--csv")
	if table, err := csv.NewReader(strings.NewReader(stdout)).ReadAll(); err != nil || len(table) != 61 {
		t.Errorf("lines as CSV: %v, %d", err, len(table))
	}
	if stdout, _ = run(exitOK, "", "list"); strings.Count(stdout, "\n") != 3 || strings.Index(stdout, "live.query") > strings.Index(stdout, "host.tag") {
		t.Errorf("list:\n%s", stdout)
	}
	if _, stderr := run(exitFailed, "", "cancel", job.Job, "--reason", "late", "--by", "ann"); !strings.Contains(stderr, "all of its runs have ended") {
		t.Errorf("cancel:\n%s", stderr)
	}

	// Hosts that wait are called off.
	sim.SetOnline("WIN-FIN-01", false)
	stdout, _ = run(exitOK, "", "start", "host.contain", "--host", "WIN-FIN-01", "--reason", "to see", "--by", "ann", "--yes", "-o", "json")
	if err := json.Unmarshal([]byte(stdout), &job); err != nil {
		t.Fatal(err)
	}
	if stdout, _ := run(exitOK, "", "cancel", job.Job, "--reason", "wrong host", "--by", "ben"); !strings.Contains(stdout, "cancelled: job "+job.Job+" (1 of its runs)") {
		t.Errorf("cancel:\n%s", stdout)
	}
	if stdout, _ := run(exitOK, "", "show", job.Job); !strings.Contains(stdout, "cancelled by "+daemon.SignedHere("ben")+": wrong host") {
		t.Errorf("called off:\n%s", stdout)
	}

	for _, tt := range []struct {
		line []string
		code int
		want string
	}{
		{[]string{"start", "host.tag", "--host", "web-01"}, exitUsage, "--reason is needed"},
		{[]string{"start", "host.tag", "--with", "tag=x", "--host", "web-99", "--reason", "x", "--yes", "--by", "a"}, exitNotFound, `no host "web-99"`},
		{[]string{"start", "host.tag", "--with", "tag=x", "--reason", "x", "--by", "a"}, exitUsage, "names no hosts"},
		{[]string{"start", "host.tag", "--with", "tag=x", "--all", "--tag", "y", "--reason", "x", "--by", "a"}, exitUsage, "in one way"},
		{[]string{"start", "host.tag", "--with", "tag", "--all", "--reason", "x", "--by", "a"}, exitUsage, "expected name=value"},
		{[]string{"start", "script.run", "--with-file", "content=/nosuch", "--all", "--reason", "x", "--by", "a"}, exitUsage, "/nosuch"},
		{[]string{"start", "host.tag", "--hosts-file", "/nosuch", "--reason", "x", "--by", "a"}, exitUsage, "/nosuch"},
		{[]string{"start", "host.tag", "--hosts-file", "-", "--reason", "x", "--by", "a"}, exitUsage, "there is no host in it"},
		{[]string{"show", "x"}, exitUsage, "expected 13 characters"},
		{[]string{"cancel", "0cn3fpqka0002"}, exitUsage, "--reason is needed"},
	} {
		if stdout, stderr := run(tt.code, "", tt.line...); !strings.Contains(stderr, tt.want) {
			t.Errorf("erbridge jobs %s:\n%s%s", strings.Join(tt.line, " "), stdout, stderr)
		}
	}
}
