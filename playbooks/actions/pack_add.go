package actions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// PackAdd are the arguments of pack.add.
type PackAdd struct {
	// Name is the name of the pack.
	Name string `yaml:"name" required:"true"`

	// Queries are its scheduled queries. They stand in the playbook, where they are reviewed,
	// and cannot be computed.
	Queries []PackQuery `yaml:"queries" required:"true"`

	// Platform keeps to hosts of a platform.
	Platform string `yaml:"platform" enum:"windows,linux,darwin"`

	// Version is that of the pack.
	Version string `yaml:"version"`

	// Description says what it is for.
	Description string `yaml:"description"`

	// Category is under which the server shows it.
	Category string `yaml:"category" enum:"Intrusion Detection,Monitoring,Compliance and Management,Forensics and Incident Response,General,Others"`

	// Tags are the tags whose hosts run its queries. Without any, no host does.
	Tags []string `yaml:"tags"`

	// Replace lets a pack of that name that is there already get these queries, and become
	// what else stands here. Without it, such a pack is left alone, and the call refused. A
	// query of the pack keeps its SQL in any case: the server changes none.
	Replace bool `yaml:"replace"`
}

// PackQuery is a query of a pack.
type PackQuery struct {
	// Name is the name of the query.
	Name string `yaml:"name" required:"true"`

	// SQL is one select statement of osquery's dialect.
	SQL string `yaml:"sql" required:"true"`

	// Interval is the time between two runs, whole seconds.
	Interval time.Duration `yaml:"interval" required:"true"`

	// Description says what it is for.
	Description string `yaml:"description"`

	// Snapshot makes each run tell all rows, not only what came and went.
	Snapshot bool `yaml:"snapshot"`
}

// PackAddOutput is what pack.add leaves under .steps.<id>.output.
type PackAddOutput struct {
	// Pack is the server's id of the pack.
	Pack int64 `json:"pack"`
	// Name is the name of the pack.
	Name string `json:"name"`
	// Added tells whether there was no pack of that name before.
	Added bool `json:"added"`
	// Queries are the names of the queries that the pack did not have before.
	Queries []string `json:"queries"`
}

func init() {
	adding := change[PackAdd, PackAddOutput]{
		make: addPack,
		look: func(ctx context.Context, d *Deps, _ playbooks.Call, in PackAdd, _ PackAddOutput) (string, error) {
			pack, there, err := d.pack(ctx, in.Name)
			switch {
			case err != nil:
				return "", err
			case !there:
				return "has no pack " + soar.Visible(in.Name), nil
			}
			return in.differsFrom(pack), nil
		},
		words: func(_ playbooks.Call, in PackAdd, changed PackAddOutput) string {
			if changed.Added {
				return fmt.Sprintf("added the pack %s with %d queries", changed.Name, len(in.Queries))
			}
			return fmt.Sprintf("changed the pack %s; it has %d queries more", changed.Name, len(changed.Queries))
		},
	}
	add(kind[PackAdd]{
		Spec: playbooks.Spec{
			Name:       "pack.add",
			Summary:    "Adds a pack of scheduled queries, which the agents of all hosts with one of its tags run by themselves.",
			Effect:     playbooks.Repeatable,
			Needs:      []string{"admin"},
			Everywhere: true,
			Output:     PackAddOutput{},
			Example:    "do: pack.add\nwith:\n  name: after-a-break-in\n  platform: windows\n  tags: [under-investigation]\n  queries:\n    - {name: new-services, sql: \"select name, path from services\", interval: 5m}\n",
			Timeout:    2 * time.Minute,
		},
		check: func(_ *Deps, in *PackAdd, a *arguments) {
			if strings.TrimSpace(in.Name) != in.Name || strings.ContainsFunc(in.Name, soar.IsHidden) {
				a.refuse("name", "", "has hidden characters, or blanks at its ends")
			}
			if !a.known("queries") {
				a.refuse("queries", "write them into the playbook", "statements must not be put together from values of an alert")
				return
			}
			seen := map[string]bool{}
			for _, q := range in.Queries {
				checkScheduled(fmt.Sprintf("query %.80q: ", q.Name), q.Name, q.SQL, q.Interval, a)
				if seen[q.Name] {
					a.refuse("queries", "", "query %.80q stands twice", q.Name)
				}
				seen[q.Name] = true
			}
			for _, tag := range in.Tags {
				if err := connector.CheckTag(tag); err != nil && a.known("tags") {
					a.refuse("tags", "", "%v", err)
				}
			}
		},
		ready: func(ctx context.Context, d *Deps, _ playbooks.Call, in PackAdd) error {
			pack, there, err := d.pack(ctx, in.Name)
			if err == nil && there {
				err = in.mayBecome(pack)
			}
			switch {
			case err != nil:
				return err
			case there && in.differsFrom(pack) == "":
				return fmt.Errorf("%w: the server has the pack %s", playbooks.ErrNothingToDo, pack.Name)
			}
			return d.mayAdminister(ctx, "adding a pack")
		},
		do:   adding.do,
		poll: adding.poll,
	})
}

