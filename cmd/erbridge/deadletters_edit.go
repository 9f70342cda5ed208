package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/jq"
	"github.com/erbridge/erbridge/internal/soar"
)

// letterEdit is what the command line says about an edit.
type letterEdit struct {
	file       configFlag
	from, set  string
	by, reason string
}

func newDeadLettersEdit() *cobra.Command {
	var e letterEdit
	cmd := &cobra.Command{
		Use:   "edit ID [--file FILE | --set JQ]",
		Short: "change what a dead letter holds, before it is replayed",
		Long: `Without --file and --set, the payload is opened in the editor that $VISUAL or $EDITOR
names. An event is checked as a whole, and keeps its id and its type, by which
receivers know it. Who changed it is kept in the audit record, with the hashes of
both payloads. The letter stays where it is until erbridge deadletters replay.`,
		Example: `  erbridge deadletters edit 17
  erbridge deadletters edit 17 --set '.alert.event.cmdline |= .[:8000]'
  erbridge deadletters edit 17 --file event.json`,
		Args: args(cobra.ExactArgs(1)),
		RunE: e.run,
	}
	e.file.flags(cmd)
	cmd.Flags().StringVar(&e.from, "file", "", "take the payload from this file; - is standard input")
	cmd.Flags().StringVar(&e.set, "set", "", "a jq expression that makes the new payload of the old one")
	reasonFlag(cmd, &e.reason, auditReason)
	byFlag(cmd, &e.by)
	return cmd
}

func (e *letterEdit) run(cmd *cobra.Command, given []string) error {
	if e.from != "" && e.set != "" {
		return usagef("--file and --set exclude each other")
	}
	ids, err := parseIDs(given)
	if err != nil {
		return err
	}
	by, err := whoSays(e.by)
	if err != nil {
		return err
	}
	r, err := e.file.reader(cmd.Context())
	if err != nil {
		return err
	}
	letter, err := r.DeadLetter(cmd.Context(), ids[0])
	if err := errors.Join(err, r.Close()); err != nil {
		return err // it names the letter
	}
	payload, kept, err := e.payload(cmd, letter)
	if err != nil {
		return err
	}
	if bytes.Equal(payload, letter.Payload) {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "dead letter %d is as it was\n", letter.ID)
		return errors.Join(err, drop(kept))
	}
	err = daemon.CheckEdit(letter, payload)
	if err == nil {
		err = e.file.control(cmd.Context(), func(c daemon.Control) error {
			return c.EditDeadLetter(cmd.Context(), daemon.LetterEdit{ID: letter.ID, Payload: payload, Was: letter.Payload, By: by, Reason: e.reason})
		})
	}
	if err != nil {
		if kept != "" {
			err = fmt.Errorf("%w; what you wrote is in %s", err, kept)
		}
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "dead letter %d changed; erbridge deadletters replay %d delivers it\n", letter.ID, letter.ID)
	return errors.Join(err, drop(kept))
}

// drop removes the file that an editor worked on.
func drop(path string) error {
	if path == "" {
		return nil
	}
	return os.Remove(path)
}

// payload is the new payload, as compact JSON where it is JSON. kept is the file that an
// editor worked on.
func (e *letterEdit) payload(cmd *cobra.Command, letter soar.DeadLetter) (payload []byte, kept string, err error) {
	switch {
	case e.set != "":
		payload, err = setPayload(cmd.Context(), e.set, letter.Payload)
	case e.from == "-":
		payload, err = io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxDataBytes))
	case e.from != "":
		payload, err = os.ReadFile(e.from)
		err = notFound(err)
	default:
		payload, kept, err = editPayload(cmd, letter)
	}
	if err != nil {
		return nil, kept, err
	}
	return compactJSON(payload), kept, nil
}

func compactJSON(payload []byte) []byte {
	var b bytes.Buffer
	if err := json.Compact(&b, payload); err != nil {
		return payload // not JSON: taken as it is
	}
	return b.Bytes()
}

func setPayload(ctx context.Context, expression string, payload []byte) ([]byte, error) {
	p, err := jq.Compile(expression)
	if err != nil {
		return nil, usagef("--set %q: %v", expression, err)
	}
	var before any
	if err := json.Unmarshal(payload, &before); err != nil {
		return nil, fmt.Errorf("--set needs a payload that is JSON: %w; use --file", err)
	}
	after, err := p.Run(ctx, before)
	if err != nil {
		return nil, fmt.Errorf("--set: %w", err)
	}
	if len(after) != 1 {
		return nil, fmt.Errorf("--set: the expression gave %d values, and has to give one: the new payload", len(after))
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err = encoder.Encode(after[0])
	return b.Bytes(), err
}

// editPayload lets a person change the payload in an editor. The file is readable by
// that person alone, and is left behind when what is in it is refused.
func editPayload(cmd *cobra.Command, letter soar.DeadLetter) (payload []byte, path string, err error) {
	editor := strings.Fields(os.Getenv("VISUAL"))
	if len(editor) == 0 {
		editor = strings.Fields(os.Getenv("EDITOR"))
	}
	if len(editor) == 0 {
		return nil, "", usagef("no editor: set EDITOR, or give the new payload with --file or --set")
	}
	f, err := os.CreateTemp("", fmt.Sprintf("deadletter-%d-*.json", letter.ID))
	if err != nil {
		return nil, "", err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, letter.Payload, "", "  "); err != nil {
		pretty.Reset()
		pretty.Write(letter.Payload)
	}
	_, err = f.Write(pretty.Bytes())
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, "", err
	}
	run := exec.CommandContext(cmd.Context(), editor[0], append(editor[1:], f.Name())...) //nolint:gosec // the person's own editor
	run.Stdin, run.Stdout, run.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	if err := run.Run(); err != nil {
		return nil, f.Name(), errors.Join(fmt.Errorf("editor %s: %w", editor[0], err), os.Remove(f.Name()))
	}
	payload, err = os.ReadFile(f.Name())
	if bytes.Equal(payload, pretty.Bytes()) {
		payload = letter.Payload // as it was, whatever its form
	}
	return payload, f.Name(), err
}
