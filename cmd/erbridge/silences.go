package main

import (
	"cmp"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/sinks"
)

func newSilences() *cobra.Command {
	return group("silences", "keep alerts out of a sink for a while, see what is kept out, and end it", newSilencesList(), newSilencesAdd(), newSilencesEnd())
}

var silenceColumns = []column[sinks.Silence]{
	{"silence", func(s sinks.Silence) string { return s.ID }},
	{"sink", func(s sinks.Silence) string { return cmp.Or(s.Sink, "all") }},
	{"rule", func(s sinks.Silence) string { return s.Rule }},
	{"host", func(s sinks.Silence) string { return cmp.Or(s.Host, "all") }},
	{"until", func(s sinks.Silence) string { return stamp(s.Until) }},
	{"by", func(s sinks.Silence) string { return s.By }},
	{"reason", func(s sinks.Silence) string { return s.Reason }},
}

func newSilencesList() *cobra.Command {
	var file configFlag
	var out output
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list the silences that hold now, the one that ends first on top",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			var list []sinks.Silence
			err := file.control(cmd.Context(), func(c daemon.Control) (err error) {
				list, err = c.Silences(cmd.Context())
				return err
			})
			if err != nil {
				return err
			}
			return printList(cmd.Context(), cmd, &out, list, silenceColumns)
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	return cmd
}

func newSilencesAdd() *cobra.Command {
	var file configFlag
	var out output
	var o daemon.SilenceOrder
	var keep string
	cmd := &cobra.Command{
		Use:   "add {--alert REF | --rule NAME} --for TIME",
		Short: "keep alerts like one, or of one rule, out of a sink for a while",
		Long: `add keeps events about some alerts out of a sink, or out of all, for a while. They
come in, are stored, and playbooks act on them as ever. Questions to people, what is
about to be taken back, and troubles are delivered all the same. When it ends, the sink
is told in one line how many alerts there were.

The same sink, rule and host again make the silence last longer, and never shorter; end
it for that. Who began and ended it is in the audit record.`,
		Example: `  erbridge silences add --alert er-4711 --for 4h --reason "a test of the blue team"
  erbridge silences add --rule "Suspicious PowerShell" --host PC-12 --sink soc-slack --for 1d`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := out.check(); err != nil {
				return err
			}
			switch {
			case (o.Alert == "") == (o.Silence.Rule == ""):
				return usagef("which alerts? one of --alert and --rule is needed")
			case o.Alert != "" && o.Silence.Host != "":
				return usagef("--host goes with --rule; --alert has a host, and --anywhere means every one")
			case o.Alert == "" && o.Anywhere:
				return usagef("--anywhere goes with --alert; --rule alone means every host")
			case keep == "":
				return usagef("--for is needed: how long, such as 4h or 7d")
			}
			span, err := registry.ParseDuration(keep)
			if err != nil || span <= 0 {
				return usagef("--for %q: expected a time such as 30m, 4h or 7d", keep)
			}
			if o.Silence.By, err = whoSays(o.Silence.By); err != nil {
				return err
			}
			o.Silence.Until = time.Now().Add(span)
			var kept sinks.Silence
			err = file.control(cmd.Context(), func(c daemon.Control) (err error) {
				kept, err = c.AddSilence(cmd.Context(), o)
				return err
			})
			if err != nil {
				return err
			}
			return printItem(cmd.Context(), cmd, &out, kept, func(w io.Writer, s sinks.Silence) error {
				_, err := fmt.Fprintf(w, "silenced until %s: %s\nend it with: erbridge silences end %s\n", stamp(s.Until), clean(s.String()), s.ID)
				return err
			})
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	cmd.Flags().StringVar(&o.Alert, "alert", "", "alerts like this one: of its rule, on its host")
	cmd.Flags().BoolVar(&o.Anywhere, "anywhere", false, "with --alert: on every host")
	cmd.Flags().StringVar(&o.Silence.Rule, "rule", "", `alerts of this rule, or of a source without rules as their title has it: "ioc match"`)
	cmd.Flags().StringVar(&o.Silence.Host, "host", "", "with --rule: on this host only")
	cmd.Flags().StringVar(&o.Silence.Sink, "sink", "", "keep them out of this sink only")
	_ = cmd.RegisterFlagCompletionFunc("sink", completeSinkFlag)
	cmd.Flags().StringVar(&keep, "for", "", "how long, such as 30m, 4h or 7d; at most 90d")
	cmd.Flags().StringVar(&o.Silence.Reason, "reason", "", "why, for whoever misses them")
	byFlag(cmd, &o.Silence.By)
	return cmd
}

func newSilencesEnd() *cobra.Command {
	var file configFlag
	var e daemon.SilenceEnd
	cmd := &cobra.Command{
		Use:   "end SILENCE",
		Short: "end a silence before its time",
		Example: `  erbridge silences list
  erbridge silences end 9a1f3c20be --reason "the test is over"`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			e.ID = given[0]
			if e.By, err = whoSays(e.By); err != nil {
				return err
			}
			var ended sinks.Silence
			err = file.control(cmd.Context(), func(c daemon.Control) (err error) {
				ended, err = c.EndSilence(cmd.Context(), e)
				return err
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "ended: %s\n", clean(ended.String()))
			return err
		},
	}
	file.flags(cmd)
	cmd.Flags().StringVar(&e.Reason, "reason", "", "why")
	byFlag(cmd, &e.By)
	return cmd
}
