package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/catalogue"
	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/daemon"
)

// maxDataBytes bounds what --data reads.
const maxDataBytes = 16 << 20

// api are the flags of one call.
type api struct {
	file        configFlag
	data        string
	output      string
	filter      string
	force       bool
	yes         bool
	showSecrets bool
	timeout     time.Duration
}

func newAPI() *cobra.Command {
	var a api
	cmd := &cobra.Command{
		Use:   "api ID [NAME=VALUE...] | METHOD PATH",
		Short: "make any call of the server's API, by its id or its path; list and show say what there is",
		Long: `api makes one call of the server's API, logged in as the configured user, and
prints the answer. The ids are those of api list; api show tells a call's arguments.
METHOD PATH makes a call below the base path of the server's API as it stands,
with nothing but --data for a body.

Arguments are checked before anything is sent. A list is given with commas, as a
JSON array, or by repeating its name; a JSON object may come from a file: NAME=@FILE,
and a file always does. Passwords are better given in --data @- than on the command
line, which other users of the machine can read.

A call with an effect asks first, one that destroys something wants its id typed;
--yes answers for you. Secrets in answers show as [redacted], in CSV they do not.

Of a websocket, the frames are printed as lines of JSON until --timeout.`,
		Example: `  erbridge api hosts-list platform=windows limit=5 --jq '.data.results[].host_identifier'
  erbridge api alerts-update alert_ids=7,8 resolve=true verdict=false comment='a test'
  erbridge api carves-download session_id=E5K2XIZ1QY --output carve.tar
  erbridge api GET /hosts/count
  erbridge api POST /alerts --data '{"resolved": false, "limit": 5}'`,
		Args:        args(cobra.ArbitraryArgs),
		Annotations: map[string]string{runsItself: "yes"},
		RunE: func(cmd *cobra.Command, given []string) error {
			switch {
			case len(given) == 0:
				return cmd.Help()
			case len(given) == 2 && strings.HasPrefix(given[1], "/") || isMethod(strings.ToUpper(given[0])):
				return a.runPath(cmd, given)
			}
			return a.runID(cmd, given[0], given[1:])
		},
	}
	cmd.ValidArgsFunction = completeAPI
	a.file.flags(cmd)
	f := cmd.Flags()
	f.StringVarP(&a.data, "data", "d", "", "arguments as a JSON object, or the body of METHOD PATH: JSON, @file, or @- for standard input")
	f.StringVarP(&a.output, "output", "o", "", "file for the answer, which appears when it is whole; only its owner can read it")
	f.BoolVar(&a.force, "force", false, "let --output replace a file")
	f.StringVar(&a.filter, "jq", "", "a jq expression over the answer")
	f.BoolVarP(&a.yes, "yes", "y", false, "do not ask before a call that changes or destroys something")
	f.BoolVar(&a.showSecrets, "show-secrets", false, "print passwords, keys and tokens of the answer")
	f.DurationVar(&a.timeout, "timeout", 0, "how long the answer may take, repeats included, or a download may be silent (default twice server.timeout)")
	cmd.AddCommand(newAPIList(), newAPIShow())
	return cmd
}

func isMethod(word string) bool {
	switch word {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return true
	}
	return false
}

// runID makes a call of the catalogue.
func (a *api) runID(cmd *cobra.Command, id string, given []string) error {
	call := catalogue.Find(id)
	if call == nil {
		return unknownCall(id)
	}
	inv, err := a.invocation(cmd, call, given)
	if err != nil {
		return err
	}
	cfg, err := a.load(call)
	if err != nil {
		return err
	}
	out, err := openTarget(cmd, a.output, a.force)
	if err != nil {
		return err
	}
	defer out.drop()
	if call.Answer == "file" && out.toTerminal() {
		return usagef("%s answers with a file, which is nothing for a terminal: name one with --output FILE", id)
	}
	client, err := daemon.NewClient(cfg, daemon.Options{Version: buildVersion()})
	if err != nil {
		return err
	}
	hide := a.redactor(call, inv.Secrets(), cfg)
	// Nothing is left now that can go wrong on this side.
	if err := a.ask(cmd, call, hide.text(inv.Target()), cfg); err != nil {
		return err
	}
	if call.Method == "SOCKET" {
		err = a.frames(cmd.Context(), client, inv, out, hide)
	} else {
		err = a.invoke(cmd, client, inv, out, hide)
	}
	leave(cmd.Context(), client, err)
	switch {
	case errors.Is(err, connector.ErrInvalid), errors.Is(err, connector.ErrEmptyTarget):
		return usagef("%v\n%s", hide.err(err), showHint(call))
	case err != nil:
		return hide.err(err)
	}
	return out.commit()
}

// leave gives the token back, which would be good for seven days.
func leave(ctx context.Context, client *connector.Client, err error) {
	if errors.Is(err, errNoAnswer) {
		return // nor would there be one now
	}
	// Also when the person has lost patience.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_ = client.Logout(ctx) // nothing can be done about it
}

// load reads the configuration and sets the time-outs.
func (a *api) load(call *catalogue.Call) (*config.Config, error) {
	cfg, err := a.file.load()
	if err != nil {
		return nil, err
	}
	switch {
	case a.timeout < 0:
		return nil, usagef("--timeout: %v is no time", a.timeout)
	case a.timeout > 0:
		cfg.Server.Timeout = 2 * a.timeout // so that it is always ours that ends first, which says what it is about
	case call != nil && call.Method == "SOCKET":
		a.timeout = time.Minute
	default:
		a.timeout = 2 * cfg.Server.Timeout
	}
	return cfg, nil
}

