package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/playbooks"
)

func newGuard() *cobra.Command {
	return group("guard", "ask the guard what it would say of a call", newGuardTest())
}

func newGuardTest() *cobra.Command {
	var file configFlag
	var out output
	var q daemon.GuardQuestion
	var with []string
	cmd := &cobra.Command{
		Use:   "test --action ACTION [--host HOST] [--with NAME=VALUE] [--playbook PLAYBOOK] [--alert ALERT]",
		Short: "say what would become of a call now, and why: every answer of the guard; nothing is sent",
		Long: `test asks the guard of the running erbridge about a call, with all that it knows at
this moment: who paused, what is under way, which budgets are used up. Without a
daemon, it asks one that knows what the store says, and writes nothing. The facts of the host are read
from the server, and whether it is ready; nothing is sent to a host.

HOST is the identifier of a host, or its name where only one has it. Without
--playbook, the call is that of a playbook that enforces; with --alert, it is about
that alert, and on its host unless --host says another.`,
		Example: `  erbridge guard test --host 4C4C4544-0039-4B10-8051-B3C04F4A5131 --action host.contain
  erbridge guard test --alert er-4711 --action process.kill --with pid=4242 --playbook kill-credential-dumping`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if q.Action == "" {
				return usagef("--action is needed: such as host.contain")
			}
			var err error
			if q.With, err = givenArguments(with); err != nil {
				return err
			}
			var answer *playbooks.GuardAnswer
			err = file.control(cmd.Context(), func(c daemon.Control) (err error) {
				answer, err = c.TestGuard(cmd.Context(), q)
				return err
			})
			if err != nil {
				return fmt.Errorf("guard test: %w", err)
			}
			if answer == nil {
				return errors.New("guard test: the running erbridge is of another release and gives no answer")
			}
			return printItem(cmd.Context(), cmd, &out, answer, showGuardAnswer)
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&q.Action, "action", "", "the action, such as host.contain")
	f.StringVar(&q.Host, "host", "", "the identifier or the name of the host; default is that of the alert")
	f.StringArrayVar(&with, "with", nil, "an argument, as name=value; a value that is JSON keeps its type")
	f.StringVar(&q.Playbook, "playbook", "", "the playbook whose step it would be")
	f.StringVar(&q.Alert, "alert", "", "the alert that the run would be about, such as er-4711")
	return cmd
}

// givenArguments reads name=value. What is no JSON is a text.
func givenArguments(list []string) (map[string]any, error) {
	with := map[string]any{}
	for _, one := range list {
		name, text, found := strings.Cut(one, "=")
		if !found || name == "" {
			return nil, usagef("--with %q: expected name=value", one)
		}
		var value any
		if json.Unmarshal([]byte(text), &value) != nil {
			value = text
		}
		with[name] = value
	}
	return with, nil
}

func showGuardAnswer(w io.Writer, a *playbooks.GuardAnswer) error {
	fmt.Fprintf(w, "%s %s\n", clean(a.Action), clean(a.Words))
	for _, h := range a.Hosts {
		words := phrase(", ", h.Name, h.OS, strings.Join(h.Tags, " "))
		if !h.Known {
			words = "not known: " + h.Why
		}
		fmt.Fprintf(w, "host %s: %s\n", clean(h.ID), clean(words))
	}
	for _, p := range a.Problems {
		fmt.Fprintf(w, "argument: %s\n", clean(p))
	}
	fmt.Fprintln(w)
	return printTable(w, a.Answers, []column[playbooks.Answer]{
		{"check", func(a playbooks.Answer) string { return a.Check }},
		{"answer", answerWord},
		{"why", func(a playbooks.Answer) string { return a.Words }},
	})
}

// answerWord is an answer in a word or two.
func answerWord(a playbooks.Answer) string {
	switch {
	case a.OK:
		return "passes"
	case !a.Until.IsZero():
		return "holds"
	}
	return string(a.State)
}
