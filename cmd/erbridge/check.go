package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
)

func newCheck() *cobra.Command {
	var file configFlag
	var online bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "check the configuration and its playbooks; --online also logs in to the server",
		Long: `check reads the configuration and every playbook that it names and reports all
mistakes at once, each with its place. It reads no secret and opens no connection.

With --online it reads the secrets too, logs in to the server and says what it
found there. It changes nothing on it.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := file.load()
			if err != nil {
				return err
			}
			set, err := daemon.LoadPlaybooks(cfg, daemon.LintActions(cfg))
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			fmt.Fprintf(w, "%s: good: %s, %s, mode %s\n", clean(file.path), count(len(set.Playbooks()), "playbook"), count(len(cfg.Sinks), "sink"), cfg.Playbooks.Mode)
			if !online {
				return nil
			}
			client, err := daemon.NewClient(cfg, daemon.Options{Version: buildVersion()})
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
			defer cancel()
			if err := client.Login(ctx); err != nil {
				return fmt.Errorf("log in to %s as %q: %w", cfg.Server.URL, cfg.Server.Username, err)
			}
			base, err := client.Base(ctx)
			if err != nil {
				return fmt.Errorf("server %s: %w", cfg.Server.URL, err)
			}
			hosts, err := client.Hosts.Count(ctx)
			if err != nil {
				return fmt.Errorf("server %s: %w", cfg.Server.URL, err)
			}
			up, all := 0, 0
			for _, n := range hosts {
				up, all = up+n.Online, all+n.Online+n.Offline
			}
			fmt.Fprintf(w, "%s: logged in as %s, API at %s, %d of %s online\n", cfg.Server.URL, clean(cfg.Server.Username), clean(base), up, count(all, "host"))
			return client.Logout(ctx)
		},
	}
	file.flags(cmd)
	cmd.Flags().BoolVar(&online, "online", false, "read the secrets and log in to the server")
	return cmd
}
