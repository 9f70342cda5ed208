package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/store"
)

// configVariable names the configuration file where --config does not.
const configVariable = "ERBRIDGE_CONFIG"

// configFlag is the --config of every command that works on a configuration.
type configFlag struct {
	path string
	cmd  *cobra.Command // whose flag it is
	told bool           // that the file has mistakes
}

func (c *configFlag) flags(cmd *cobra.Command) {
	c.cmd = cmd
	path := os.Getenv(configVariable)
	if path == "" {
		path = "erbridge.yaml"
	}
	cmd.Flags().StringVarP(&c.path, "config", "c", path, "configuration file; the variable "+configVariable+" sets another default")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
}

func (c *configFlag) load() (*config.Config, error) { return config.Load(c.path) }

// reader opens the store of the configuration for reading. It works beside a
// running daemon, and with a configuration that has mistakes: the store's place is all
// that it needs of it.
func (c *configFlag) reader(ctx context.Context) (*store.Reader, error) {
	cfg, problems := c.load()
	if problems != nil {
		return c.readerAllTheSame(ctx, problems)
	}
	r, err := store.OpenReader(ctx, cfg.Store.Path)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return r, nil
}

// control calls do with the running daemon, or with the store itself where none runs.
// The daemon is found by a configuration that has mistakes as well: it has its own.
func (c *configFlag) control(ctx context.Context, do func(daemon.Control) error) (err error) {
	cfg, err := c.load()
	if err != nil {
		return c.controlAllTheSame(ctx, err, do)
	}
	control, release, err := daemon.OpenControl(ctx, cfg, daemon.Options{Version: buildVersion()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	return do(control)
}

// newLog makes the logger of the daemon from its settings.
func newLog(w io.Writer, settings config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(settings.Level)); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if settings.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
