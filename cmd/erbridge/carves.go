package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/evidence"
)

func newCarves() *cobra.Command {
	return group("carves", "look at files that were carved from hosts, and get them", newCarvesList(), newCarvesShow(), newCarvesGet())
}

// carves opens the folder of carves. It needs no daemon.
func (c *configFlag) carves() (*evidence.Store, error) {
	cfg, err := c.load()
	if err != nil {
		return nil, err
	}
	return daemon.OpenCarves(cfg, daemon.Options{Version: buildVersion()})
}

var carveColumns = []column[evidence.Item]{
	{"session", func(i evidence.Item) string { return i.Session }},
	{"state", func(i evidence.Item) string { return i.State }},
	{"carved", func(i evidence.Item) string { return stamp(i.CarvedAt) }},
	{"host", func(i evidence.Item) string { return i.Host }},
	{"path", func(i evidence.Item) string { return short(carvedPath(i), 60) }},
	{"bytes", carvedBytes},
	{"alert", func(i evidence.Item) string { return i.Alert }},
	{"remarks", func(i evidence.Item) string { return short(carveRemarks(i), 80) }},
}

// carvedPath is what was asked for, or what came.
func carvedPath(i evidence.Item) string {
	if i.Path == "" {
		return strings.Join(i.Files, ", ")
	}
	return i.Path
}

func carvedBytes(i evidence.Item) string {
	if i.SHA256 == "" {
		return ""
	}
	return fmt.Sprint(i.Bytes)
}

func carveRemarks(i evidence.Item) string {
	var words []string
	if p := i.Progress; p != nil {
		if words = append(words, p.Seen.String()); p.Refused != "" {
			words = []string{p.Refused}
		}
	}
	if i.Kind == evidence.KindUnknown || i.Broken != "" {
		words = append(words, "no whole archive: "+i.Broken)
	}
	if len(i.Recipients) > 0 {
		words = append(words, "encrypted")
	}
	return strings.Join(append(words, i.Remarks...), "; ")
}

func newCarvesList() *cobra.Command {
	var file configFlag
	var out output
	var state string
	limit := 0
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list the carves that erbridge has downloaded, is waiting for, or has deleted since",
		Long: `Reads the folder for carves; no daemon is needed. Carves on the server that erbridge
has nothing to do with are listed by "erbridge api carves-list".

The states are: under way (the host is sending it, or it is being downloaded), stalled
(its host stopped sending it), refused (too large), kept, deleted (by retention; what is
known of it stays), missing (its archive should be in the folder, and is not).`,
		Example: `  erbridge carves list
  erbridge carves list --state "under way"
  erbridge carves list -o json --jq 'map(.bytes) | add'`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if state != "" && !slices.Contains(carveStates, state) {
				return usagef("--state %q: expected one of %s", state, strings.Join(carveStates, ", "))
			}
			carves, err := file.carves()
			if err != nil {
				return err
			}
			items, problems := carves.List()
			chosen := items[:0]
			for _, item := range items {
				if (state == "" || item.State == state) && len(chosen) < limit {
					chosen = append(chosen, item)
				}
			}
			if err := printList(cmd.Context(), cmd, &out, chosen, carveColumns); err != nil {
				return err
			}
			return problems // the others were listed all the same
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	limitFlag(cmd, &limit)
	cmd.Flags().StringVar(&state, "state", "", "only those in this state: "+strings.Join(carveStates, ", "))
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(carveStates, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

var carveStates = []string{
	evidence.StateUnderWay, evidence.StateStalled, evidence.StateRefused, evidence.StateKept, evidence.StateDeleted, evidence.StateMissing,
}
