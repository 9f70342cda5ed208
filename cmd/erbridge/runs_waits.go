package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
)

// waitsFor says what steps wait for.
func waitsFor(list []playbooks.HeldStep) string {
	parts := make([]string, len(list))
	for i, w := range list {
		parts[i] = w.Step + ": " + w.Words
	}
	return phrase("; ", parts...)
}

// notePaused says beside a list that a person has paused everything: what waits then
// goes on with erbridge resume only.
func notePaused(cmd *cobra.Command, r *store.Reader) error {
	t, err := daemon.Paused(cmd.Context(), r)
	if err != nil || t == nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%s; calls with an effect wait until erbridge resume\n", clean(t.String()))
	return err
}
