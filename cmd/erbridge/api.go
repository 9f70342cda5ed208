package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/daemon"
)

// maxDataBytes bounds what --data reads.
const maxDataBytes = 16 << 20

// readingPosts are the calls that only read although they use POST: lists take
// their filter in the body (REST guide 4.0.0).
var readingPosts = map[string]bool{
	"/hosts": true, "/hosts/export": true, "/hosts/additional_config": true, "/hosts/config": true, "/hosts/recent_activity": true,
	"/hosts/recent_activity/count": true, "/hosts/search/export": true, "/hosts/status_logs": true, "/hosts/status_log/export": true,
	"/alerts": true, "/alerts/alert_source/export": true, "/alerts/process": true, "/alerts/process/child": true,
	"/carves": true, "/carves/query": true, "/packs": true, "/queries": true, "/queries/packed": true, "/rules": true, "/rules/tactics": true,
	"/tags/tagged": true, "/yara/view": true, "/hunt-upload": true, "/hunt-upload/export": true, "/indicators/hunt": true,
	"/indicators/upload": true, "/indicators/upload/export": true, "/activity/search": true, "/search": true,
	"/response": true, "/response/export": true, "/response/view": true, "/response/status": true,
}

func newAPI() *cobra.Command {
	var file configFlag
	var data, filter string
	var yes bool
	cmd := &cobra.Command{
		Use:   "api METHOD PATH",
		Short: "make one call to the server's API, as it is documented",
		Long: `api makes one call below the base path of the server's API, logged in as the
configured user, and prints the answer.

A call that may change something asks first; --yes answers for you.`,
		Example: `  erbridge api GET /hosts/count
  erbridge api POST /alerts --data '{"resolved": false, "limit": 5}'
  erbridge api POST /hosts/tags --data @body.json --yes`,
		Args: args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, given []string) error {
			method, path := strings.ToUpper(given[0]), given[1]
			switch method {
			case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
			default:
				return usagef("method %q: expected GET, POST, PUT, PATCH or DELETE", given[0])
			}
			out := output{format: "json", filter: filter}
			if err := out.check(); err != nil {
				return err
			}
			body, err := readData(cmd.InOrStdin(), data)
			if err != nil {
				return err
			}
			cfg, err := file.load()
			if err != nil {
				return err
			}
			if changes(method, path) && !yes {
				if err := confirm(cmd, fmt.Sprintf("%s %s may change something on %s.", method, clean(path), cfg.Server.URL)); err != nil {
					return err
				}
			}
			client, err := daemon.NewClient(cfg, daemon.Options{Version: buildVersion()})
			if err != nil {
				return err
			}
			answer, err := client.Raw(cmd.Context(), method, path, body)
			if errors.Is(err, connector.ErrInvalid) {
				return usagef("%v", err)
			}
			if err != nil {
				return err
			}
			if err := printAnswer(cmd, &out, answer); err != nil {
				return err
			}
			return judgeAnswer(method, path, answer)
		},
	}
	file.flags(cmd)
	cmd.Flags().StringVarP(&data, "data", "d", "", "body of the call: JSON, @file, or @- for standard input")
	cmd.Flags().StringVar(&filter, "jq", "", "a jq expression over the answer")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask before a call that may change something")
	return cmd
}

// changes reports whether a call may have an effect.
func changes(method, path string) bool {
	path, _, _ = strings.Cut(path, "?")
	switch method {
	case http.MethodGet, http.MethodHead:
		return false
	case http.MethodPost:
		path = strings.TrimSuffix(path, "/")
		return !readingPosts[path] && !strings.HasSuffix(path, "/alerted_events")
	}
	return true
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
			return nil, fmt.Errorf("--data %s: %w", data, err)
		}
	}
	switch {
	case len(body) == 0:
		return nil, nil
	case len(body) > maxDataBytes:
		return nil, usagef("--data: more than %d bytes", maxDataBytes)
	case !json.Valid(body):
		return nil, usagef("--data: not JSON")
	}
	return body, nil
}

// confirm asks a person. Where nobody can answer, that is a no.
func confirm(cmd *cobra.Command, what string) error {
	fmt.Fprintf(cmd.ErrOrStderr(), "%s Go on? [y/N] ", what)
	line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 1024)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return errors.New("not confirmed, nothing was sent; --yes answers for you")
}

func printAnswer(cmd *cobra.Command, out *output, answer connector.RawAnswer) error {
	var value any
	if err := json.Unmarshal(answer.Body, &value); err != nil {
		if out.filter != "" {
			return fmt.Errorf("--jq: the answer (%s) is not JSON", clean(answer.ContentType))
		}
		_, err := cmd.OutOrStdout().Write(answer.Body)
		return err
	}
	p, err := out.program()
	if err != nil {
		return err
	}
	if p == nil {
		return printJSON(cmd.OutOrStdout(), json.RawMessage(answer.Body), "  ")
	}
	return printFiltered(cmd.Context(), cmd.OutOrStdout(), p, value, "  ")
}

// judgeAnswer makes an error of an answer that says no: by status, or with
// "status": "failure" under 200, as the server does.
func judgeAnswer(method, path string, answer connector.RawAnswer) error {
	var body struct{ Status, Message string }
	_ = json.Unmarshal(answer.Body, &body) // what has no such fields has not refused
	text := strings.TrimSpace(fmt.Sprintf("%s %s: %d %s", method, path, answer.Status, body.Message))
	switch {
	case answer.Status == http.StatusNotFound:
		return fmt.Errorf("%s: %w", text, connector.ErrNotFound)
	case answer.Status >= 500:
		return errors.New(text)
	case answer.Status >= 400, body.Status == "failure":
		return fmt.Errorf("%s: %w", text, connector.ErrRefused)
	}
	return nil
}
