package main

import (
	"io"

	"github.com/spf13/cobra"
)

// newCompletion is cobra's own command, with our errors and exit codes.
func newCompletion() *cobra.Command {
	shell := func(name string, write func(root *cobra.Command, w io.Writer) error) *cobra.Command {
		return &cobra.Command{
			Use:   name,
			Short: "print the script for " + name,
			Args:  args(cobra.NoArgs),
			RunE:  func(cmd *cobra.Command, _ []string) error { return write(cmd.Root(), cmd.OutOrStdout()) },
		}
	}
	return group("completion", "print a script that completes commands, flags and values in a shell",
		shell("bash", func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) }),
		shell("zsh", (*cobra.Command).GenZshCompletion),
		shell("fish", func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) }),
		shell("powershell", (*cobra.Command).GenPowerShellCompletionWithDesc))
}
