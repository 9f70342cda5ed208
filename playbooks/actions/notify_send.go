package actions

import (
	"context"
	"slices"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// NotifySend are the arguments of notify.send.
type NotifySend struct {
	// Sink is the configured name of the sink that delivers the message.
	Sink string `yaml:"sink" required:"true"`

	// Text is the message. The sink escapes it; formatting in it is shown as text.
	Text string `yaml:"text" required:"true"`
}

// maxMessageRunes keeps a message in one piece at every chat service.
const maxMessageRunes = 3000

func init() {
	add(kind[NotifySend]{
		Spec: playbooks.Spec{
			Name:    "notify.send",
			Summary: "Queues a message for one sink.",
			// The message becomes part of the step's record, with an id of its own:
			// doing it again before that is on disk makes the same message.
			Effect:  playbooks.Repeatable,
			Example: "do: notify.send\nwith:\n  sink: soc-slack\n  text: \"contained ${{ .alert.host.name }}\"\n",
			Timeout: time.Minute,
			Inside:  true,
		},
		local: true,
		check: func(d *Deps, in *NotifySend, a *arguments) {
			if d.Sinks != nil && a.known("sink") && in.Sink != "" && !slices.Contains(d.Sinks, in.Sink) {
				p := registry.Unknown(registry.Position{}, "sink", in.Sink, d.Sinks)
				a.problems = append(a.problems, argumentProblem{"sink", p})
			}
		},
		do: notify,
	})
}

func notify(_ context.Context, d *Deps, call playbooks.Call, in NotifySend) (playbooks.Outcome, error) {
	var alert *soar.Alert // nil in a run without one
	if call.Alert.ID != "" {
		a := call.Alert
		alert = &a
	}
	return playbooks.Outcome{
		State: soar.StepExecuted,
		// It goes out with the feed, after this step.
		Summary: "queued for " + in.Sink,
		Events: []soar.Event{{
			ID:    "notify-" + plainName(call.Mark),
			Type:  soar.EventNotification,
			At:    d.Now().UTC(),
			Alert: alert,
			To:    in.Sink,
			Text:  clipRunes(soar.Visible(in.Text), maxMessageRunes),
		}},
	}, nil
}
