package actions

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// DefenderScan are the arguments of defender.scan.
type DefenderScan struct {
	// Host is the host identifier.
	Host Host `yaml:"host" required:"true"`

	// Kind is how much is scanned. custom scans the path.
	Kind string `yaml:"kind" enum:"quick,full,custom"`

	// Path is the file or folder of a custom scan.
	Path string `yaml:"path"`
}

func init() {
	add(kind[DefenderScan]{
		Spec: playbooks.Spec{
			Name:    "defender.scan",
			Summary: "Starts a scan of Windows Defender on a host, waits for its result, and asks Defender whether it has scanned.",
			// Each call queues another scan.
			Effect:  playbooks.Once,
			Needs:   []string{"enterprise", "response", "windows"},
			Kind:    "scan",
			Output:  CommandOutput{},
			Example: "do: defender.scan\nwith:\n  host: ${{ .alert.host.identifier }}\n  kind: custom\n  path: ${{ .alert.event.target_path }}\n",
			Timeout: 30 * time.Minute,
		},
		defaults: DefenderScan{Kind: "quick"},
		check: func(_ *Deps, in *DefenderScan, a *arguments) {
			if !a.known("kind") || !a.known("path") {
				return
			}
			if custom := in.Kind == "custom"; custom && strings.TrimSpace(in.Path) == "" {
				a.refuse("path", "", "a custom scan needs a path")
			} else if !custom && in.Path != "" {
				a.refuse("path", "set kind: custom", "only a custom scan has a path")
			}
		},
		host: func(in DefenderScan) Host { return in.Host },
		do: func(ctx context.Context, d *Deps, call playbooks.Call, in DefenderScan) (playbooks.Outcome, error) {
			kind := map[string]connector.ScanKind{"quick": connector.ScanQuick, "full": connector.ScanFull, "custom": connector.ScanCustom}[in.Kind]
			return d.send(ctx, in.Host, in.task(call), func(ctx context.Context) (connector.Command, error) {
				return d.Client.Defender.Scan(ctx, string(in.Host), kind, in.Path)
			})
		},
		poll: func(ctx context.Context, d *Deps, call playbooks.Call, in DefenderScan, ref string) (playbooks.Outcome, error) {
			return d.follow(ctx, in.Host, ref, in.task(call), func(ctx context.Context, c connector.HostCommand) playbooks.Outcome {
				out := d.scanned(ctx, call, in, c.CreatedAt)
				out.Output = CommandOutput{Command: c.CommandID, Message: c.Message}
				return out
			})
		},
		find: func(ctx context.Context, d *Deps, _ playbooks.Call, in DefenderScan, since time.Time) ([]playbooks.Found, error) {
			return d.findCommands(ctx, in.Host, since, wanted{mention: "scan", values: scanValues(in), byAction: true})
		},
	})
}

// scanned asks Defender whether it has scanned since a scan was asked for.
func (d *Deps) scanned(ctx context.Context, call playbooks.Call, in DefenderScan, asked time.Time) playbooks.Outcome {
	t := in.task(call)
	message, err := d.askDefender(ctx, in.Host, d.Client.Defender.ComputerStatus)
	if err != nil {
		return t.unverified(err.Error())
	}
	if strings.TrimSpace(message) == "" {
		return t.unverified("Defender was asked when its last scan ended, and said nothing")
	}
	ended, told := scanEnd(message, in.Kind)
	switch {
	case !told: // the format of the answer is not documented, and of a custom scan it may say nothing
		return playbooks.Outcome{State: soar.StepExecuted, Summary: t.finished() + "; not verified: Defender does not tell when such a scan last ended"}
	case ended.IsZero():
		return t.unverified("Defender says that it has not scanned yet")
	case ended.Before(asked.Add(-clockSlack)):
		return t.unverified("Defender says that its last scan ended at " + ended.UTC().Format(time.RFC3339))
	}
	return playbooks.Outcome{State: soar.StepVerified, Summary: t.finished() + "; verified with Defender"}
}

// clockSlack is how far the clocks of server and host may lie apart.
const clockSlack = 5 * time.Minute

// scanEnd reads when Defender last ended a scan of a kind. The names are those of
// Get-MpComputerStatus, and LastScanEndTime for servers that tell only one. A
// zero time is told by a Defender that has not scanned yet.
func scanEnd(message, kind string) (ended time.Time, told bool) {
	var status map[string]any
	if json.Unmarshal([]byte(message), &status) != nil {
		return ended, false
	}
	for _, name := range []string{map[string]string{"quick": "QuickScanEndTime", "full": "FullScanEndTime"}[kind], "LastScanEndTime"} {
		value, there := status[name]
		told = told || there && value == nil // it has not scanned yet
		text, _ := value.(string)
		if t, err := time.Parse(time.RFC3339, text); err == nil {
			return t, true
		}
		// Windows PowerShell 5 writes dates as /Date(1700000000000)/.
		digits, isDate := strings.CutPrefix(text, "/Date(")
		if ms, err := strconv.ParseInt(strings.TrimSuffix(digits, ")/"), 10, 64); isDate && err == nil {
			return time.UnixMilli(ms), true
		}
	}
	return ended, told
}

// scanValues are what the record of such a scan contains. The guide does not show
// a record of a scan; one that is not recognised leads to a second scan, which
// costs time and harms nothing.
func scanValues(in DefenderScan) []string {
	if in.Kind == "custom" {
		return []string{in.Path}
	}
	return nil
}

func (in DefenderScan) task(call playbooks.Call) task {
	if in.Kind == "custom" {
		return task{"scan", "scanned", fmt.Sprintf("%s on %s with Defender", in.Path, hostName(call, in.Host))}
	}
	return task{"run", "ran", fmt.Sprintf("a %s scan of Defender on %s", in.Kind, hostName(call, in.Host))}
}
