package actions

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// How soon to look at a command that a host has been given.
const (
	firstPoll = time.Second
	nextPoll  = 2 * time.Second
)

// maxMessageBytes bounds what of a host's answer goes into a run.
const maxMessageBytes = 128 << 10

// CommandOutput is what a response action leaves under .steps.<id>.output.
type CommandOutput struct {
	// Command is the server's id of the command.
	Command string `json:"command"`
	// Message is what the host answered, as it came.
	Message string `json:"message"`
}

// clipBytes cuts a text that is too long between two characters, and shows it.
func clipBytes(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit] + "…"
}

// A ref names what Poll looks at: "cmd:" and the command id of one host, or
// "openc2:" and the id of the action, which the server gives out for scripts and
// Defender instead.
func commandRef(c connector.Command) string {
	if c.CommandID != "" {
		return "cmd:" + c.CommandID
	}
	return "openc2:" + strconv.FormatInt(c.OpenC2ID, 10)
}

// task says what a call is about, so that a command which was only accepted never
// reads like one that was carried out.
type task struct {
	todo, done string // stop, stopped
	what       string // evil.exe (pid 7)
}

// hostName is what people call a host: its name, where the alert at hand tells it.
func hostName(call playbooks.Call, host Host) string {
	if known := call.Alert.Host; known.Name != "" && strings.EqualFold(known.Identifier, string(host)) {
		return known.Name
	}
	return string(host)
}

// failure says of an error what was being done; such a call has no summary.
func (t task) failure(err error) error { return fmt.Errorf("%s %s: %w", t.todo, t.what, err) }

func (t task) asked() string     { return "asked to " + t.todo + " " + t.what }
func (t task) finished() string  { return t.done + " " + t.what }
func (t task) failed() string    { return "could not " + t.todo + " " + t.what }
func (t task) cancelled() string { return "cancelled: " + t.todo + " " + t.what }

// reachable asks whether a host can take a response action now.
func (d *Deps) reachable(ctx context.Context, host Host) error {
	channel, err := d.Client.Responses.Status(ctx, string(host))
	switch {
	case errors.Is(err, connector.ErrUnavailable):
		return errNoResponse
	case err != nil:
		return fmt.Errorf("response status: %w", readError(err))
	case !channel.EndpointOnline:
		// Asked first: a host that is away says nothing about its settings.
		return errOffline
	case !channel.ResponseEnabled:
		return errSwitchedOff
	}
	return nil
}

// send asks whether the host can take a command still, sends it, and says what to
// wait for. The server itself would keep a command for a host that went away since it
// was ready, and run it whenever the host comes back; here it is not sent at all then.
func (d *Deps) send(ctx context.Context, host Host, t task, command func(context.Context) (connector.Command, error)) (playbooks.Outcome, error) {
	out := playbooks.Outcome{Target: string(host)}
	if err := d.reachable(ctx, host); err != nil {
		return out, t.failure(err)
	}
	sent, err := command(ctx)
	if err != nil {
		return out, t.failure(effectError(err))
	}
	if sent.CommandID == "" && sent.OpenC2ID == 0 {
		return out, t.failure(fmt.Errorf("%w: the server took the command and gave no id", playbooks.ErrUncertain))
	}
	out.State, out.Ref, out.PollAfter, out.Summary = soar.StepAccepted, commandRef(sent), firstPoll, t.asked()
	return out, nil
}

