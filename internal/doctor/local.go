package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/soar"
)

// config reads the configuration and makes the client.
func (d *doctor) config(context.Context) finding {
	cfg, err := config.Load(d.o.Config)
	if err != nil {
		d.configErr = err
		hint := "erbridge check tells every mistake with its place"
		if errors.Is(err, config.ErrUnreadable) {
			hint = "name the file with --config, or begin with a copy of config.example.yaml"
		}
		return finding{Fail, said(err), hint}
	}
	// A doctor does not wait for a server as long as the daemon does.
	cfg.Server.Retries = min(cfg.Server.Retries, 1)
	cfg.Server.Timeout = min(cfg.Server.Timeout, 10*time.Second)
	if d.o.Timeout > 0 {
		cfg.Server.Timeout = d.o.Timeout
	}
	d.cfg = cfg
	d.client, err = d.o.NewClient(cfg)
	if _, unread := cfg.Server.Password.Reveal(); unread != nil {
		d.secretErr = cmp.Or(err, unread)
		// Much can be looked at without. Nothing logs in when the password has failed.
		cfg.Server.Password = soar.SecretValue("not read")
		d.client, err = d.o.NewClient(cfg)
	}
	if err != nil {
		d.configErr = err
		return finding{Fail, said(err), "correct the section server of the configuration, or what it names"}
	}
	return finding{OK, fmt.Sprintf("%s: server %s as %s", cfg.File, cfg.Server.URL, cfg.Server.Username), ""}
}

// password says whether what server.password names can be read.
func (d *doctor) password(context.Context) finding {
	if d.configErr = d.secretErr; d.secretErr != nil {
		return finding{Fail, said(d.secretErr), "set what server.password of the configuration names"}
	}
	return finding{OK, "what server.password names can be read", ""}
}

// playbooks says whether what is on disk can be used, and is by the daemon if it runs.
func (d *doctor) playbooks(ctx context.Context) finding {
	if d.o.Playbooks == nil {
		return finding{Skip, "not looked at", ""}
	}
	n, err := d.o.Playbooks(ctx, d.cfg)
	switch {
	case err != nil:
		first, rest, more := strings.Cut(err.Error(), "\n")
		if more {
			first += fmt.Sprintf(" (and %d more)", 1+strings.Count(rest, "\n"))
		}
		return finding{Fail, first, "erbridge check tells every mistake with its place; what is mended is taken by itself, or by erbridge reload"}
	case n == 0:
		return finding{Warn, "none is configured", "name some in playbooks.library, or a folder in playbooks.dir"}
	}
	return finding{OK, number(n, "playbook") + " can be used", ""}
}

// killSwitch says whether anything is sent at all.
func (d *doctor) killSwitch(ctx context.Context) finding {
	if d.o.Paused == nil {
		return finding{Skip, "not looked at", ""}
	}
	paused, err := d.o.Paused(ctx, d.cfg)
	switch {
	case err != nil:
		return finding{Warn, said(err), "look at store.path of the configuration"}
	case paused != "":
		return finding{Warn, paused + ": no call with an effect is sent", "erbridge resume lets them go on; a file has to be removed"}
	}
	return finding{OK, "not thrown", ""}
}

func (d *doctor) push(ctx context.Context) finding {
	if d.cfg.Sources.Push == nil {
		return finding{Skip, "not configured; the poller alone looks for alerts", ""}
	}
	return bindable(ctx, d.cfg.Sources.Push.Listen, "point the server's rsyslog alerter at it")
}

func (d *doctor) webhook(ctx context.Context) finding {
	w := d.cfg.Sources.Webhook
	if w == nil {
		return finding{Skip, "not configured", ""}
	}
	f := bindable(ctx, w.Listen, number(len(w.Senders), "sender")+" may call it")
	if f.status == OK && len(w.Senders) == 0 {
		f.status, f.hint = Warn, "name who may call it in sources.webhook.senders"
	}
	return f
}

// bindable reports whether a listener can have its address. That it is taken is
// the rule while the daemon runs.
func bindable(ctx context.Context, address, purpose string) finding {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		if err := l.Close(); err != nil {
			return finding{Warn, said(err), "try again"}
		}
		return finding{OK, address + " can be listened on; " + purpose, ""}
	case errors.Is(err, syscall.EADDRINUSE):
		return finding{OK, address + " is in use, by erbridge itself if it is running; " + purpose, ""}
	case errors.Is(err, fs.ErrPermission):
		return finding{Fail, said(err), "choose a port from 1024 on, or give erbridge CAP_NET_BIND_SERVICE"}
	case strings.Contains(err.Error(), "cannot assign"):
		return finding{Fail, said(err), "listen on an address that this machine has"}
	}
	return finding{Fail, said(err), "correct the address to listen on"}
}
