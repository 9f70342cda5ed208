package main

import (
	"os/user"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
)

// whoSays is who gives a command: by, else the user of the process.
func whoSays(by string) (string, error) {
	if by == "" {
		if u, err := user.Current(); err == nil {
			by = u.Username
		}
	}
	if by == "" {
		return "", usagef("your name is not known here: say it with --by")
	}
	return daemon.SignedHere(by), nil
}

// auditReason is what --reason means where nobody but the audit record keeps it.
const auditReason = "why, for the audit record"

func byFlag(cmd *cobra.Command, by *string) {
	cmd.Flags().StringVar(by, "by", "", "who says so; default is your user name")
}

func reasonFlag(cmd *cobra.Command, reason *string, usage string) {
	cmd.Flags().StringVar(reason, "reason", "", usage)
}
