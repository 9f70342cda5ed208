package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/jq"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/playtest"
	"github.com/erbridge/erbridge/sinks"
)

func newFormat() *cobra.Command {
	return group("format", "see what sinks make of events, and try templates of your own", newFormatList(), newFormatPreview())
}

func newFormatList() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list the formats that sinks can send",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return printList(cmd.Context(), cmd, &out, sinks.Formats(), []column[sinks.FormatInfo]{
				{"format", func(f sinks.FormatInfo) string { return f.Name }},
				{"what it is", func(f sinks.FormatInfo) string { return f.About }},
			})
		},
	}
	out.flags(cmd)
	return cmd
}

// formatPreview are the flags of format preview.
type formatPreview struct {
	file                 configFlag
	alert, path, event   string
	format, template, to string
}

func newFormatPreview() *cobra.Command {
	var p formatPreview
	cmd := &cobra.Command{
		Use:   "preview --alert ALERT|--file FILE --format NAME|--template JQ|--sink SINK",
		Short: "print an event exactly as a sink would send it",
		Long: `preview prints one line: an alert of the store, or of a file, in a format, through a
template, or as a sink of the configuration would send it. Nothing is delivered, and no
secret is read. The store is read beside a running daemon; with --file and without
--sink not even a configuration is needed.

--event asks for another event about the alert than its arrival. What the alert does not
tell is made up then: the run, the outcome, the question to people. A FILE that holds a
whole event (it has a type), such as the payload of a dead letter, is taken as it is.

The exit code is 1 when the event has no form in the format: it would become a dead
letter.`,
		Example: `  erbridge format preview --alert er-4711 --format ocsf
  erbridge format preview --alert er-4711 --event step.finished --sink qradar
  erbridge format preview --file alert.json --template '"\(.alert.severity) \(.alert.host.name)"'`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.run(cmd) },
	}
	p.file.flags(cmd)
	cmd.Flags().StringVar(&p.alert, "alert", "", "an alert of the store, such as er-4711")
	cmd.Flags().StringVar(&p.path, "file", "", "an alert or an event as JSON, or - for standard input")
	cmd.Flags().StringVar(&p.event, "event", "", "the type of the event about the alert (default alert.received)")
	cmd.Flags().StringVar(&p.format, "format", "", "a format of erbridge format list")
	cmd.Flags().StringVar(&p.template, "template", "", "a jq program, as the setting template takes it")
	cmd.Flags().StringVar(&p.to, "sink", "", "a sink of the configuration")
	_ = cmd.RegisterFlagCompletionFunc("event", completeEvents)
	_ = cmd.RegisterFlagCompletionFunc("format", completeFormats)
	_ = cmd.RegisterFlagCompletionFunc("sink", completeSinkFlag)
	return cmd
}

func (p *formatPreview) run(cmd *cobra.Command) error {
	if err := p.check(); err != nil {
		return err
	}
	var sink *sinks.Config
	if p.to != "" {
		cfg, err := p.file.load()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(cfg.Sinks, func(s sinks.Config) bool { return s.Name == p.to })
		if i < 0 {
			return fmt.Errorf("sink %q: %w in %s", p.to, soar.ErrNotFound, p.file.path)
		}
		sink = &cfg.Sinks[i]
	}
	ev, err := p.read(cmd)
	if err != nil {
		return err
	}
	line, err := p.make(sink, &ev)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", line)
	return err
}

func (p *formatPreview) check() error {
	if (p.alert == "") == (p.path == "") {
		return usagef("name an alert of the store with --alert, or a file with --file")
	}
	var named []string
	for flag, value := range map[string]string{"--format": p.format, "--template": p.template, "--sink": p.to} {
		if value != "" {
			named = append(named, flag)
		}
	}
	switch slices.Sort(named); {
	case len(named) == 0:
		return usagef("say what to make of it: --format NAME, --template JQ or --sink SINK; erbridge format list shows the formats")
	case len(named) > 1:
		return usagef("%s exclude each other", strings.Join(named, " and "))
	}
	if p.event != "" && !slices.Contains(eventTypes(), p.event) {
		return usagef("--event %q: expected %s", p.event, strings.Join(eventTypes(), ", "))
	}
	var names []string
	for _, f := range sinks.Formats() {
		names = append(names, f.Name)
	}
	switch {
	case p.format == "template":
		return usagef("--format template: name the program with --template")
	case p.format != "" && !slices.Contains(names, p.format):
		return usagef("--format %q: expected %s", p.format, strings.Join(names[:len(names)-1], ", "))
	}
	return nil
}

// read is the event to show.
func (p *formatPreview) read(cmd *cobra.Command) (soar.Event, error) {
	kind := soar.EventType(p.event)
	if kind == "" {
		kind = soar.EventAlertReceived
	}
	if p.path == "" {
		stored, err := routedAlert(cmd, &p.file, p.alert, "")
		return sinks.SampleEvent(kind, stored), err
	}
	data, err := readBounded(cmd.InOrStdin(), p.path)
	if err != nil {
		return soar.Event{}, err
	}
	var ev soar.Event
	if json.Unmarshal(data, &ev) == nil && ev.ID != "" && slices.Contains(eventTypes(), string(ev.Type)) {
		if p.event != "" {
			return ev, usagef("--event is for alerts; %s holds an event of type %s", p.path, ev.Type)
		}
		return ev, nil
	}
	alert, _, err := playtest.ReadAlert(data)
	if err != nil {
		return soar.Event{}, usagef("%s: not an alert: %v", inputName(p.path), err)
	}
	return sinks.SampleEvent(kind, alert), nil
}

// readBounded reads a file, or standard input for -.
func readBounded(stdin io.Reader, path string) ([]byte, error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, notFound(err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxDataBytes))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

func (p *formatPreview) make(sink *sinks.Config, ev *soar.Event) ([]byte, error) {
	name := p.format
	switch {
	case sink != nil:
		return sink.Preview(ev, buildVersion())
	case p.template != "":
		name = "template"
	}
	line, err := sinks.Preview(name, p.template, ev, buildVersion())
	if bad, ok := errors.AsType[*jq.SyntaxError](err); ok {
		at := ""
		if bad.Offset > 0 {
			at = fmt.Sprintf("at character %d: ", bad.Offset+1)
		}
		if bad.Hint != "" {
			return nil, usagef("--template: %s%s (%s)", at, bad.Msg, bad.Hint)
		}
		return nil, usagef("--template: %s%s", at, bad.Msg)
	}
	return line, err
}