// invocation checks the arguments, and the flags that do not go with the call.
func (a *api) invocation(cmd *cobra.Command, call *catalogue.Call, given []string) (*connector.Invocation, error) {
	var arguments []connector.Argument
	for _, text := range given {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, usagef("%q: expected NAME=VALUE; %s", (&redactor{}).text(text), showHint(call))
		}
		arguments = append(arguments, connector.Argument{Name: name, Text: value})
	}
	if err := a.checkFilter(); err != nil {
		return nil, err
	}
	if a.filter != "" && call.Answer != "json" && call.Answer != "frames" {
		return nil, usagef("--jq: %s answers with %s, not with JSON", call.ID, call.Answer)
	}
	data, err := readData(cmd.InOrStdin(), a.data)
	if err != nil {
		return nil, err
	}
	inv, err := connector.NewInvocation(call, data, arguments...)
	if errors.Is(err, connector.ErrInvalid) || errors.Is(err, connector.ErrEmptyTarget) {
		return nil, usagef("%v\n%s", err, showHint(call))
	}
	return inv, err
}

func (a *api) checkFilter() error {
	o := output{format: "json", filter: a.filter}
	return o.check()
}

func showHint(call *catalogue.Call) string {
	return "the arguments are explained by: erbridge api show " + call.ID
}

// redactor knows what must not be shown; nil with --show-secrets.
func (a *api) redactor(call *catalogue.Call, values []string, cfg *config.Config) *redactor {
	if a.showSecrets {
		return nil
	}
	if password, err := cfg.Server.Password.Reveal(); err == nil && password != cfg.Server.Username {
		values = append(values, password)
	}
	return newRedactor(call, values)
}

// invoke makes a call whose answer is JSON, a page, or goes to the target as it comes.
func (a *api) invoke(cmd *cobra.Command, client *connector.Client, inv *connector.Invocation, out *target, hide *redactor) error {
	ctx, stop := newPatience(cmd.Context(), a.timeout)
	defer stop.end()
	stop.w = out.Writer
	var lines *terminalWriter
	if out.toTerminal() {
		lines = &terminalWriter{w: out.Writer}
		stop.w = lines
	}
	answer, err := client.Invoke(ctx, inv, stop)
	if lines != nil {
		err = errors.Join(err, lines.flush())
	}
	switch {
	case err != nil:
		return err
	case answer.Location != "":
		_, err = fmt.Fprintln(out, clean(answer.Location))
	case answer.Body == nil && out.path != "":
		_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", out.path, count(int(answer.Written), "byte"))
	case answer.Body != nil:
		err = a.print(cmd.Context(), out, answer.Body, answer.ContentType, hide)
	}
	return err
}

// frames prints what comes over a websocket until the time is over.
func (a *api) frames(ctx context.Context, client *connector.Client, inv *connector.Invocation, out *target, hide *redactor) error {
	o := output{format: "jsonl", filter: a.filter}
	p, err := o.program()
	if err != nil {
		return err
	}
	return client.Frames(ctx, inv, a.timeout, func(frame []byte) error {
		frame = hide.json(frame)
		if p == nil {
			return printJSON(out, json.RawMessage(frame), "")
		}
		return printFiltered(ctx, out, p, json.RawMessage(frame), "")
	})
}

// print writes an answer that was read whole.
func (a *api) print(ctx context.Context, out *target, body []byte, contentType string, hide *redactor) error {
	if !json.Valid(body) {
		isText := strings.HasPrefix(contentType, "text/") || strings.HasPrefix(contentType, "application/json")
		switch {
		case a.filter != "":
			return fmt.Errorf("--jq: the answer (%s) is not JSON", clean(contentType))
		case out.toTerminal() && !isText:
			return fmt.Errorf("the answer (%s) is nothing for a terminal: name a file with --output FILE", clean(contentType))
		case strings.HasPrefix(contentType, "text/csv") || !isText:
		default:
			body = hide.json(body)
		}
		if !out.toTerminal() {
			_, err := out.Write(body)
			return err
		}
		lines := &terminalWriter{w: out.Writer}
		_, err := lines.Write(body)
		return errors.Join(err, lines.flush())
	}
	body = hide.json(body)
	o := output{format: "json", filter: a.filter}
	p, err := o.program()
	if err != nil {
		return err
	}
	if p == nil {
		return printJSON(out, json.RawMessage(body), "  ")
	}
	return printFiltered(ctx, out, p, json.RawMessage(body), "  ")
}

func readData(stdin io.Reader, data string) ([]byte, error) {
	name, isFile := strings.CutPrefix(data, "@")
	body := []byte(data)
	if isFile {
		in := stdin
		if name != "-" {
			f, err := os.Open(name)
			if err != nil {
				return nil, usagef("--data: %v", err)
			}
			defer f.Close()
			in = f
		}
		var err error
		if body, err = io.ReadAll(io.LimitReader(in, maxDataBytes+1)); err != nil {
			return nil, usagef("--data: %v", err)
		}
	}
	switch {
	case data == "":
		return nil, nil
	case len(bytes.TrimSpace(body)) == 0:
		return nil, usagef("--data %s: there is nothing in it", data)
	case len(body) > maxDataBytes:
		return nil, usagef("--data: more than %d bytes", maxDataBytes)
	case !utf8.Valid(body):
		return nil, usagef("--data: not UTF-8")
	case !json.Valid(body):
		return nil, usagef("--data: not JSON")
	}
	return body, nil
}
