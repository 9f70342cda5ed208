package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/sinks"
)

// completeSinks offers the sinks of the configuration that the line does not name yet,
// and nothing where the configuration cannot be read.
func completeSinks(cmd *cobra.Command, given []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	path, err := cmd.Flags().GetString("config")
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	cfg, err := config.Load(path)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []cobra.Completion
	for i := range cfg.Sinks {
		if c := &cfg.Sinks[i]; !slices.Contains(given, c.Name) {
			names = append(names, cobra.CompletionWithDesc(c.Name, c.Type))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeSinkFlag is completeSinks for a flag, which takes one sink whatever stands
// beside it.
func completeSinkFlag(cmd *cobra.Command, _ []string, start string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return completeSinks(cmd, nil, start)
}

// completeSink is completeSinks for a command that takes one sink.
func completeSink(cmd *cobra.Command, given []string, start string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completeSinks(cmd, given, start)
}

// completeFormats offers the names that format preview --format takes.
func completeFormats(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var names []cobra.Completion
	for _, f := range sinks.Formats() {
		if f.Name != "template" {
			names = append(names, cobra.CompletionWithDesc(f.Name, f.About))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeEvents offers the types of events.
func completeEvents(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return eventTypes(), cobra.ShellCompDirectiveNoFileComp
}
