package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/store"
)

// report tells a person what went wrong, where, and what to do next. A mistake in
// a file is one line, in the form that editors jump to.
func report(w io.Writer, err error) {
	if problems, ok := errors.AsType[registry.Problems](err); ok {
		for _, p := range problems {
			fmt.Fprintln(w, clean(p.Error()))
		}
		fmt.Fprintf(w, "erbridge: %s; nothing was started or changed\n", count(len(problems), "mistake"))
		return
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintln(w, "erbridge:", clean(line))
	}
	if next := nextStep(err); next != "" {
		fmt.Fprintln(w, "  "+next)
	}
}

// nextStep is advice for errors that people meet often.
func nextStep(err error) string {
	if _, broken := errors.AsType[*store.AuditBreak](err); broken {
		return "Copy the folder store.path as it is before anything else, and compare with your newest export: erbridge audit verify --file FILE"
	}
	switch {
	case errors.Is(err, daemon.ErrNoPassword):
		return "Set what server.password of the configuration names, then try: erbridge check --online"
	case errors.Is(err, connector.ErrBadCredentials):
		return "Correct server.username or what server.password names, then try: erbridge check --online"
	case errors.Is(err, store.ErrNoStore):
		return "Name the configuration of the daemon with --config, or start it: erbridge run"
	case errors.Is(err, store.ErrInUse):
		return "Another erbridge works on this store; one is enough, or give this one another store.path."
	case errors.Is(err, daemon.ErrNotRunning):
		return "Start it with: erbridge run"
	case errors.Is(err, config.ErrUnreadable):
		return "Name it with --config, or begin with a copy of config.example.yaml"
	}
	return ""
}

// count is a number with its word: 1 mistake, 2 mistakes.
func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	if before, ok := strings.CutSuffix(word, "y"); ok {
		return fmt.Sprintf("%d %sies", n, before)
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// args wraps cobra's checks so that a wrong number of arguments is a usage error.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if err := check(cmd, given); err != nil {
			return usagef("%v; usage: %s", err, cmd.UseLine())
		}
		return nil
	}
}

// runsItself marks a command that holds others and does something itself as well.
const runsItself = "runs-itself"

// group is a command that does nothing but hold others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: func(cmd *cobra.Command, given []string) error {
		if len(given) == 0 {
			return cmd.Help()
		}
		return unknownCommand(cmd, given[0])
	}}
	cmd.AddCommand(commands...)
	return cmd
}

func unknownCommand(group *cobra.Command, given string) error {
	var names []string
	meant := ""
	for _, c := range group.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
		if slices.Contains(c.SuggestFor, given) {
			meant = c.Name()
		}
	}
	text := fmt.Sprintf("unknown command %q of %s", given, group.CommandPath())
	if near := cmp.Or(meant, registry.Nearest(given, names)); near != "" {
		return usagef("%s; did you mean %q?", text, near)
	}
	return usagef("%s; there are %s", text, strings.Join(names, ", "))
}
