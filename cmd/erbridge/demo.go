package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/sinks/sinksim"
)

// demo is one performance: the real daemon against simulated neighbours.
type demo struct {
	headless bool
	length   time.Duration
	summary  string
	seed     uint64

	began time.Time
	dir   string // configuration, secrets and store; removed at the end
	story io.Writer

	sim    *ersim.Server
	chat   *sinksim.Slack
	shown  string // the newest message of the chat that was printed; used by play
	syslog *sinksim.Syslog
}

func newDemo() *cobra.Command {
	d := &demo{}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "see erbridge at work: a simulated server, playbooks that act, a chat; no account, no network",
		Long: `demo runs the real daemon in one process with a simulated Endpoint Response
server, a simulated Slack workspace and a syslog receiver. Attacks are played one
after the other; the playbooks of the library answer them, and the story of each
alert is printed as it happens.

It listens on loopback only, needs no account, and leaves nothing behind. It ends
with Ctrl-C, or after --for.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.began = time.Now()
			switch {
			case d.summary != "text" && d.summary != "json":
				return usagef("--summary %q: expected text or json", d.summary)
			case d.length < 0:
				return usagef("--for %v: expected a length of time such as 20s", d.length)
			case d.headless && d.length == 0:
				return usagef("--headless needs --for, such as --for 20s")
			}
			return d.run(cmd)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&d.headless, "headless", false, "print no story, only the summary at the end; needs --for")
	f.DurationVar(&d.length, "for", 0, "end by itself after this time; 0 runs until Ctrl-C")
	f.StringVar(&d.summary, "summary", "text", "the summary at the end: text, or json as the only thing on standard output")
	f.Uint64Var(&d.seed, "seed", 1, "decides names, times and details of the attacks")
	return cmd
}

func (d *demo) run(cmd *cobra.Command) (err error) {
	if d.dir, err = os.MkdirTemp("", "erbridge-demo-"); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
	out := cmd.OutOrStdout()
	d.story = out
	if d.headless || d.summary == "json" {
		d.story = io.Discard
	}

	// Neighbours stop after the daemon: what it still has to say finds them.
	around, leave := context.WithCancel(context.WithoutCancel(cmd.Context()))
	neighbours, err := d.startNeighbours(around)
	defer func() {
		leave()
		err = errors.Join(err, neighbours.wait())
	}()
	if err != nil {
		return err
	}
	cfg, err := d.configure()
	if err != nil {
		return err
	}
	bridge, err := daemon.New(cfg, daemon.Options{
		Version: buildVersion(), Log: slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return err
	}
	d.explain()

	ctx, end := cmd.Context(), context.CancelFunc(func() {})
	if d.length > 0 {
		ctx, end = context.WithDeadline(ctx, d.began.Add(d.length))
	}
	defer end()
	ctx, stop := context.WithCancelCause(ctx)
	played := make(chan struct{})
	go func() {
		defer close(played)
		if err := d.play(ctx, bridge); err != nil {
			stop(err)
		}
	}()
	err = bridge.Run(ctx)
	cause := context.Cause(ctx)
	stop(nil)
	<-played
	if err != nil {
		return err
	}
	if !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	figures, err := d.measure(context.WithoutCancel(cmd.Context()), bridge)
	if err != nil {
		return err
	}
	if d.summary == "json" {
		return printJSON(out, figures, "  ")
	}
	return d.conclude(out, figures)
}

// neighbours are the simulated receivers and the simulated server.
type neighbours struct{ ended []func() error }

func (n *neighbours) wait() error {
	var problems []error
	for _, wait := range n.ended {
		problems = append(problems, wait())
	}
	return errors.Join(problems...)
}

func (d *demo) startNeighbours(ctx context.Context) (*neighbours, error) {
	n := &neighbours{}
	var err error
	if d.sim, err = ersim.New(ersim.Options{Seed: d.seed}); err != nil {
		return n, err
	}
	if err := d.sim.Start(); err != nil {
		return n, err
	}
	simEnded := make(chan error, 1) // the one result of Run
	go func() { simEnded <- d.sim.Run(ctx) }()
	n.ended = append(n.ended, func() error { return <-simEnded })

	d.syslog = sinksim.NewSyslog(sinksim.SyslogOptions{})
	if err := d.syslog.Start(ctx); err != nil {
		return n, fmt.Errorf("demo: syslog receiver: %w", err)
	}
	n.ended = append(n.ended, func() error { d.syslog.Stop(false); return nil })

	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return n, fmt.Errorf("demo: simulated chat: %w", err)
	}
	d.chat = sinksim.NewSlack(sinksim.SlackOptions{URL: "http://" + l.Addr().String()})
	server := &http.Server{Handler: d.chat, ReadHeaderTimeout: 5 * time.Second}
	chatEnded := make(chan error, 1) // the one result of Serve
	go func() { chatEnded <- server.Serve(l) }()
	n.ended = append(n.ended, func() error {
		d.chat.Cut() // what was taken over is not the server's to close
		err := server.Close()
		if served := <-chatEnded; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	})
	return n, d.writeFiles(l.Addr().String())
}

// demoConfig is a complete configuration, as a user would write it.
var demoConfig = template.Must(template.New("demo").Parse(`# The demo's configuration: what erbridge run would read.
server:
  url: {{.Server}}
  username: admin
  password: {file: er-password}
  ca_file: er-ca.pem
sources:
  poll: {interval: 2s}
  push: {listen: "127.0.0.1:0"}
playbooks: {library: [all], mode: enforce}
sinks:
  soc-slack: {type: slack, token: {file: slack-token}, app_token: {file: slack-app-token}, channel: "#soc", api_url: "http://{{.Slack}}/api/", interval: 10ms}
  siem: {type: syslog, address: "{{.Syslog}}", transport: tcp, payload: json}
{{- if .Screen}}
  screen: {type: stdout, format: text}
{{- end}}
people: {ann: {slack: U0ANN}}
console: {listen: "127.0.0.1:0"}
store: {path: store}
limits: {shutdown: 10s}
`))

func (d *demo) configFile() string { return filepath.Join(d.dir, "erbridge.yaml") }

func (d *demo) writeFiles(slackAddress string) error {
	var text strings.Builder
	err := demoConfig.Execute(&text, map[string]any{
		"Server": d.sim.URL(), "Slack": slackAddress, "Syslog": d.syslog.Address(), "Screen": d.story != io.Discard,
	})
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"erbridge.yaml":   []byte(text.String()),
		"er-ca.pem":       d.sim.CAPEM(),
		"er-password":     []byte("admin\n"),
		"slack-token":     []byte("xoxb-demo\n"),
		"slack-app-token": []byte("xapp-demo\n"),
	} {
		if err := os.WriteFile(filepath.Join(d.dir, name), data, 0o600); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
	}
	return nil
}

func (d *demo) configure() (*config.Config, error) { return config.Load(d.configFile()) }

// play waits until the first poll has gone well, because what is there before is
// history on which nobody acts, and then plays the scenarios in turn.
func (d *demo) play(ctx context.Context, bridge *daemon.Daemon) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !bridge.Readiness(ctx).Ready {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
	if push := bridge.SourceAddress("push"); push != nil {
		d.sim.SetPushAddress(push.String())
	}
	pause := 6 * time.Second
	if d.headless {
		pause = time.Second
	}
	for {
		for _, name := range d.sim.Scenarios() {
			summary, _ := d.sim.DescribeScenario(name)
			fmt.Fprintf(d.story, "\n--- %s: %s\n", name, summary)
			if err := d.sim.Play(ctx, name); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("demo: scenario %s: %w", name, err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
			d.showChat()
		}
	}
}

// showChat prints the messages of the chat that are new since it was called last, as
// they look by now: an alert has one, which was edited while things went on.
func (d *demo) showChat() {
	for _, m := range d.chat.Messages() {
		if m.ThreadTS != "" || m.TS <= d.shown {
			continue
		}
		d.shown = m.TS
		fmt.Fprintf(d.story, "\nin the chat, #soc:\n%s", d.chat.Render(m))
	}
}

func (d *demo) explain() {
	fmt.Fprintf(d.story, `This is erbridge at work, on this machine only. Around the real daemon there are
a simulated Endpoint Response server with %d hosts (%s),
a simulated Slack workspace and a syslog receiver. The playbooks are those of
playbooks/library, in enforce mode: they act.

Each line below is an event, in the order in which sinks get them: an alert, what
a playbook did about it, and how its run ended. "executed" and "verified" mean that
the host reported it, and that a second look confirmed it. After each attack you see
the chat as it looks by then: one message for each alert, edited all along.

From another terminal, while this runs:
    erbridge runs list -c %s

Ctrl-C ends the demo.
`, len(d.sim.Hosts()), d.sim.URL(), d.configFile())
}
