package actions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/playbooks"
)

// ConfigAssign are the arguments of config.assign.
type ConfigAssign struct {
	// Host is the host identifier. It may be offline: its agent asks for its config when it is
	// back.
	Host Host `yaml:"host" required:"true"`

	// Config is the server's id of the config, which is one of the platform of the host.
	Config Number `yaml:"config" required:"true"`

	// InPlaceOf is the id of the config that the host must have now; one with another
	// config is left alone. Undoing sets it, so that it takes nothing back that somebody
	// else has assigned since. Without it, any config is replaced.
	InPlaceOf Number `yaml:"in_place_of"`
}

// ConfigAssignOutput is what config.assign leaves under .steps.<id>.output.
type ConfigAssignOutput struct {
	// Host is the host identifier.
	Host string `json:"host"`
	// Config is the server's id of the config.
	Config int64 `json:"config"`
	// Name is the name of the config.
	Name string `json:"name"`
	// Before is the id of the config that the host had before; the same one when nothing
	// has changed.
	Before int64 `json:"before"`
	// BeforeName is the name of that.
	BeforeName string `json:"before_name"`
}

const configAssign = "config.assign"

func init() {
	assigning := change[ConfigAssign, ConfigAssignOutput]{
		make: assignConfig,
		look: func(ctx context.Context, d *Deps, call playbooks.Call, in ConfigAssign, _ ConfigAssignOutput) (string, error) {
			now, err := d.hostConfig(ctx, call, in.Host)
			if err != nil || now.ConfigID == int64(in.Config) {
				return "", err
			}
			return fmt.Sprintf("%s has the config %s", hostName(call, in.Host), now.ConfigName), nil
		},
		words: func(call playbooks.Call, in ConfigAssign, changed ConfigAssignOutput) string {
			return fmt.Sprintf("gave %s the config %s in place of %s on the server, from where its agent fetches it", hostName(call, in.Host), changed.Name, changed.BeforeName)
		},
	}
	add(kind[ConfigAssign]{
		Spec: playbooks.Spec{
			Name: configAssign,
			Summary: "Gives a host another config: the queries that its agent runs by itself, and what it watches. " +
				"Verified is that the server has it for the host: nobody can see whether the agent has fetched it yet.",
			Effect:  playbooks.Repeatable,
			Needs:   []string{"admin", "release 4.0"},
			Inverse: configAssign,
			Kind:    "config",
			Output:  ConfigAssignOutput{},
			Example: "do: config.assign\nwith:\n  host: ${{ .alert.host.identifier }}\n  config: 7\n",
			Timeout: 2 * time.Minute,
		},
		foresee: func(ctx context.Context, d *Deps, call playbooks.Call, in ConfigAssign) (any, error) {
			record, err := d.meantHost(ctx, call, in.Host)
			if err != nil {
				return nil, err
			}
			now, err := d.hostConfig(ctx, call, in.Host)
			if err != nil {
				return nil, err
			}
			config, err := d.config(ctx, in.Config)
			name := hostName(call, in.Host)
			switch platform := connector.NormalizeHost(record).Platform; {
			case err != nil:
				return nil, err
			case now.ConfigID == int64(in.Config):
				return nil, fmt.Errorf("%w: %s has the config %s", playbooks.ErrNothingToDo, name, config.Name)
			case in.spares(now):
				return nil, in.left(name, now)
			case config.Platform != platform:
				return nil, fmt.Errorf("config %d (%s) is for %s, and %s runs %s: the server would pass it over", in.Config, config.Name, config.Platform, name, platform)
			}
			return in.changes(config.Name, now), d.mayAdminister(ctx, "giving a host a config")
		},
		do: func(ctx context.Context, d *Deps, call playbooks.Call, in ConfigAssign) (playbooks.Outcome, error) {
			out, err := assigning.do(ctx, d, call, in)
			out.Target = string(in.Host)
			return out, err
		},
		poll: assigning.poll,
		reverse: func(_ playbooks.Call, _ ConfigAssign, output map[string]any) *playbooks.Reversal {
			if before, _ := output["before"].(float64); before <= 0 || output["before"] == output["config"] {
				return nil
			}
			return &playbooks.Reversal{Do: configAssign, With: map[string]any{
				"host": output["host"], "config": output["before"], "in_place_of": output["config"],
			}}
		},
	})
}

// spares reports whether a config of the host is not the one that is to be replaced.
func (in ConfigAssign) spares(now connector.FullConfig) bool {
	return in.InPlaceOf != 0 && now.ConfigID != int64(in.InPlaceOf)
}

func (in ConfigAssign) left(name string, now connector.FullConfig) error {
	return fmt.Errorf("%s has the config %d (%s) now, not %d: somebody has assigned it since, and it is left alone", name, now.ConfigID, now.ConfigName, in.InPlaceOf)
}

func assignConfig(ctx context.Context, d *Deps, call playbooks.Call, in ConfigAssign) (ConfigAssignOutput, error) {
	before, err := d.hostConfig(ctx, call, in.Host)
	changed := in.changes(before.ConfigName, before)
	switch {
	case err != nil || before.ConfigID == int64(in.Config):
		return changed, err
	case in.spares(before):
		return changed, in.left(hostName(call, in.Host), before)
	}
	config, err := d.config(ctx, in.Config)
	if err != nil {
		return changed, err
	}
	changed.Name = config.Name
	if _, err := d.Client.Configs.Assign(ctx, config.ID, []string{string(in.Host)}, nil); err != nil {
		return changed, fmt.Errorf("give %s the config %s: %w", hostName(call, in.Host), config.Name, effectError(err))
	}
	return changed, nil
}

// changes are what the call changes of a host that has a config; name is that of the new one.
func (in ConfigAssign) changes(name string, before connector.FullConfig) ConfigAssignOutput {
	return ConfigAssignOutput{Host: string(in.Host), Config: int64(in.Config), Name: name, Before: before.ConfigID, BeforeName: before.ConfigName}
}

// errNoConfigs means that the server does not assign configs at all. Nothing was sent.
var errNoConfigs = fmt.Errorf("assigning configs is %w: releases before 4.0 do not tell which config a host has", connector.ErrUnavailable)

// hostConfig reads which config a host has.
func (d *Deps) hostConfig(ctx context.Context, call playbooks.Call, host Host) (connector.FullConfig, error) {
	now, err := d.Client.Hosts.FullConfig(ctx, string(host))
	switch {
	case errors.Is(err, connector.ErrUnavailable), err == nil && now.ConfigID == 0:
		return now, errNoConfigs
	case err != nil:
		return now, fmt.Errorf("the config of %s: %w", hostName(call, host), readError(err))
	}
	return now, nil
}

// config finds a config by its id. Only the list tells its platform.
func (d *Deps) config(ctx context.Context, id Number) (found connector.Config, err error) {
	for c, err := range d.Client.Configs.List(ctx) {
		if _, malformed := errors.AsType[*connector.MalformedError](err); malformed {
			continue
		}
		switch {
		case errors.Is(err, connector.ErrUnavailable):
			return found, errNoConfigs
		case err != nil:
			return found, fmt.Errorf("configs: %w", readError(err))
		case c.ID == int64(id):
			return c, nil
		}
	}
	return found, fmt.Errorf("the server has no config %d; look for it in the list of configs", id)
}
