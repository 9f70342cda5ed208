package actions

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// LiveQueryInput are the arguments of live.query.
type LiveQueryInput struct {
	// SQL is one select statement of osquery's dialect. Values go in as :name
	// parameters, never by pasting text together.
	SQL string `yaml:"sql" required:"true"`

	// Params are the values of the parameters: text, number, true or false, null,
	// or a list of them for use with IN.
	Params map[string]any `yaml:"params"`

	// Hosts are the identifiers of the hosts that are asked.
	Hosts []Host `yaml:"hosts"`

	// Tags asks all hosts that carry one of these tags.
	Tags []string `yaml:"tags"`

	// AllHosts asks every host that is online. It excludes hosts and tags.
	AllHosts bool `yaml:"all_hosts"`

	// Wait is how long to wait for the answers of all hosts; one call of an action
	// is bounded by the engine, too.
	Wait time.Duration `yaml:"wait"`
}

// LiveQueryOutput is what live.query leaves under .steps.<id>.output.
type LiveQueryOutput struct {
	// Rows are the rows of all hosts. Values are text, as osquery has them.
	Rows []map[string]string `json:"rows"`
	// Hosts are the hosts that answered, in the order of their rows.
	Hosts []LiveQueryHost `json:"hosts"`
	// Asked is how many hosts were online and asked.
	Asked int `json:"asked"`
	// Partial means that some of them did not answer in time, or that rows were
	// left out because all of them have more than 256 KiB.
	Partial bool `json:"partial"`
}

// FoundNothing reports whether hosts answered, all of them, and there was no row.
func (o LiveQueryOutput) FoundNothing() bool {
	failed := slices.ContainsFunc(o.Hosts, func(h LiveQueryHost) bool { return h.Failed })
	return len(o.Hosts) > 0 && len(o.Rows) == 0 && !o.Partial && !failed
}

// LiveQueryHost is the answer of one host.
type LiveQueryHost struct {
	// Host is the host identifier; releases before 4.0 leave it empty.
	Host string `json:"host"`
	// Name is the host's name.
	Name string `json:"name"`
	// Rows is how many of the rows are its own; those of the first host come first.
	Rows int `json:"rows"`
	// Failed means that the statement failed there, not that it found nothing.
	Failed bool `json:"failed"`
}

// maxRowBytes bounds what a live query brings into a run.
const maxRowBytes = 256 << 10

func init() {
	add(kind[LiveQueryInput]{
		Spec: playbooks.Spec{
			Name:    "live.query",
			Summary: "Asks hosts that are online a question in SQL and waits for the rows.",
			Effect:  playbooks.Reads,
			Output:  LiveQueryOutput{},
			Example: "do: live.query\nwith:\n  hosts: [\"${{ .alert.host.identifier }}\"]\n  sql: select name, path, cmdline from processes where pid = :pid\n  params: {pid: \"${{ .alert.event.pid }}\"}\n",
			Timeout: 2 * time.Minute,
		},
		defaults: LiveQueryInput{Wait: 30 * time.Second},
		check:    checkQuery,
		do:       liveQuery,
	})
}

func checkQuery(_ *Deps, in *LiveQueryInput, a *arguments) {
	if !a.known("sql") {
		a.refuse("sql", "write :name in the statement, and the value under params", "a statement must not be put together from values of an alert")
	} else if in.SQL != "" {
		if err := onlyReads(in.SQL); err != nil {
			a.refuse("sql", "", "%v", err)
		} else if a.known("params") {
			if _, err := bindSQL(in.SQL, in.Params); err != nil {
				a.refuse("params", "", "%v", err)
			}
		}
	}
	if a.known("hosts") && a.known("tags") && a.known("all_hosts") {
		named := len(in.Hosts) + len(in.Tags)
		switch {
		case named == 0 && !in.AllHosts:
			a.refuse("hosts", "set hosts, tags, or all_hosts: true", "names no host to ask")
		case named > 0 && in.AllHosts:
			a.refuse("all_hosts", "", "excludes hosts and tags")
		}
	}
	for _, tag := range in.Tags {
		if err := connector.CheckTag(tag); err != nil {
			a.refuse("tags", "", "%v", err)
		}
	}
	if a.known("wait") && (in.Wait <= 0 || in.Wait > 10*time.Minute) {
		a.refuse("wait", "the server keeps answers for 10 minutes", "must be above zero and at most 10m")
	}
}

// effectTables are tables of osquery that do more than read when they are asked.
var effectTables = map[string]string{
	"curl":             "makes the host send a request",
	"curl_certificate": "makes the host open a connection",
}

