package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/evidence"
)

// errEvidence means that a carve is not as it was downloaded.
var errEvidence = errors.New("it is not as it was downloaded")

func newCarvesShow() *cobra.Command {
	var file configFlag
	var out output
	cmd := &cobra.Command{
		Use:   "show SESSION",
		Short: "show where a carve comes from and who had it in hands, and verify it",
		Long: `Reads the whole archive, and compares its hash with the manifest and with the record
of custody, whose lines are chained to one another. Encrypted archives are verified
without a key. Nothing is unpacked: the names in the archive were read while it was
downloaded.

The head is number and hash of the last line of the record. Note it where nobody who
can write to the folder can change it: whoever can write there could write the record
anew, and would get another head. The result of the step that carved it has the hash of
the archive, too, and erbridge audit verify tells whether that was changed.

Exit code 1 tells that something is wrong.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			carves, err := file.carves()
			if err != nil {
				return err
			}
			report, err := carves.Verify(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := printItem(cmd.Context(), cmd, &out, report, showCarve); err != nil {
				return err
			}
			if len(report.Problems) > 0 {
				return fmt.Errorf("carve %s: %w: %s", args[0], errEvidence, strings.Join(report.Problems, "; "))
			}
			return nil
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	return cmd
}

var custodyColumns = []column[evidence.Entry]{
	{"at", func(e evidence.Entry) string { return stamp(e.At) }},
	{"what", func(e evidence.Entry) string { return e.What }},
	{"by", func(e evidence.Entry) string { return e.By }},
	{"why", func(e evidence.Entry) string { return e.Why }},
	{"more", func(e evidence.Entry) string { return short(e.Text, 100) }},
}

func showCarve(w io.Writer, r evidence.Report) error {
	fields := []field{
		{"session", r.Session}, {"state", r.State}, {"host", r.Host}, {"path", r.Path}, {"alert", r.Alert}, {"taken by", r.Mark},
		{"carved", stamp(r.CarvedAt)}, {"downloaded", stamp(r.DownloadedAt)},
	}
	if p := r.Progress; p != nil {
		fields = append(fields, field{"progress", p.Seen.String()}, field{"since", stamp(p.Changed)}, field{"refused", p.Refused})
	}
	if r.SHA256 != "" {
		fields = append(fields, field{"file", r.File}, field{"bytes", fmt.Sprint(r.Bytes)}, field{"sha-256", r.SHA256}, field{"kind", r.Kind},
			field{"files", strings.Join(r.Files, ", ")}, field{"encrypted to", strings.Join(r.Recipients, ", ")}, field{"broken", r.Broken},
			field{"remarks", strings.Join(r.Remarks, "; ")}, field{"verified", verdict(r)})
	}
	if err := printFields(w, append(fields, field{"head", r.Custody.Head})); err != nil || len(r.Custody.Entries) == 0 {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return printTable(w, r.Custody.Entries, custodyColumns)
}

func verdict(r evidence.Report) string {
	switch {
	case len(r.Problems) > 0:
		return "no: " + strings.Join(r.Problems, "; ")
	case r.State == evidence.StateDeleted:
		return "its archive was deleted; what is known of it is as it was"
	case len(r.Custody.Entries) == 0:
		return "the archive is as its manifest says; it is from before there were records of custody"
	}
	return "archive, manifest and record of custody agree"
}
