package main

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

func newAuditList() *cobra.Command {
	var file configFlag
	var out output
	var filter store.AuditFilter
	var run, since string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list audit records, the newest first",
		Long: `What the records say is listed as it stands in the store; erbridge audit verify
finds out whether it is what was written. With --output json or jsonl, each record
is whole.

With --alert, the records are those of the alert and of all its runs.`,
		Example: `  erbridge audit list --alert er-4711
  erbridge audit list --kind act --since 30d
  erbridge audit list --run 0k7z8c3m5x2qa --kind decision --output jsonl --jq .body.body`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := out.check(); err != nil {
				return err
			}
			if run != "" {
				if filter.Run, err = soar.ParseRunID(run); err != nil {
					return usagef("--run: %v", err)
				}
			}
			if filter.Since, err = moment("since", since); err != nil {
				return err
			}
			r, err := file.reader(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			found, err := r.AuditEntries(cmd.Context(), filter)
			if err != nil {
				return err
			}
			return printList(cmd.Context(), cmd, &out, found, []column[store.AuditEntry]{
				{"record", func(e store.AuditEntry) string { return strconv.FormatInt(e.Seq, 10) }},
				{"at", func(e store.AuditEntry) string { return stamp(e.At) }},
				{"kind", func(e store.AuditEntry) string { return e.Kind }},
				{"what", func(e store.AuditEntry) string { return short(auditWords(e.Body), 160) }},
			})
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&run, "run", "", "only what is about this run")
	f.StringVar(&filter.Alert, "alert", "", "only what is about this alert, such as er-4711, and its runs")
	f.StringVar(&filter.Kind, "kind", "", "only records of this kind, such as decision, run or act")
	f.StringVar(&since, "since", "", "records made then or later: a date, a time, or how long ago, such as 2026-11-01, 2026-11-01T08:00:00Z or 30d")
	f.Int64Var(&filter.Before, "before", 0, "only records with a number below this, to go on with a list")
	limitFlag(cmd, &filter.Limit)
	return cmd
}

// auditWords are a body on one line, with what people look for first: names before
// values, and no hashes.
func auditWords(body json.RawMessage) string {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var members map[string]any
	if d.Decode(&members) != nil {
		return string(body)
	}
	delete(members, "sha256")
	words := ""
	for _, name := range []string{"run", "step", "by", "what", "playbook", "state"} {
		if text, ok := members[name].(string); ok && text != "" {
			words = phrase("  ", words, text)
			delete(members, name)
		}
	}
	if len(members) == 0 {
		return words
	}
	rest, err := json.Marshal(members)
	if err != nil {
		return words
	}
	return phrase("  ", words, string(rest))
}
