package actions

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// ProcessChildrenInput are the arguments of process.children.
type ProcessChildrenInput struct {
	// GUID is the process_guid of the process whose children are read.
	GUID string `yaml:"guid" required:"true"`

	// Host is the host identifier or the server's number of the host; without it,
	// the host of the alert at hand.
	Host HostRef `yaml:"host"`

	// Depth is how many generations are read, from 1, the children alone, to 10.
	Depth int `yaml:"depth"`
}

// ProcessChildrenOutput is what process.children leaves under .steps.<id>.output.
type ProcessChildrenOutput struct {
	// Processes are the descendants, children first. A step with for_each and
	// process.kill stops them, each after a look whether it still is the one.
	Processes []ChildProcess `json:"processes"`
	// Partial means that there are more than were read.
	Partial bool `json:"partial"`
}

// FoundNothing reports whether the process started no other.
func (o ProcessChildrenOutput) FoundNothing() bool { return len(o.Processes) == 0 && !o.Partial }

// ChildProcess is a descendant of a process.
type ChildProcess struct {
	TreeProcess
	// Parent is the process_guid of the process that started it.
	Parent string `json:"parent"`
	// Started is when it started, as process.kill takes it; empty where the server does
	// not tell.
	Started string `json:"started"`
	// Depth is its generation; 1 is a child.
	Depth int `json:"depth"`
}

const (
	maxGenerations = 10
	maxDescendants = 200
)

func init() {
	add(kind[ProcessChildrenInput]{
		Spec: playbooks.Spec{
			Name:    "process.children",
			Summary: "Reads which processes a process started, and those in turn.",
			Effect:  playbooks.Reads,
			OfAlert: true,
			Needs:   []string{"enterprise", "windows"},
			Output:  ProcessChildrenOutput{},
			Example: "do: process.children\nwith:\n  guid: ${{ .alert.event.process_guid }}\n  depth: 3\n",
			Timeout: 2 * time.Minute,
		},
		defaults: ProcessChildrenInput{Depth: 1},
		check: func(_ *Deps, in *ProcessChildrenInput, a *arguments) {
			if a.known("depth") && (in.Depth < 1 || in.Depth > maxGenerations) {
				a.refuse("depth", "", "expected a whole number from 1 to %d, found %d", maxGenerations, in.Depth)
			}
		},
		do: readChildren,
	})
}

func readChildren(ctx context.Context, d *Deps, call playbooks.Call, in ProcessChildrenInput) (playbooks.Outcome, error) {
	node, err := d.nodeID(ctx, call, in.Host)
	if err != nil {
		return playbooks.Outcome{}, err
	}
	output := ProcessChildrenOutput{Processes: []ChildProcess{}}
	seen := []string{in.GUID} // what events say of who started whom may run in a circle
	generation := []string{in.GUID}
	for depth := 1; depth <= in.Depth; depth++ {
		var next []string
		for _, parent := range generation {
			events, err := d.treeEvents(ctx, parent, "PROC_CREATE", node)
			if err != nil {
				return playbooks.Outcome{}, fmt.Errorf("children of %s: %w", parent, readError(err))
			}
			output.Partial = output.Partial || len(events) >= maxTreeEvents
			for _, event := range events {
				child := ChildProcess{treeProcess(event.Data), parent, event.Data["time"], depth}
				if child.GUID != "" && slices.Contains(seen, child.GUID) {
					continue
				}
				if len(output.Processes) == maxDescendants {
					output.Partial = true
					return output.outcome(in), nil
				}
				output.Processes = append(output.Processes, child)
				if child.GUID != "" {
					seen, next = append(seen, child.GUID), append(next, child.GUID)
				}
			}
		}
		generation = next
	}
	return output.outcome(in), nil
}

func (o ProcessChildrenOutput) outcome(in ProcessChildrenInput) playbooks.Outcome {
	return playbooks.Outcome{State: soar.StepExecuted, Summary: fmt.Sprintf("read %d descendants of process %s", len(o.Processes), in.GUID), Output: o}
}
