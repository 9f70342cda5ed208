package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
)

func newSinksFiles() *cobra.Command {
	return &cobra.Command{
		Use:   "files [TYPE [FILE]]",
		Short: "write a file that a receiver is set up with: index templates, tables, field extractions",
		Long: `sinks files writes one of the files that come with erbridge for the receivers of a
type of sink to its output. Without FILE it lists those of the type, and without
TYPE all of them.`,
		Example: `  erbridge sinks files sentinel sentinel.json >sentinel.json
  az deployment group create -g soc -f sentinel.json -p workspace=soc-logs`,
		Args: args(cobra.MaximumNArgs(2)),
		RunE: func(cmd *cobra.Command, given []string) error {
			types := sinks.Types.Names()
			if len(given) > 0 {
				if _, ok := sinks.Types.Get(given[0]); !ok {
					return fmt.Errorf("sink type %q: %w; erbridge docs sinks lists them", given[0], soar.ErrNotFound)
				}
				types = given[:1]
			}
			for _, name := range types {
				for _, f := range sinks.Files(name) {
					if len(given) < 2 {
						fmt.Fprintf(cmd.OutOrStdout(), "%-9s %-27s  %s\n", name, f.Name, f.About)
					} else if f.Name == given[1] {
						_, err := cmd.OutOrStdout().Write(f.Data)
						return err
					}
				}
			}
			if len(given) == 2 {
				return fmt.Errorf("file %q of sink type %s: %w; erbridge sinks files %s lists them", given[1], given[0], soar.ErrNotFound, given[0])
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, given []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var words []cobra.Completion
			switch len(given) {
			case 0:
				for _, name := range sinks.Types.Names() {
					if sinks.Files(name) != nil {
						words = append(words, name)
					}
				}
			case 1:
				for _, f := range sinks.Files(given[0]) {
					words = append(words, cobra.CompletionWithDesc(f.Name, f.About))
				}
			}
			return words, cobra.ShellCompDirectiveNoFileComp
		},
	}
}
