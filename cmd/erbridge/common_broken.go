package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/store"
)

// A configuration that somebody has just broken must not keep others from a daemon that
// runs well with the one it has.

// controlAllTheSame calls do with the running daemon, although the configuration has
// mistakes. Where none runs, the mistakes are what is wrong.
func (c *configFlag) controlAllTheSame(ctx context.Context, problems error, do func(daemon.Control) error) error {
	dir, ok := c.storeOfBroken(problems)
	if !ok {
		return problems
	}
	control, err := daemon.OpenRunning(ctx, dir)
	if errors.Is(err, daemon.ErrNotRunning) {
		c.tell("no erbridge runs on the store %s, so the configuration has to be right first", dir)
		return problems
	} else if err != nil {
		return err
	}
	c.tell("%s has mistakes, erbridge check shows them; the running erbridge goes by the configuration it has", c.path)
	return do(control)
}

// readerAllTheSame opens the store for reading, although the configuration has mistakes.
func (c *configFlag) readerAllTheSame(ctx context.Context, problems error) (*store.Reader, error) {
	dir, ok := c.storeOfBroken(problems)
	if !ok {
		return nil, problems
	}
	r, err := store.OpenReader(ctx, dir)
	if errors.Is(err, store.ErrNoStore) {
		return nil, problems
	} else if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	c.tell("%s has mistakes, erbridge check shows them; this is what the store %s has", c.path, dir)
	return r, nil
}

// storeOfBroken looks for the store in a configuration that has mistakes.
func (c *configFlag) storeOfBroken(problems error) (dir string, ok bool) {
	if !config.IsProblem(problems) {
		return "", false
	}
	dir, err := config.StorePath(c.path)
	if err != nil {
		c.tell("%v; until it is mended, a running erbridge is found with another file, in which there is nothing but "+
			"store: {path: THE-FOLDER}: --config THAT-FILE", err)
		return "", false
	}
	return dir, true
}

// console is the address of the console; empty where it is turned off. A container whose
// configuration is being mended is not to be taken for one that is not well.
func (c *configFlag) console() (address string, err error) {
	cfg, problems := c.load()
	if problems == nil {
		return cfg.Console.Listen, nil
	}
	if !config.IsProblem(problems) {
		return "", problems
	}
	if address, err = config.ConsoleListen(c.path); err != nil {
		c.tell("%v; until it is mended, --address HOST:PORT asks a running erbridge", err)
		return "", problems
	}
	c.tell("%s has mistakes, erbridge check shows them; a running erbridge goes by the configuration it has", c.path)
	return address, nil
}

// tell says something once, beside what the command prints.
func (c *configFlag) tell(format string, args ...any) {
	if c.cmd == nil || c.told {
		return
	}
	c.told = true
	fmt.Fprintln(c.cmd.ErrOrStderr(), "erbridge:", clean(fmt.Sprintf(format, args...)))
}