// mayBecome refuses to change a pack that is there, where nobody has asked for that or
// the server would not do it.
func (in PackAdd) mayBecome(pack connector.Pack) error {
	differs := in.differsFrom(pack)
	if differs == "" {
		return nil
	}
	for _, q := range in.Queries {
		if i := indexOfQuery(pack, q.Name); i >= 0 && !sameSQL(pack.Queries[i].SQL, q.SQL) {
			return fmt.Errorf("the server has a pack %s whose query %s has another SQL, which it would keep: take another name, or change it in the server's console", pack.Name, q.Name)
		}
	}
	if !in.Replace {
		return fmt.Errorf("the server has a pack %s already, which is another one (%s), and would change it: take another name, or say replace: true", pack.Name, differs)
	}
	return nil
}

func indexOfQuery(pack connector.Pack, name string) int {
	return slices.IndexFunc(pack.Queries, func(q connector.ScheduledQuery) bool { return q.Name == name })
}

func sameSQL(a, b string) bool { return strings.TrimSpace(a) == strings.TrimSpace(b) }

// differsFrom says how a pack on the server is another one than this; empty when it is not.
func (in PackAdd) differsFrom(pack connector.Pack) string {
	for _, q := range in.Queries {
		switch i := indexOfQuery(pack, q.Name); {
		case i < 0:
			return fmt.Sprintf("it lacks the query %s", q.Name)
		case !sameSQL(pack.Queries[i].SQL, q.SQL):
			return fmt.Sprintf("its query %s has another SQL", q.Name)
		}
	}
	for _, field := range []struct{ name, has, wants string }{
		{"platform", pack.Platform, in.Platform}, {"version", pack.Version, in.Version},
		{"description", pack.Description, soar.Visible(in.Description)}, {"category", pack.Category, in.Category},
	} {
		if field.wants != "" && field.has != field.wants {
			return fmt.Sprintf("its %s is %q", field.name, field.has)
		}
	}
	if lacking := without(in.Tags, pack.Tags); len(lacking) > 0 {
		return "it lacks the tags " + strings.Join(lacking, ", ")
	}
	return ""
}

func addPack(ctx context.Context, d *Deps, _ playbooks.Call, in PackAdd) (PackAddOutput, error) {
	pack, there, err := d.pack(ctx, in.Name)
	changed := PackAddOutput{Pack: pack.ID, Name: in.Name, Added: !there, Queries: []string{}}
	if err == nil && there {
		err = in.mayBecome(pack)
	}
	if err != nil || there && in.differsFrom(pack) == "" {
		return changed, err
	}
	sent := connector.NewPack{
		Name: in.Name, Platform: in.Platform, Version: in.Version, Description: soar.Visible(in.Description), Category: in.Category, Tags: in.Tags,
	}
	if there { // what is left out here would be emptied there
		sent = kept(sent, pack)
	}
	for _, q := range in.Queries {
		if indexOfQuery(pack, q.Name) < 0 {
			changed.Queries = append(changed.Queries, q.Name)
		}
		sent.Queries = append(sent.Queries, connector.ScheduledQuery{
			Name: q.Name, SQL: q.SQL, Interval: q.Interval, Description: soar.Visible(q.Description), Snapshot: q.Snapshot,
		})
	}
	answer, err := d.Client.Packs.Add(ctx, sent)
	if changed.Pack == 0 {
		changed.Pack = answer.ID
	}
	if err != nil {
		return changed, fmt.Errorf("pack %s: %w", in.Name, effectError(err))
	}
	return changed, nil
}

// kept keeps of a pack what is not said anew. Tags are added to those that it has.
func kept(sent connector.NewPack, pack connector.Pack) connector.NewPack {
	for _, field := range []struct {
		says *string
		has  string
	}{{&sent.Platform, pack.Platform}, {&sent.Version, pack.Version}, {&sent.Description, pack.Description}, {&sent.Category, pack.Category}} {
		if *field.says == "" {
			*field.says = field.has
		}
	}
	if pack.Shard != nil {
		sent.Shard = *pack.Shard
	}
	if len(sent.Tags) > 0 {
		sent.Tags = append(slices.Clone(pack.Tags), without(sent.Tags, pack.Tags)...)
	}
	return sent
}

// pack finds a pack by its name.
func (d *Deps) pack(ctx context.Context, name string) (connector.Pack, bool, error) {
	for p, err := range d.Client.Packs.List(ctx, connector.PackQuery{Search: searchable(name)}) {
		if _, malformed := errors.AsType[*connector.MalformedError](err); malformed {
			continue
		}
		if err != nil {
			return p, false, fmt.Errorf("packs: %w", readError(err))
		}
		if p.Name == name {
			return p, true, nil
		}
	}
	return connector.Pack{}, false, nil
}
