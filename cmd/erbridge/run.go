package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
)

func newRun() *cobra.Command {
	var file configFlag
	cmd := &cobra.Command{
		Use:   "run",
		Short: "run the daemon until SIGINT or SIGTERM; SIGHUP reads configuration and playbooks again",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := file.load()
			if err != nil {
				return err
			}
			log := newLog(cmd.ErrOrStderr(), cfg.Log)
			d, err := daemon.New(cfg, daemon.Options{Version: buildVersion(), Log: log})
			if err != nil {
				return err
			}
			ctx, stop := context.WithCancel(cmd.Context())
			var reloads sync.WaitGroup
			reloads.Go(func() { reloadOnHangup(ctx, d, log) })
			err = d.Run(ctx)
			stop()
			reloads.Wait()
			return err
		},
	}
	file.flags(cmd)
	return cmd
}

// reloadOnHangup reloads at every SIGHUP until ctx ends.
func reloadOnHangup(ctx context.Context, d *daemon.Daemon, log *slog.Logger) {
	hangups := make(chan os.Signal, 1) // one that waits is enough: a reload reads everything
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			if _, err := d.Reload(ctx); err != nil {
				log.Error("reload refused, what ran before runs on", "err", err)
			}
		}
	}
}

func newReload() *cobra.Command {
	var file configFlag
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "make the running daemon read configuration and playbooks again: all of it or nothing",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return file.control(cmd.Context(), func(c daemon.Control) error {
				result, err := c.Reload(cmd.Context())
				if err != nil {
					return err
				}
				w := cmd.OutOrStdout()
				fmt.Fprintf(w, "%s loaded\n", count(result.Playbooks, "playbook"))
				for _, name := range result.Started {
					fmt.Fprintln(w, "started", clean(name))
				}
				for _, name := range result.Stopped {
					fmt.Fprintln(w, "stopped", clean(name))
				}
				return nil
			})
		},
	}
	file.flags(cmd)
	return cmd
}
