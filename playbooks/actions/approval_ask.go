package actions

import (
	"context"
	"errors"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// ApprovalAsk are the arguments of approval.ask.
type ApprovalAsk struct {
	// Text is the question. Control characters and those that turn the direction of writing
	// are spelled out, as \x1b or U+202E.
	Text string `yaml:"text" required:"true"`

	// From are those who may decide: groups of guard.approvers, and people. Without it,
	// those of guard.approval.from may; where that is empty, everybody who can run the
	// commands of erbridge.
	From []string `yaml:"from"`

	// Not keeps the person who started the run by hand from deciding: requester.
	Not string `yaml:"not" enum:"requester"`

	// Count is how many people have to agree; one who denies is enough to deny.
	Count int `yaml:"count"`

	// Expires is how long they have to answer, from 1s to 7d. It must be there.
	Expires time.Duration `yaml:"expires"`

	// OnExpiry is what silence means. With approve, no answer in time is an agreement: use
	// it only where the steps that follow can be undone.
	OnExpiry string `yaml:"on_expiry" enum:"deny,approve"`
}

const approvalAsk = "approval.ask"

func init() {
	add(kind[ApprovalAsk]{
		Spec: playbooks.Spec{
			Name: approvalAsk,
			Summary: "Asks people and waits for their answer, which is `.steps.<id>.granted`. A question that was denied, or not answered in time, " +
				"does not end the run. In observe mode nobody is asked, and nothing is granted.",
			// Asking changes nothing, and the guard asks once.
			Effect:  playbooks.Repeatable,
			Output:  playbooks.ApprovalAnswer{},
			Example: "do: approval.ask\nwith:\n  text: \"Contain ${{ .alert.host.name }}?\"\n  from: [soc-leads]\n  not: requester\n  expires: 15m\n",
			Timeout: time.Minute,
			Inside:  true,
			Asks:    readQuestion,
		},
		defaults: ApprovalAsk{Count: 1, OnExpiry: "deny"},
		local:    true,
		prose:    []string{"text"},
		check: func(_ *Deps, in *ApprovalAsk, a *arguments) {
			if _, given := a.values["expires"]; !given && a.known("expires") {
				a.problems = append(a.problems, argumentProblem{"", registry.Problem{
					Code: "approval-expiry", Message: "the approval never expires", Hint: "say how long it may take with expires, such as 15m",
				}})
			}
			for _, m := range guard.CheckQuestion(in.Count, in.Expires) {
				if _, given := a.values[m.Path[0]]; given && a.known(m.Path[0]) && !a.wrong(m.Path[0]) {
					a.refuse(m.Path[0], m.Hint, "%s", m.Words)
				}
			}
		},
		do: func(context.Context, *Deps, playbooks.Call, ApprovalAsk) (playbooks.Outcome, error) {
			return playbooks.Outcome{}, errors.New("approval.ask: only the guard asks people")
		},
	})
}

// readQuestion is what the arguments of approval.ask ask.
func readQuestion(with map[string]any) (*guard.Question, error) {
	t, _ := Types.Get(approvalAsk)
	asking, _ := t.bind(&Deps{}).(*bound[ApprovalAsk])
	in, err := asking.read(playbooks.Call{With: with})
	if err != nil {
		return nil, err
	}
	return &guard.Question{
		Text: in.Text, From: in.From, NotRequester: in.Not != "", Count: in.Count, Expires: in.Expires, Silence: in.OnExpiry == "approve",
	}, nil
}
