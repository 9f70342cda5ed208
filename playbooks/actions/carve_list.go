package actions

import (
	"context"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/evidence"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// CarveList are the arguments of carve.list.
type CarveList struct {
	// Host is the host identifier; without it, the carves of all hosts are listed.
	Host Host `yaml:"host"`

	// Limit is how many are listed at most, from 1 to 1000.
	Limit int `yaml:"limit"`
}

// CarveListOutput is what carve.list leaves under .steps.<id>.output.
type CarveListOutput struct {
	// Carves are the carves on the server, the newest first.
	Carves []ListedCarve `json:"carves"`
	// More is set when there are more than the limit.
	More bool `json:"more"`
}

// ListedCarve is a carve on the server.
type ListedCarve struct {
	// Session is what carve.fetch and carve.delete take.
	Session string `json:"session"`
	// HostName is the name of the host.
	HostName string `json:"host_name"`
	// Status is what the server says, such as IN PROGRESS or COMPLETED.
	Status string `json:"status"`
	// Done is set when the archive can be fetched.
	Done bool `json:"done"`
	// Bytes is its size.
	Bytes int64 `json:"bytes"`
	// BlocksDone is how many blocks the server has; null: it does not tell.
	BlocksDone *int64 `json:"blocks_done"`
	// Blocks is how many blocks it consists of.
	Blocks int64 `json:"blocks"`
	// CreatedAt is when it began.
	CreatedAt time.Time `json:"created_at"`
	// Here is set when its archive is in the folder for carves.
	Here bool `json:"here"`
}

const maxListedCarves = 1000

func init() {
	add(kind[CarveList]{
		Spec: playbooks.Spec{
			Name:    "carve.list",
			Summary: "Lists the carves on the server, and how far they are.",
			Effect:  playbooks.Reads,
			Output:  CarveListOutput{},
			Example: "do: carve.list\nwith:\n  host: ${{ .alert.host.identifier }}\n",
			Timeout: time.Minute,
		},
		defaults: CarveList{Limit: 100},
		check: func(_ *Deps, in *CarveList, a *arguments) {
			if a.known("limit") && (in.Limit < 1 || in.Limit > maxListedCarves) {
				a.refuse("limit", "", "limit is %d, and must be from 1 to %d", in.Limit, maxListedCarves)
			}
		},
		do: listCarves,
	})
}

func listCarves(ctx context.Context, d *Deps, call playbooks.Call, in CarveList) (playbooks.Outcome, error) {
	what := "the carves on the server"
	if in.Host != "" {
		what = "the carves of " + hostName(call, in.Host)
	}
	result := CarveListOutput{Carves: []ListedCarve{}}
	for carve, err := range d.Client.Carves.List(ctx, connector.CarveQuery{Host: string(in.Host), Limit: min(in.Limit+1, 100)}) {
		if err != nil {
			return playbooks.Outcome{}, fmt.Errorf("list %s: %w", what, readError(err))
		}
		if len(result.Carves) == in.Limit {
			result.More = true
			break
		}
		result.Carves = append(result.Carves, ListedCarve{
			Session: carve.SessionID, HostName: carve.Hostname, Status: carve.Status, Done: carve.Done(), Bytes: carve.Size,
			BlocksDone: carve.BlocksDone, Blocks: carve.BlockCount, CreatedAt: carve.CreatedAt, Here: d.here(carve.SessionID),
		})
	}
	return playbooks.Outcome{
		State: soar.StepExecuted, Target: string(in.Host), Output: result,
		Summary: fmt.Sprintf("listed %s: %d", what, len(result.Carves)),
	}, nil
}

// here reports whether the archive of a carve is in the folder.
func (d *Deps) here(session string) bool {
	if d.Evidence == nil {
		return false
	}
	item, err := d.Evidence.Get(session)
	return err == nil && item.State == evidence.StateKept
}