// follow looks at a command once. When the host has carried it out, done says
// what came of it; nil stands for "executed".
func (d *Deps) follow(ctx context.Context, host Host, ref string, t task, done func(context.Context, connector.HostCommand) playbooks.Outcome) (playbooks.Outcome, error) {
	command, found, err := d.lookUp(ctx, host, ref)
	if err != nil {
		return playbooks.Outcome{}, err
	}
	out := playbooks.Outcome{State: soar.StepAccepted, Ref: ref, PollAfter: nextPoll, Target: string(host), Summary: t.asked()}
	if !found {
		return out, nil
	}
	command.Message = clipBytes(command.Message, maxMessageBytes)
	output := CommandOutput{Command: command.CommandID, Message: command.Message}
	switch strings.ToLower(command.Status) {
	case "success":
		out.State, out.Summary = soar.StepExecuted, t.finished()
		if done != nil {
			out = done(ctx, command)
			out.Ref, out.Target = ref, string(host)
		}
	case "failure":
		out.State, out.Summary, out.Error = soar.StepFailed, t.failed(), failureInWords(command.Message)
	case "cancelled", "canceled":
		out.State, out.Summary, out.Error = soar.StepCancelled, t.cancelled(), "somebody cancelled the command on the server"
	default:
		// The guide names no word for a command that is under way, so every word
		// but the final ones means that.
		if command.Status != "" {
			out.Summary += fmt.Sprintf("; the server says %q", clipBytes(command.Status, 80))
		}
		return out, nil
	}
	out.PollAfter = 0
	if out.Output == nil {
		out.Output = output
	}
	return out, nil
}

// lookUp finds the command of one host behind a ref. An action has no row for
// the host before the server has handed it on.
func (d *Deps) lookUp(ctx context.Context, host Host, ref string) (command connector.HostCommand, found bool, err error) {
	kind, id, _ := strings.Cut(ref, ":")
	switch kind {
	case "cmd":
		command, err = d.Client.Responses.Get(ctx, id)
		return command, err == nil, err
	case "openc2":
		action, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return command, false, fmt.Errorf("command reference %q: %w", ref, err)
		}
		rows, err := d.Client.Responses.View(ctx, action)
		if err != nil || len(rows) == 0 {
			return command, false, err
		}
		if len(rows) == 1 {
			return rows[0], true, nil
		}
		node, err := d.Client.Hosts.Get(ctx, string(host))
		if err != nil {
			return command, false, err
		}
		for _, row := range rows {
			if row.NodeID == node.ID {
				return row, true, nil
			}
		}
		return command, false, nil
	}
	return command, false, fmt.Errorf("command reference %q: expected cmd: or openc2:", ref)
}

// failureInWords explains the codes that hosts answer with.
func failureInWords(message string) string {
	words := map[string]string{
		"RESP_SERVER_DISABLED": errSwitchedOff.Error(),
		"FILE_NOT_FOUND":       "there is no such file on the host",
	}
	code := strings.ReplaceAll(strings.ToUpper(strings.TrimSpace(message)), " ", "_")
	if text, ok := words[code]; ok {
		return text + " (" + code + ")"
	}
	if message == "" {
		return "the host reports a failure and gives no reason"
	}
	return message
}

// wanted describes a call as the server remembers it.
type wanted struct {
	action, target string   // stop, process
	values         []string // what the parameters must contain: pid, path, rule name
	prefix         bool     // values are only beginnings
	program        bool     // values are compared by their last part, without case
	script         string   // the script's name
	mention        string   // a word that stands somewhere in the record
	byAction       bool     // the call was answered with an action id, not with a command id
	mark           string   // set when one of the values carries the call's mark
}

