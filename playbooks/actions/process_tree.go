package actions

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// ProcessTreeInput are the arguments of process.tree.
type ProcessTreeInput struct {
	// GUID is the process_guid of the process at the root.
	GUID string `yaml:"guid" required:"true"`

	// Host is the host identifier or the server's number of the host; without it,
	// the host of the alert at hand.
	Host HostRef `yaml:"host"`
}

// ProcessTreeOutput is what process.tree leaves under .steps.<id>.output.
type ProcessTreeOutput struct {
	// Name is the name of the process at the root.
	Name string `json:"name"`
	// Path is the path of its program.
	Path string `json:"path"`
	// Cmdline is its command line, where the server tells it.
	Cmdline string `json:"cmdline"`
	// Processes are those that it started.
	Processes []TreeProcess `json:"processes"`
	// Files are the paths of files that it wrote or renamed, each once.
	Files []string `json:"files"`
	// Remotes are the addresses it connected to, each once.
	Remotes []string `json:"remotes"`
	// Domains are the names it looked up, each once.
	Domains []string `json:"domains"`
	// Counts are the number of its events by action.
	Counts map[string]int `json:"counts"`
	// Partial means that there are more events than were read.
	Partial bool `json:"partial"`
}

// TreeProcess is a process in a tree.
type TreeProcess struct {
	// GUID is its process_guid.
	GUID string `json:"guid"`
	// PID is its number, as text.
	PID string `json:"pid"`
	// Path is the path of its program.
	Path string `json:"path"`
	// Cmdline is its command line.
	Cmdline string `json:"cmdline"`
}

// maxTreeEvents bounds what is read of one action of a process.
const maxTreeEvents = 200

func init() {
	add(kind[ProcessTreeInput]{
		Spec: playbooks.Spec{
			Name:    "process.tree",
			Summary: "Reads what a process did: processes it started, files it wrote, addresses it connected to.",
			Effect:  playbooks.Reads,
			OfAlert: true,
			Needs:   []string{"enterprise", "windows"},
			Output:  ProcessTreeOutput{},
			Example: "do: process.tree\nwith:\n  guid: ${{ .alert.event.process_guid }}\n",
			Timeout: time.Minute,
		},
		do: readTree,
	})
}

func readTree(ctx context.Context, d *Deps, call playbooks.Call, in ProcessTreeInput) (playbooks.Outcome, error) {
	node, err := d.nodeID(ctx, call, in.Host)
	if err != nil {
		return playbooks.Outcome{}, err
	}
	tree, err := d.Client.Alerts.ProcessTree(ctx, connector.ProcessQuery{GUID: in.GUID, NodeID: node})
	if err != nil {
		return playbooks.Outcome{}, fmt.Errorf("process tree of %s: %w", in.GUID, readError(err))
	}
	output := ProcessTreeOutput{
		Name: tree.Name, Path: tree.Path, Cmdline: tree.Data["cmdline"],
		Processes: []TreeProcess{}, Files: []string{}, Remotes: []string{}, Domains: []string{}, Counts: map[string]int{},
	}
	for _, group := range tree.Groups {
		output.Counts[group.Action] += group.Count
		events := group.Children
		if len(events) < group.Count {
			more, err := d.treeEvents(ctx, in.GUID, group.Action, node)
			if err != nil {
				return playbooks.Outcome{}, fmt.Errorf("process tree of %s: %w", in.GUID, readError(err))
			}
			if len(more) > len(events) {
				events = more
			}
		}
		output.Partial = output.Partial || len(events) < group.Count
		for _, event := range events {
			output.take(group.Action, event.Data)
		}
	}
	return playbooks.Outcome{
		State:   soar.StepExecuted,
		Summary: fmt.Sprintf("read the tree of %s: %d processes, %d files", output.Name, len(output.Processes), len(output.Files)),
		Output:  output,
	}, nil
}

// treeEvents pages through the events of one action of a process.
func (d *Deps) treeEvents(ctx context.Context, guid, action string, node int64) ([]connector.ProcessEvent, error) {
	var events []connector.ProcessEvent
	query := connector.ChildQuery{GUID: guid, Action: action, NodeID: node}
	for len(events) < maxTreeEvents {
		page, err := d.Client.Alerts.ProcessChildren(ctx, query)
		if err != nil {
			return nil, err
		}
		// The next page begins in the second in which this one ended: it repeats
		// the events of that second, and one that does not move on is the last that
		// can be had.
		for _, event := range page.Events {
			if !slices.ContainsFunc(events, func(e connector.ProcessEvent) bool { return maps.Equal(e.Data, event.Data) }) {
				events = append(events, event)
			}
		}
		if len(page.Events) == 0 || page.LastTime.IsZero() || !page.LastTime.After(query.After) {
			break
		}
		query.After = page.LastTime
	}
	return events, nil
}

// take sorts the columns of an event. Actions are the agent's words: PROC_CREATE,
// FILE_WRITE, FILE_RENAME, SOCKET_CONNECT, DNS_LOOKUP and others.
func (o *ProcessTreeOutput) take(action string, columns map[string]string) {
	once := func(list *[]string, value string) {
		if value != "" && !slices.Contains(*list, value) {
			*list = append(*list, value)
		}
	}
	switch {
	case action == "PROC_CREATE":
		p := treeProcess(columns)
		if !slices.Contains(o.Processes, p) {
			o.Processes = append(o.Processes, p)
		}
	case strings.HasPrefix(action, "FILE_") && action != "FILE_DELETE":
		// A renamed file carries its old path behind the new one.
		path, _, _ := strings.Cut(columns["target_path"], " [Orig: ")
		once(&o.Files, path)
	}
	once(&o.Remotes, columns["remote_address"])
	once(&o.Domains, columns["domain_name"])
}

func treeProcess(columns map[string]string) TreeProcess {
	return TreeProcess{GUID: columns["process_guid"], PID: columns["pid"], Path: columns["path"], Cmdline: columns["cmdline"]}
}

// nodeID is the server's number of a host: that of the alert at hand, unless a
// host is named.
func (d *Deps) nodeID(ctx context.Context, call playbooks.Call, named HostRef) (int64, error) {
	if named == "" {
		if call.Alert.Host.ID == 0 {
			return 0, fmt.Errorf("the alert does not say on which host it is; set host")
		}
		return call.Alert.Host.ID, nil
	}
	if id, err := strconv.ParseInt(string(named), 10, 64); err == nil {
		return id, nil
	}
	host, err := d.Client.Hosts.Get(ctx, string(named))
	if err != nil {
		return 0, fmt.Errorf("host %s: %w", named, readError(err))
	}
	return host.ID, nil
}
