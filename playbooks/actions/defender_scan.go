package actions

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
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
			Summary: "Starts a scan of Windows Defender on a host and waits for its result.",
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
		do: func(ctx context.Context, d *Deps, call playbooks.Call, in DefenderScan) (playbooks.Outcome, error) {
			kind := map[string]connector.ScanKind{"quick": connector.ScanQuick, "full": connector.ScanFull, "custom": connector.ScanCustom}[in.Kind]
			return d.send(ctx, in.Host, in.task(call), func(ctx context.Context) (connector.Command, error) {
				return d.Client.Defender.Scan(ctx, string(in.Host), kind, in.Path)
			})
		},
		poll: func(ctx context.Context, d *Deps, call playbooks.Call, in DefenderScan, ref string) (playbooks.Outcome, error) {
			return d.follow(ctx, in.Host, ref, in.task(call), nil)
		},
		find: func(ctx context.Context, d *Deps, _ playbooks.Call, in DefenderScan, since time.Time) ([]playbooks.Found, error) {
			return d.findCommands(ctx, in.Host, since, wanted{mention: "scan", values: scanValues(in), byAction: true})
		},
	})
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