// findCommands looks in the server's list for commands like the wanted one that
// were created at or after since.
func (d *Deps) findCommands(ctx context.Context, host Host, since time.Time, want wanted) ([]playbooks.Found, error) {
	node, err := d.Client.Hosts.Get(ctx, string(host))
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", host, readError(err))
	}
	actions, err := rowsSince(ctx, since, func(ctx context.Context, start, limit int) (connector.Page[connector.ResponseAction], error) {
		return d.Client.Responses.Page(ctx, connector.ResponseQuery{Column: "created_at", Desc: true, Start: start, Limit: limit})
	}, func(a connector.ResponseAction) (string, time.Time) { return strconv.FormatInt(a.ID, 10), a.CreatedAt })
	if err != nil {
		return nil, findError(err)
	}
	var found []playbooks.Found
	for _, action := range actions {
		if !want.like(action) {
			continue
		}
		rows, err := d.Client.Responses.View(ctx, action.ID)
		if err != nil {
			return nil, findError(err)
		}
		// An action has no row for a host before the server has handed it on.
		if len(rows) == 0 || len(rows) < action.Hosts {
			return nil, fmt.Errorf("%w: action %d has %d hosts, and shows %d", errIncomplete, action.ID, action.Hosts, len(rows))
		}
		row, sent, err := rowOf(node, action, rows)
		if err != nil {
			return nil, err
		}
		if !sent && anew(node, rows) {
			return nil, fmt.Errorf("%w: %s was enrolled anew, and action %d may have gone to what it was before", errIncomplete, node.Name, action.ID)
		}
		if !sent {
			continue
		}
		ref := "cmd:" + row.CommandID
		if want.byAction || row.CommandID == "" {
			ref = "openc2:" + strconv.FormatInt(action.ID, 10)
		}
		found = append(found, playbooks.Found{Ref: ref, At: action.CreatedAt, Mark: want.mark})
	}
	return found, nil
}

// anew reports whether rows tell of a host of that name under another id.
func anew(node connector.Host, rows []connector.HostCommand) bool {
	return node.Name != "" && slices.ContainsFunc(rows, func(row connector.HostCommand) bool { return strings.EqualFold(row.Hostname, node.Name) })
}

// rowOf finds the row of a host among those of an action, and says whether the
// action went to the host at all. A row that does not tell its host may be of any,
// unless it is the only one of the only host and bears the host's name.
func rowOf(node connector.Host, action connector.ResponseAction, rows []connector.HostCommand) (row connector.HostCommand, sent bool, err error) {
	unnamed := 0
	for _, row := range rows {
		switch row.NodeID {
		case node.ID:
			return row, true, nil
		case 0:
			unnamed++
		}
	}
	switch {
	case unnamed == 0:
		return row, false, nil
	case len(rows) == 1 && action.Hosts == 1 && node.Name != "" && strings.EqualFold(rows[0].Hostname, node.Name):
		return rows[0], true, nil
	}
	return row, false, fmt.Errorf("%w: action %d has %d rows that do not tell their host", errIncomplete, action.ID, unnamed)
}

func findError(err error) error {
	if errors.Is(err, connector.ErrUnavailable) {
		return playbooks.ErrCannotTell
	}
	return fmt.Errorf("response actions: %w", readError(err))
}

// like reports whether the server's record is of such a call. The guide shows
// the parameters of a stopped process only, so the names of parameters are not
// looked at: every wanted value must be there, whatever it is called.
func (w wanted) like(action connector.ResponseAction) bool {
	if w.script != "" && action.ScriptName != w.script {
		return false
	}
	if w.action != "" && !strings.EqualFold(action.Action, w.action) || w.target != "" && !strings.EqualFold(action.Target, w.target) {
		return false
	}
	texts := leaves(action.Command)
	if w.mention != "" && !slices.ContainsFunc(append(texts, action.Action, action.Target), func(text string) bool {
		return strings.Contains(strings.ToLower(text), w.mention)
	}) {
		return false
	}
	for _, value := range w.values {
		if !slices.ContainsFunc(texts, func(text string) bool {
			return text == value || w.prefix && strings.HasPrefix(text, value) || w.program && strings.EqualFold(baseName(text), value)
		}) {
			return false
		}
	}
	return true
}

// leaves are all texts and numbers in a JSON document, at any depth. Older
// servers put a JSON document into a text; that is looked into, too.
func leaves(document json.RawMessage) []string {
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil {
		return nil
	}
	var texts []string
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			if strings.HasPrefix(v, "{") {
				if inner := leaves(json.RawMessage(v)); inner != nil {
					texts = append(texts, inner...)
					return
				}
			}
			texts = append(texts, v)
		case json.Number:
			texts = append(texts, v.String())
		case []any:
			for _, item := range v {
				walk(item)
			}
		case map[string]any:
			for _, item := range v {
				walk(item)
			}
		}
	}
	walk(value)
	return texts
}
