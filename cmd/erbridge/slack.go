package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/sinks"
)

func newSlack() *cobra.Command {
	return group("slack", "make the Slack app that a slack sink needs, and test it", newSlackManifest(), newSlackTest())
}

// slackApp is an app manifest (https://docs.slack.dev/reference/app-manifest).
type slackApp struct {
	Display struct {
		Name        string `json:"name"`
		Description string `json:"description"`
		Color       string `json:"background_color"`
	} `json:"display_information"`
	Features struct {
		Bot struct {
			Name   string `json:"display_name"`
			Online bool   `json:"always_online"`
		} `json:"bot_user"`
	} `json:"features"`
	OAuth struct {
		Scopes struct {
			Bot []string `json:"bot"`
		} `json:"scopes"`
	} `json:"oauth_config"`
	Settings struct {
		Interactivity struct {
			Enabled bool `json:"is_enabled"`
		} `json:"interactivity"`
		Org      bool `json:"org_deploy_enabled"`
		Socket   bool `json:"socket_mode_enabled"`
		Rotation bool `json:"token_rotation_enabled"`
	} `json:"settings"`
}

func newSlackApp(name string) (app slackApp) {
	app.Display.Name, app.Display.Color = name, "#1d3557"
	app.Display.Description = "Alerts of Endpoint Response, what playbooks do about them, and buttons to decide."
	app.Features.Bot.Name, app.Features.Bot.Online = name, true
	app.OAuth.Scopes.Bot = []string{"chat:write", "channels:read", "groups:read"}
	app.Settings.Interactivity.Enabled, app.Settings.Socket = true, true
	return app
}

func newSlackManifest() *cobra.Command {
	var name, form string
	cmd := &cobra.Command{
		Use:   "manifest",
		Short: "print the manifest of the Slack app, to be pasted where Slack makes one",
		Long: `manifest prints what Slack needs to know to make the app: its scopes, Socket Mode
and interactivity. No address of yours is in it, because nothing has to reach you.

At https://api.slack.com/apps choose "Create New App", "From a manifest", and paste it.
Then install the app to the workspace (this gives the bot token, xoxb-...), and make an
app-level token with the scope connections:write under "Basic Information" (xapp-...).
docs/howto/slack.md goes on from there.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case form != "yaml" && form != "json":
				return usagef("--output %q: expected yaml or json", form)
			case name == "" || len([]rune(name)) > 35:
				return usagef("--name %q: Slack takes 1 to 35 characters", name)
			}
			app := newSlackApp(name)
			if form == "json" {
				return printJSON(cmd.OutOrStdout(), app, "  ")
			}
			_, err := fmt.Fprint(cmd.OutOrStdout(), app.yaml())
			return err
		},
	}
	cmd.Flags().StringVar(&name, "name", "erbridge", "name of the app and of its bot")
	cmd.Flags().StringVarP(&form, "output", "o", "yaml", "yaml, which has comments, or json")
	return cmd
}

// yaml is the manifest with a word on what each scope is for.
func (a *slackApp) yaml() string {
	quoted := func(text string) string {
		data, err := json.Marshal(text) // JSON strings are YAML
		if err != nil {
			return `""`
		}
		return string(data)
	}
	why := map[string]string{
		"chat:write":    "post, edit, and delete its own messages",
		"channels:read": "only for erbridge slack test: is the bot a member of the channel?",
		"groups:read":   "the same for private channels",
	}
	var scopes strings.Builder
	for _, s := range a.OAuth.Scopes.Bot {
		fmt.Fprintf(&scopes, "      - %s # %s\n", s, why[s])
	}
	return fmt.Sprintf(`display_information:
  name: %s
  description: %s
  background_color: %s
features:
  bot_user:
    display_name: %s
    always_online: %t
oauth_config:
  scopes:
    bot:
%ssettings:
  interactivity:
    is_enabled: %t # buttons
  org_deploy_enabled: %t
  socket_mode_enabled: %t # clicks come in over a connection that erbridge opens
  token_rotation_enabled: %t
`, quoted(a.Display.Name), quoted(a.Display.Description), quoted(a.Display.Color), quoted(a.Features.Bot.Name), a.Features.Bot.Online, scopes.String(),
		a.Settings.Interactivity.Enabled, a.Settings.Org, a.Settings.Socket, a.Settings.Rotation)
}

func newSlackTest() *cobra.Command {
	var file configFlag
	cmd := &cobra.Command{
		Use:   "test [SINK]",
		Short: "try what a slack sink needs: tokens, scopes, channel, a message, the socket for clicks",
		Long: `test tries everything that a slack sink needs, and says for each what is wrong and
what to do about it. It posts a message, edits it and deletes it again. The message of
an incoming webhook stays, because a webhook can delete nothing.

It works beside a running erbridge. SINK may be left out where there is one slack sink.`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, names []string) error {
			cfg, err := file.load()
			if err != nil {
				return err
			}
			name, settings, err := slackSinkOf(cfg, names)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			err = sinks.CheckSlack(cmd.Context(), *settings, sinks.Env{Version: buildVersion(), Now: time.Now}, func(c sinks.SlackCheck) {
				mark, words := "ok     ", c.Words
				switch {
				case c.Err != nil:
					mark, words = "FAILED ", c.Err.Error()
				case c.Skipped:
					mark = "-      "
				}
				fmt.Fprintf(out, "%s %-8s %s\n", mark, c.What, clean(words))
			})
			if err != nil {
				return fmt.Errorf("sink %s: %w", name, err)
			}
			if settings.AppToken.IsSet() {
				fmt.Fprintf(out, "%s %-8s %s\n", "ok     ", "people", linkedPeople(cfg))
			}
			return nil
		},
	}
	file.flags(cmd)
	return cmd
}

// linkedPeople says who may click.
func linkedPeople(cfg *config.Config) string {
	var names []string
	for name, person := range cfg.People {
		if person.Slack != "" {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "nobody is linked, so nobody's clicks count: see people in the configuration"
	}
	return fmt.Sprintf("%d linked: their clicks count", len(names))
}

// slackSinkOf finds the sink that is meant.
func slackSinkOf(cfg *config.Config, names []string) (name string, settings *sinks.SlackSettings, err error) {
	var known []string
	for i := range cfg.Sinks {
		s, ok := cfg.Sinks[i].Settings.(*sinks.SlackSettings)
		if !ok {
			if len(names) > 0 && names[0] == cfg.Sinks[i].Name {
				return "", nil, usagef("sink %q is of type %s: test it with erbridge sinks test %s", names[0], cfg.Sinks[i].Type, names[0])
			}
			continue
		}
		known = append(known, cfg.Sinks[i].Name)
		if len(names) == 0 || names[0] == cfg.Sinks[i].Name {
			name, settings = cfg.Sinks[i].Name, s
		}
	}
	switch {
	case len(known) == 0:
		return "", nil, errors.New("the configuration has no sink of type slack; docs/howto/slack.md shows one")
	case len(names) == 0 && len(known) > 1:
		return "", nil, usagef("which sink? There are %s", strings.Join(known, ", "))
	case settings == nil:
		return "", nil, usagef("there is no slack sink %q; there is %s", names[0], strings.Join(known, ", "))
	}
	return name, settings, nil
}
