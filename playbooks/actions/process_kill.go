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
// system may have given it to another process since the event. Before anything is sent,
// the host is asked which process has the pid; when that is another one, by name, path
// or start, the step is refused.
type ProcessKill struct {
	// Host is the host identifier.
	Host Host `yaml:"host" required:"true"`

	// PID is the number of the process.
	PID Number `yaml:"pid" required:"true"`

	// Name is the name of the program, such as calc.exe, or its full path. What
	// stands after the last slash or backslash is sent, since the server does not
	// say that it takes a path; the path is compared with that of the process.
	Name string `yaml:"name" required:"true"`

	// Started is when the process started, in seconds since 1970 as the table processes
	// of osquery has it, or as RFC 3339. Without it, a process that started after the
	// event of the alert is taken for another one, when the event is about this pid.
	Started Moment `yaml:"started"`
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
		host: func(in ProcessKill) Host { return in.Host },
		ready: func(ctx context.Context, d *Deps, call playbooks.Call, in ProcessKill) error {
			return in.identify(ctx, d, call)
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
const processProbe = "select coalesce(name, '') as name, coalesce(path, '') as path, coalesce(start_time, 0) as start_time from processes where pid = :pid"

const (
	// startedApart is how far two readings of one start may lie apart: the second that
	// is rounded away, and how a system derives it from the time it has been up.
	startedApart = 2 * time.Second
	// eventLag is how much later than its event a process may seem to have started: the
	// two times come from different clocks of the host.
	eventLag = time.Minute
)

// identify looks whether the process is the one that is meant. A system gives the pid
// of a process that has ended to another one, and on a busy host soon.
func (in ProcessKill) identify(ctx context.Context, d *Deps, call playbooks.Call) error {
	where := hostName(call, in.Host)
	rows, err := d.ask(ctx, in.Host, processProbe, map[string]any{"pid": float64(in.PID)})
	switch {
	case err != nil:
		return fmt.Errorf("which process has pid %d on %s: %w: %w", in.PID, where, playbooks.ErrTransient, err)
	case len(rows) == 0:
		return fmt.Errorf("no process has pid %d on %s: %s has ended already", in.PID, where, baseName(in.Name))
	}
	row := rows[0]
	path, name := row["path"], cmp.Or(row["path"], row["name"])
	started := startOf(row)
	event := in.eventTime(call)
	switch {
	case name == "":
		return fmt.Errorf("%s does not tell what pid %d is; whether it still is %s cannot be said", where, in.PID, baseName(in.Name))
	case !in.named(row):
		return fmt.Errorf("pid %d on %s is %s now and not %s: the pid was given to another process", in.PID, where, name, baseName(in.Name))
	case path != "" && strings.ContainsAny(in.Name, `\/`) && !samePath(path, in.Name):
		return fmt.Errorf("pid %d on %s is %s now and not %s: the pid was given to another process", in.PID, where, path, in.Name)
	case started.IsZero():
	case !in.Started.IsZero() && started.Sub(time.Time(in.Started)).Abs() > startedApart:
		return fmt.Errorf("pid %d on %s is a %s that started at %s, and not at %s: the pid was given to another process",
			in.PID, where, baseName(name), started.Format(time.RFC3339), time.Time(in.Started).Format(time.RFC3339))
	case !event.IsZero() && started.After(event.Add(eventLag)):
		return fmt.Errorf("pid %d on %s is a %s that started at %s, after the event of the alert at %s: the pid was given to another process",
			in.PID, where, baseName(name), started.Format(time.RFC3339), event.UTC().Format(time.RFC3339))
	}
	return nil
}

// eventTime is when the process did what the alert is about, if that is about it.
func (in ProcessKill) eventTime(call playbooks.Call) time.Time {
	a := &call.Alert
	if !strings.EqualFold(a.Host.Identifier, string(in.Host)) || a.Event["pid"] != in.pid() {
		return time.Time{}
	}
	return a.EventTime
}

// startOf is when a process started; zero when the host does not tell.
func startOf(row map[string]string) time.Time {
	seconds, err := strconv.ParseInt(row["start_time"], 10, 64)
	if err != nil || seconds <= 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

// named reports whether a process bears the wanted name.
func (in ProcessKill) named(row map[string]string) bool {
	// The column name is cut to 15 characters on Linux (proc(5), comm).
	return strings.EqualFold(row["name"], baseName(in.Name)) || strings.EqualFold(baseName(row["path"]), baseName(in.Name))
}

// samePath compares full paths. Those of Windows have no case, and may name their
// volume by its letter or as the kernel does.
func samePath(a, b string) bool {
	if !strings.Contains(a, `\`) && !strings.Contains(b, `\`) {
		return a == b
	}
	volumeA, restA := splitVolume(a)
	volumeB, restB := splitVolume(b)
	alike := len(volumeA) != 2 || len(volumeB) != 2 || strings.EqualFold(volumeA, volumeB) // only letters can be compared
	return alike && strings.EqualFold(restA, restB)
}

// splitVolume splits a path of Windows: C: or \Device\HarddiskVolume3, and the rest.
func splitVolume(path string) (volume, rest string) {
	path = strings.ReplaceAll(path, "/", `\`)
	for _, prefix := range []string{`\\?\`, `\??\`} {
		path = strings.TrimPrefix(path, prefix)
	}
	end := 2
	if device := `\device\`; len(path) > len(device) && strings.EqualFold(path[:len(device)], device) {
		end = len(device) + max(strings.IndexByte(path[len(device):], '\\'), 0)
	}
	if len(path) < end {
		return "", path
	}
	return path[:end], path[end:]
}

// stillRuns looks for the process; another one may have got its pid meanwhile.
func (in ProcessKill) stillRuns(rows []map[string]string) string {
	for _, row := range rows {
		started := startOf(row)
		another := !in.Started.IsZero() && !started.IsZero() && started.Sub(time.Time(in.Started)).Abs() > startedApart
		if in.named(row) && !another {
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