// onlyReads refuses statements that change something, because live.query runs in
// observe mode, too.
func onlyReads(sql string) error {
	words, statements, err := sqlWords(sql)
	switch {
	case err != nil:
		return err
	case len(words) == 0:
		return fmt.Errorf("holds no statement")
	case statements > 1:
		return fmt.Errorf("holds more than one statement")
	case words[0] != "select" && words[0] != "with":
		return fmt.Errorf("expected a select statement, found %q", words[0])
	case slices.Contains(words, "carves") && slices.Contains(words, "carve"):
		return fmt.Errorf("this would carve files; use the action carve.file")
	}
	for _, word := range words {
		if why, ok := effectTables[word]; ok {
			return fmt.Errorf("table %s %s", word, why)
		}
		if slices.Contains([]string{"insert", "update", "delete", "attach", "drop", "create"}, word) {
			return fmt.Errorf("%s is not for live.query", strings.ToUpper(word))
		}
	}
	return nil
}

// sqlWords are the names and key words of a statement in lower case, quoted
// names included, and how many statements there are.
func sqlWords(sql string) (words []string, statements int, err error) {
	var word strings.Builder
	flush := func() {
		if word.Len() > 0 {
			words = append(words, strings.ToLower(word.String()))
			word.Reset()
		}
	}
	fresh := true // nothing of the current statement seen yet
	err = scanSQL(sql, func(piece string) {
		switch c := piece[0]; {
		case nameByte(c):
			word.WriteByte(c)
		case len(piece) > 1 && (c == '"' || c == '`' || c == '['):
			flush()
			words = append(words, strings.ToLower(piece[1:len(piece)-1]))
		case c == ';':
			flush()
			fresh = true
			return
		default:
			flush()
			if c == ' ' || c == '\t' || c == '\n' || c == '\r' || len(piece) > 1 && c != '\'' { // blanks and comments
				return
			}
		}
		if fresh {
			fresh = false
			statements++
		}
	}, func(string) error { flush(); return nil })
	flush()
	return words, statements, err
}

func liveQuery(ctx context.Context, d *Deps, _ playbooks.Call, in LiveQueryInput) (playbooks.Outcome, error) {
	var out playbooks.Outcome
	query := connector.LiveQuery{Tags: in.Tags, AllHosts: in.AllHosts, Description: "erbridge live.query"}
	for _, host := range in.Hosts {
		query.Hosts = append(query.Hosts, string(host))
	}
	if len(query.Hosts) == 1 && len(query.Tags) == 0 {
		out.Target = query.Hosts[0]
	}
	var err error
	if query.SQL, err = bindSQL(in.SQL, in.Params); err != nil {
		return out, err
	}
	ticket, err := d.Client.Queries.Live(ctx, query)
	if err != nil {
		return out, d.queryError(ctx, out.Target, err)
	}
	wait := in.Wait
	if deadline, ok := ctx.Deadline(); ok {
		// What has come by then is better than nothing.
		wait = max(min(wait, time.Until(deadline)-time.Second), time.Second)
	}
	results, err := d.Client.Queries.Results(ctx, ticket, wait)
	if err != nil {
		return out, fmt.Errorf("live query: %w", readError(err))
	}
	output := LiveQueryOutput{Rows: []map[string]string{}, Hosts: []LiveQueryHost{}, Asked: ticket.Online, Partial: !results.Complete}
	room, clipped := maxRowBytes, false
	for _, answer := range results.Hosts {
		fitting := 0
		for _, row := range answer.Rows {
			for name, value := range row {
				room -= len(name) + len(value) + len(`"":"",`)
			}
			if room < 0 {
				output.Partial, clipped = true, true
				break
			}
			fitting++
		}
		rows := answer.Rows[:fitting]
		output.Rows = append(output.Rows, rows...)
		output.Hosts = append(output.Hosts, LiveQueryHost{Host: answer.Identifier, Name: answer.Name, Rows: len(rows), Failed: answer.Failed})
	}
	out.Output, out.State = output, soar.StepExecuted
	out.Summary = fmt.Sprintf("%d of %d hosts answered with %d rows", len(output.Hosts), output.Asked, len(output.Rows))
	if clipped {
		out.Summary += fmt.Sprintf("; more rows were left out, since all of them have more than %d KiB", maxRowBytes>>10)
	}
	if len(output.Hosts) == 0 {
		out.State, out.Error = soar.StepFailed, errNoAnswer.Error()
	}
	return out, nil
}

// queryError tells a host that is away from a statement that is wrong: the
// server refuses both, in words that change from release to release.
func (d *Deps) queryError(ctx context.Context, host string, err error) error {
	if host != "" && definite(err) {
		if known, err := d.host(ctx, HostRef(host)); err == nil && known.Online != nil && !*known.Online {
			return errOffline
		}
	}
	return fmt.Errorf("live query: %w", readError(err))
}
