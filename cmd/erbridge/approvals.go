package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

func newApprovals() *cobra.Command {
	return group("approvals", "see what playbooks ask people, and answer",
		newApprovalsList(), newApprovalsShow(), newApprovalsDecide(true), newApprovalsDecide(false))
}

var approvalColumns = []column[soar.Approval]{
	{"approval", func(a soar.Approval) string { return a.ID }},
	{"asked", func(a soar.Approval) string { return stamp(a.AskedAt) }},
	{"state", func(a soar.Approval) string { return string(a.State) }},
	{"until", func(a soar.Approval) string { return stamp(a.Expires) }},
	{"agreed", func(a soar.Approval) string { return fmt.Sprintf("%d of %d", a.Agreed(), a.Count) }},
	{"from", func(a soar.Approval) string { return strings.Join(a.From, ", ") }},
	{"question", func(a soar.Approval) string { return short(a.Text, 80) }},
}

var approvalStates = []soar.ApprovalState{
	soar.ApprovalWaiting, soar.ApprovalApproved, soar.ApprovalDenied, soar.ApprovalExpired, soar.ApprovalVoid,
}

// approvals reads what people were asked, as it is now.
func (c *configFlag) approvals(ctx context.Context) (list []soar.Approval, err error) {
	r, err := c.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return guard.ReadApprovals(func(prefix string) ([]soar.KV, error) { return r.KV(ctx, prefix) }, time.Now().UTC())
}

func newApprovalsList() *cobra.Command {
	var file configFlag
	var out output
	var state string
	var all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list what waits for an answer, the oldest first",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if state != "" && !slices.Contains(approvalStates, soar.ApprovalState(state)) {
				return usagef("--state %q: expected one of %v", state, approvalStates)
			}
			if state != "" && all {
				return usagef("say either --state or --all")
			}
			if state == "" && !all {
				state = string(soar.ApprovalWaiting)
			}
			list, err := file.approvals(cmd.Context())
			if err != nil {
				return err
			}
			list = slices.DeleteFunc(list, func(a soar.Approval) bool { return !all && string(a.State) != state })
			return printList(cmd.Context(), cmd, &out, list, approvalColumns)
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	cmd.Flags().StringVar(&state, "state", "", "only in this state: waiting, approved, denied, expired or void; waiting by default")
	cmd.Flags().BoolVar(&all, "all", false, "in any state, for 30 days after they were decided")
	return cmd
}

func newApprovalsShow() *cobra.Command {
	var file configFlag
	var out output
	cmd := &cobra.Command{
		Use:   "show APPROVAL",
		Short: "show one question: the exact call, who may decide, and what they said",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := out.check(); err != nil {
				return err
			}
			list, err := file.approvals(cmd.Context())
			if err != nil {
				return err
			}
			i := slices.IndexFunc(list, func(a soar.Approval) bool { return a.ID == given[0] })
			if i < 0 {
				return fmt.Errorf("approval %q: %w", given[0], soar.ErrNotFound)
			}
			return printItem(cmd.Context(), cmd, &out, list[i], showApproval)
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	return cmd
}

func showApproval(w io.Writer, a soar.Approval) error {
	silence := "denies it"
	if a.Silence {
		silence = "is an agreement"
	}
	who := "everybody who can run the commands of erbridge"
	if len(a.From) > 0 {
		who = strings.Join(a.From, ", ")
	}
	if a.NotRequester {
		who += "; not whoever started the run"
	}
	call := ""
	if a.Action != "" {
		call = a.Action + " " + arguments(a.With, 0)
	}
	err := printFields(w, []field{
		{"approval", a.ID},
		{"state", string(a.State)},
		{"question", a.Text},
		{"call", call},
		{"hosts", strings.Join(a.Hosts, ", ")},
		{"playbook", a.Playbook},
		{"run", a.Run.String()},
		{"step", a.Step},
		{"alert", a.Alert},
		{"started by", a.Requester},
		{"asked", stamp(a.AskedAt)},
		{"until", stamp(a.Expires) + ", silence " + silence},
		{"who", who},
		{"agreed", fmt.Sprintf("%d of %d", a.Agreed(), a.Count)},
		{"decided", stamp(a.DecidedAt)},
		{"why", a.Why},
	})
	if err != nil || len(a.Votes) == 0 {
		return err
	}
	fmt.Fprintln(w)
	return printTable(w, a.Votes, []column[soar.Vote]{
		{"at", func(v soar.Vote) string { return stamp(v.At) }},
		{"by", votedBy},
		{"says", func(v soar.Vote) string { return map[bool]string{true: "agrees", false: "denies"}[v.Agree] }},
		{"reason", func(v soar.Vote) string { return v.Reason }},
		{"via", func(v soar.Vote) string { return v.Via }},
	})
}

// votedBy is who decided, with the user that the system knows.
func votedBy(v soar.Vote) string {
	if v.User == nil {
		return v.By
	}
	return soar.Signed(v.By, *v.User)
}

func newApprovalsDecide(agree bool) *cobra.Command {
	var file configFlag
	var out output
	var vote soar.Vote
	use, summary := "approve", "agree to exactly this call"
	if !agree {
		use, summary = "deny", "deny it: the call is not sent"
	}
	cmd := &cobra.Command{
		Use:   use + " APPROVAL --reason TEXT",
		Short: summary,
		Long: `The first decision counts; it is kept in the run's journal, under your name, and the
run goes on at once. Before an approved call is sent, everything is checked again.

Your name is that of your user on this machine; behind sudo, of the user who called
it. --by gives another one: who reaches the socket of erbridge is trusted to say who
decides, and the name of the user behind it is kept as well.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if strings.TrimSpace(vote.Reason) == "" {
				return usagef("--reason is needed: it is what others will know of your decision")
			}
			name, via := person()
			if vote.By == "" {
				vote.By = name
			}
			if vote.By == "" {
				return usagef("your name is not known here: say it with --by")
			}
			vote.Agree, vote.Via = agree, via
			var a soar.Approval
			err := file.control(cmd.Context(), func(c daemon.Control) (err error) {
				a, err = c.Decide(cmd.Context(), given[0], vote)
				return err
			})
			if errors.Is(err, daemon.ErrNotRunning) {
				return fmt.Errorf("%w: it has to run, since everything is checked again before the call is sent", err)
			}
			if err != nil {
				return err
			}
			return printItem(cmd.Context(), cmd, &out, a, func(w io.Writer, a soar.Approval) error {
				words := fmt.Sprintf("approval %s is %s; erbridge runs show %s tells how it goes on", a.ID, a.State, a.Run)
				if a.State == soar.ApprovalWaiting {
					words = fmt.Sprintf("you have agreed to approval %s: %d of %d people have", a.ID, a.Agreed(), a.Count)
				}
				_, err := fmt.Fprintln(w, words)
				return err
			})
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	cmd.Flags().StringVar(&vote.Reason, "reason", "", "why")
	cmd.Flags().StringVar(&vote.By, "by", "", "who decides; default is your user name")
	return cmd
}

// person is who runs the command, and how that is put on record.
func person() (name, via string) {
	u, err := user.Current()
	if err != nil {
		return "", "command line"
	}
	name, via = u.Username, "command line of "+u.Username
	if caller := os.Getenv("SUDO_USER"); caller != "" && u.Uid == "0" {
		return caller, via + ", called by " + caller
	}
	return name, via
}
