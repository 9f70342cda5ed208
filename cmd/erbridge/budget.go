package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

func newBudget() *cobra.Command {
	return group("budget", "see on how many hosts playbooks may still act, and let them go on when a budget has latched", newBudgetShow(), newBudgetRearm())
}

var budgetColumns = []column[guard.BudgetStatus]{
	{"budget", func(b guard.BudgetStatus) string { return b.Name }},
	{"for", func(b guard.BudgetStatus) string { return b.For }},
	{"hosts", func(b guard.BudgetStatus) string { return fmt.Sprintf("%d of %d", b.Used, b.Limit) }},
	{"window", func(b guard.BudgetStatus) string { return b.Window }},
	{"state", budgetState},
	{"since", func(b guard.BudgetStatus) string {
		if b.Latched == nil {
			return ""
		}
		return stamp(b.Latched.At)
	}},
	{"by", func(b guard.BudgetStatus) string {
		if b.Latched == nil || b.Latched.Action == "" {
			return ""
		}
		return fmt.Sprintf("%s of run %s", b.Latched.Action, b.Latched.Run)
	}},
}

func budgetState(b guard.BudgetStatus) string {
	switch {
	case b.Latched != nil:
		return "latched"
	case b.Used >= b.Limit:
		return "full"
	}
	return "ok"
}

func newBudgetShow() *cobra.Command {
	var file configFlag
	var out output
	cmd := &cobra.Command{
		Use:   "show [BUDGET]",
		Short: "show how many hosts count for each budget, and which have latched; of one budget, everything",
		Args:  args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := out.check(); err != nil {
				return err
			}
			var list []guard.BudgetStatus
			err := file.control(cmd.Context(), func(c daemon.Control) (err error) {
				list, err = c.Budgets(cmd.Context())
				return err
			})
			if err != nil || len(given) == 0 {
				if err != nil {
					return err
				}
				return printList(cmd.Context(), cmd, &out, list, budgetColumns)
			}
			list = slices.DeleteFunc(list, func(b guard.BudgetStatus) bool { return b.Name != given[0] })
			if len(list) == 0 {
				return fmt.Errorf("budget %q: %w", given[0], soar.ErrNotFound)
			}
			return printItem(cmd.Context(), cmd, &out, list, showBudget)
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	return cmd
}

func showBudget(w io.Writer, list []guard.BudgetStatus) error {
	for i, b := range list {
		if i > 0 {
			fmt.Fprintln(w)
		}
		share, free, latched, rearmed := "", "", "", ""
		if b.Share != "" {
			share = fmt.Sprintf("%s of %d", b.Share, b.Fleet)
			if b.Fleet == 0 {
				share = b.Share + ", and nobody knows yet of how many"
			}
		}
		if b.Used >= b.Limit {
			free = stamp(b.Free)
		}
		if l := b.Latched; l != nil {
			latched = stamp(l.At) + ": " + l.Words
		}
		if r := b.Rearmed; r != nil {
			rearmed = fmt.Sprintf("%s by %s: %s", stamp(r.At), r.By, r.Reason)
		}
		err := printFields(w, []field{
			{"budget", b.Name},
			{"for", b.For},
			{"about", b.About},
			{"state", budgetState(b)},
			{"hosts", fmt.Sprintf("%d of %d within %s", b.Used, b.Limit, b.Window)},
			{"share", share},
			{"which", strings.Join(b.Hosts, ", ")},
			{"room again", free},
			{"latched", latched},
			{"last re-armed", rearmed},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func newBudgetRearm() *cobra.Command {
	var file configFlag
	var r daemon.Rearming
	cmd := &cobra.Command{
		Use:   "rearm BUDGET --reason TEXT",
		Short: "let calls go out again that a latched budget refuses, and count anew",
		Long: `A budget latches when playbooks would act on more hosts than it allows, and refuses
everything it is about from then on. Look at what they did first: erbridge budget
show BUDGET tells which call it was, erbridge runs show the run it belonged to. Then
re-arm the budget, under your name and with your reason; both are kept. Steps that
were refused stay refused.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			r.Budget = given[0]
			if strings.TrimSpace(r.Reason) == "" {
				return usagef("--reason is needed: how you know that it was right")
			}
			var err error
			if r.By, err = whoSays(r.By); err != nil {
				return err
			}
			err = file.control(cmd.Context(), func(c daemon.Control) error { return c.RearmBudget(cmd.Context(), r) })
			if err != nil {
				return fmt.Errorf("rearm: %w", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "re-armed: budget %s counts anew\n", clean(r.Budget))
			return err
		},
	}
	file.flags(cmd)
	cmd.Flags().StringVar(&r.Reason, "reason", "", "why they may go on")
	byFlag(cmd, &r.By)
	return cmd
}
