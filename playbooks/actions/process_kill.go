package actions

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/playbooks"
)

// ProcessKill are the arguments of process.kill. A pid alone is not enough: the
// system may have given it to another process since the event.
type ProcessKill struct {
	// Host is the host identifier.
	Host Host `yaml:"host" required:"true"`

	// PID is the number of the process.
	PID Number `yaml:"pid" required:"true"`

	// Name is the name of the program, such as calc.exe, or its full path. What
	// stands after the last slash or backslash is sent, since the server does not
	// say that it takes a path.
	Name string `yaml:"name" required:"true"`
}

func init() {
	add(kind[ProcessKill]{
		Spec: playbooks.Spec{
			Name:    "process.kill",
			Summary: "Stops a process, and looks whether it is gone.",
			Effect:  playbooks.Once,
			Needs:   []string{"enterprise", "response"},
			Kind:    "process",
			Output:  CommandOutput{},
			Example: "do: process.kill\nwith:\n  host: ${{ .alert.host.identifier }}\n  pid: ${{ .alert.event.pid }}\n  name: ${{ .alert.event.path }}\n",
			Timeout: 5 * time.Minute,
		},
		check: func(_ *Deps, in *ProcessKill, a *arguments) {
			if a.known("name") && in.Name != "" && baseName(in.Name) == "" {
				a.refuse("name", "", "%.80q names a folder", in.Name)
			}
		},
		do: func(ctx context.Context, d *Deps, call playbooks.Call, in ProcessKill) (playbooks.Outcome, error) {
			return d.send(ctx, in.Host, in.task(call), func(ctx context.Context) (connector.Command, error) {
				return d.Client.Responses.StopProcess(ctx, connector.StopProcess{
					Hosts: []string{string(in.Host)}, Name: baseName(in.Name), PID: in.pid(),
				})
			})
		},
		poll: func(ctx context.Context, d *Deps, call playbooks.Call, in ProcessKill, ref string) (playbooks.Outcome, error) {
			return d.follow(ctx, in.Host, ref, in.task(call), func(ctx context.Context, c connector.HostCommand) playbooks.Outcome {
				out := d.verify(ctx, in.Host, probe{
					task: in.task(call), sql: processProbe, values: map[string]any{"pid": float64(in.PID)},
					wrong: in.stillRuns, unclear: in.maybeRuns,
				})
				out.Output = CommandOutput{Command: c.CommandID, Message: c.Message}
				return out
			})
		},
		find: func(ctx context.Context, d *Deps, _ playbooks.Call, in ProcessKill, since time.Time) ([]playbooks.Found, error) {
			return d.findCommands(ctx, in.Host, since, wanted{action: "stop", target: "process", values: []string{in.pid(), baseName(in.Name)}, program: true})
		},
	})
}

// processProbe has no null in its rows, because the server drops those that have
// one, and the process would look stopped.
const processProbe = "select coalesce(name, '') as name, coalesce(path, '') as path from processes where pid = :pid"

// stillRuns looks for the process; another one may have got its pid meanwhile.
func (in ProcessKill) stillRuns(rows []map[string]string) string {
	for _, row := range rows {
		// The column name is cut to 15 characters on Linux (proc(5), comm).
		if strings.EqualFold(row["name"], baseName(in.Name)) || strings.EqualFold(baseName(row["path"]), baseName(in.Name)) {
			return fmt.Sprintf("pid %d is still %s", in.PID, cmp.Or(row["path"], row["name"]))
		}
	}
	return ""
}

// maybeRuns looks for a process of which the host tells neither name nor path.
func (in ProcessKill) maybeRuns(rows []map[string]string) string {
	for _, row := range rows {
		if row["name"] == "" && row["path"] == "" {
			return fmt.Sprintf("pid %d is still there, and the host does not tell what it is", in.PID)
		}
	}
	return ""
}

func (in ProcessKill) pid() string { return strconv.FormatInt(int64(in.PID), 10) }

func (in ProcessKill) task(call playbooks.Call) task {
	return task{"stop", "stopped", fmt.Sprintf("%s (pid %d) on %s", baseName(in.Name), in.PID, hostName(call, in.Host))}
}

// baseName is what stands after the last slash or backslash, whatever the host: the
// path of an event does not tell of which kind it is.
func baseName(path string) string { return path[strings.LastIndexAny(path, `\/`)+1:] }
