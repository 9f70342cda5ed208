package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/store"
)

func newAudit() *cobra.Command {
	return group("audit", "read the audit record, verify it, and export it for others to verify", newAuditList(), newAuditVerify(), newAuditExport())
}

func newAuditVerify() *cobra.Command {
	var file configFlag
	var check store.AuditCheck
	var expect, export string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "find out whether anything in the audit record was changed, removed or added",
		Long: `Every record has the hash of the one before it in its own. This command follows
the chain from its beginning, and compares the journals, alerts, runs and
playbooks that are still in the store with what was recorded of them. It works
beside a running erbridge.

The last line is the head: number and hash of the newest record. Note it where
nobody who can write to the store can change it, and give it to --expect later:
whoever can write to the store could write the whole chain anew, and would get
another hash.

Exit code 1 tells that something is wrong; the error names the first bad record.`,
		Example: `  erbridge audit verify
  erbridge audit verify --expect 4711:9f2c...
  erbridge audit verify --file audit-2026-11.jsonl`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if expect != "" {
				mark, err := store.ParseAuditMark(expect)
				if err != nil {
					return usagef("--expect: %v; it is what the last line of erbridge audit verify says", err)
				}
				check.Expect = &mark
			}
			switch {
			case check.From < 0:
				return usagef("--from %d: expected the number of a record", check.From)
			case check.From > 0 && check.Expect != nil && check.Expect.Seq != 0 && check.Expect.Seq < check.From-1:
				return usagef("--from %d begins behind record %d, which --expect names", check.From, check.Expect.Seq)
			case check.From > 0 && export != "":
				return usagef("--from and --file exclude one another: an export is verified as a whole")
			}
			report, err := verifyAudit(cmd, &file, export, check)
			if err != nil {
				return err
			}
			return printAudit(cmd.OutOrStdout(), &report, export == "")
		},
	}
	file.flags(cmd)
	cmd.Flags().Int64Var(&check.From, "from", 0, "begin with the record of this number, and take the one before it for good")
	cmd.Flags().StringVar(&expect, "expect", "", "a head that was noted before, as NUMBER:HASH or HASH: it has to be in the chain")
	cmd.Flags().StringVar(&export, "file", "", "verify this export instead of the store; - is standard input")
	_ = cmd.MarkFlagFilename("file", "jsonl")
	return cmd
}

func verifyAudit(cmd *cobra.Command, file *configFlag, export string, check store.AuditCheck) (report store.AuditReport, err error) {
	switch export {
	case "":
		r, err := file.reader(cmd.Context())
		if err != nil {
			return report, err
		}
		defer r.Close()
		return r.VerifyAudit(cmd.Context(), check)
	case "-":
		return store.VerifyAuditFile(cmd.InOrStdin(), check)
	}
	in, err := os.Open(export)
	if err != nil {
		return report, err
	}
	defer in.Close()
	if report, err = store.VerifyAuditFile(in, check); err != nil {
		err = fmt.Errorf("%s: %w", export, err)
	}
	return report, err
}

func printAudit(w io.Writer, r *store.AuditReport, compared bool) error {
	span := "no records"
	if r.Records > 0 {
		span = fmt.Sprintf("%s, from number %d to %d of %s", count(int(r.Records), "record"), r.First, r.Head.Seq, stamp(r.At))
	}
	fields := []field{{"whole", span}}
	if compared {
		fields = append(fields, field{"compared", strings.Join([]string{
			count(int(r.Entries), "journal entry"), count(int(r.Alerts), "alert"), count(int(r.Runs), "run"), count(int(r.Playbooks), "playbook version"),
		}, ", ")})
	}
	return printFields(w, append(fields, field{"head", r.Head.String()}))
}

func newAuditExport() *cobra.Command {
	var file configFlag
	var since, until, format, to string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "write the audit record, or that of some time, as lines of JSON that can be verified anywhere",
		Long: `Writes the records of some time with their hashes, none left out in between. The
first line says behind which record they stand, and the last one where they end.
erbridge audit verify --file verifies the file without the store, byte for byte.

The export stops at a record that is broken, and then has no last line.`,
		Example: `  erbridge audit export --output audit.jsonl
  erbridge audit export --since 2026-11-01 --until 2026-12-01 --output audit-2026-11.jsonl`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "jsonl" {
				return usagef("--format %q: expected jsonl", format)
			}
			from, err := moment("since", since)
			if err != nil {
				return err
			}
			before, err := moment("until", until)
			if err != nil {
				return err
			}
			r, err := file.reader(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			if to == "" || to == "-" {
				_, err := r.ExportAudit(cmd.Context(), cmd.OutOrStdout(), from, before)
				return err
			}
			report, err := exportAudit(cmd.Context(), r, to, from, before)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s written to %s\nhead  %s\n", count(int(report.Records), "record"), clean(to), report.Head)
			return err
		},
	}
	file.flags(cmd)
	cmd.Flags().StringVar(&since, "since", "", "records made then or later: a date, a time, or how long ago, such as 2026-11-01, 2026-11-01T08:00:00Z or 30d")
	cmd.Flags().StringVar(&until, "until", "", "records made before then")
	cmd.Flags().StringVar(&format, "format", "jsonl", "jsonl: one JSON object a line")
	cmd.Flags().StringVarP(&to, "output", "o", "", "a new file to write to; without, it goes to standard output")
	_ = cmd.MarkFlagFilename("output", "jsonl")
	return cmd
}

// exportAudit writes to a file that does not exist yet: one that does may be evidence.
func exportAudit(ctx context.Context, r *store.Reader, path string, since, until time.Time) (report store.AuditReport, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if report, err = r.ExportAudit(ctx, f, since, until); err == nil {
		err = f.Sync()
	}
	return report, err
}

// moment reads a date, a time, or a duration before now; empty is the zero time.
func moment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	ago, err := registry.ParseDuration(text)
	if err != nil || ago < 0 {
		return time.Time{}, usagef("--%s %q: expected a date, a time, or how long ago, such as 2026-11-01, 2026-11-01T08:00:00Z or 30d", flag, text)
	}
	return time.Now().Add(-ago), nil
}
