package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

func newAlerts() *cobra.Command {
	return group("alerts", "look at alerts in the store, and capture them for tests", newAlertsList(), newAlertsShow(), newAlertsCapture())
}

func newAlertsList() *cobra.Command {
	var file configFlag
	var out output
	var filter store.AlertFilter
	var severity, since string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list alerts, newest first",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if severity != "" {
				word, known := soar.ParseSeverity(severity)
				if !known {
					return usagef("--severity %q: expected info, low, medium, high or critical", severity)
				}
				filter.Severity = string(word)
			}
			if since != "" {
				ago, err := registry.ParseDuration(since)
				if err != nil {
					return usagef("--since %q: expected a duration such as 30m, 4h or 7d", since)
				}
				filter.Since = time.Now().Add(-ago)
			}
			switch filter.Status {
			case "", soar.StatusOpen, soar.StatusResolved:
			default:
				return usagef("--status %q: expected %s or %s", filter.Status, soar.StatusOpen, soar.StatusResolved)
			}
			r, err := file.reader(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			alerts, err := r.Alerts(cmd.Context(), filter)
			if err != nil {
				return err
			}
			return printList(cmd.Context(), cmd, &out, alerts, []column[soar.StoredAlert]{
				{"alert", func(a soar.StoredAlert) string { return a.Alert.Ref() }},
				{"received", func(a soar.StoredAlert) string { return stamp(a.ReceivedAt) }},
				{"severity", func(a soar.StoredAlert) string { return string(a.Alert.Severity) }},
				{"status", func(a soar.StoredAlert) string { return a.Alert.Status }},
				{"host", func(a soar.StoredAlert) string { return short(a.Alert.Host.Name, 32) }},
				{"title", func(a soar.StoredAlert) string { return short(a.Alert.Title(), 60) }},
				{"playbooks", func(a soar.StoredAlert) string { return short(verdicts(a), 60) }},
			})
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	cmd.Flags().StringVar(&filter.Server, "server", "", "only of this server or webhook sender")
	cmd.Flags().StringVar(&severity, "severity", "", "only of this severity")
	cmd.Flags().StringVar(&filter.Status, "status", "", "only open or only resolved ones: open, resolved")
	cmd.Flags().StringVar(&filter.Host, "host", "", "only of the host with this name")
	cmd.Flags().StringVar(&since, "since", "", "only those created within this time, such as 4h or 7d")
	limitFlag(cmd, &filter.Limit)
	return cmd
}

// verdicts says what the playbooks made of an alert.
func verdicts(a soar.StoredAlert) string {
	if a.Pending != "" {
		return "pending"
	}
	var parts []string
	for name, verdict := range a.Verdicts {
		if verdict == "match" {
			parts = append(parts, name)
		} else {
			parts = append(parts, name+" ("+verdict+")")
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func newAlertsShow() *cobra.Command {
	var file configFlag
	var out output
	cmd := &cobra.Command{
		Use:   "show ALERT",
		Short: "show one alert with everything known about it",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := out.check(); err != nil {
				return err
			}
			r, err := file.reader(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			a, err := r.AlertByRef(cmd.Context(), given[0])
			if err != nil {
				return err // it names the alert
			}
			runs, err := r.Runs(cmd.Context(), store.RunFilter{Alert: given[0], Limit: 100})
			if err != nil {
				return err
			}
			return printItem(cmd.Context(), cmd, &out, a, func(w io.Writer, a soar.StoredAlert) error { return showAlert(w, a, runs) })
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	return cmd
}

func showAlert(w io.Writer, stored soar.StoredAlert, runs []soar.Run) error {
	a := stored.Alert
	fields := []field{
		{"alert", a.Ref()},
		{"title", a.Title()},
		{"severity", string(a.Severity)},
		{"status", strings.TrimSuffix(a.Status+", "+a.Verdict, ", ")},
		{"comment", a.Comment},
		{"created", stamp(a.CreatedAt)},
		{"received", stamp(stored.ReceivedAt)},
		{"updated", stamp(a.UpdatedAt)},
		{"events", strconv.Itoa(a.EventCount)},
		{"host", strings.TrimSpace(a.Host.Name + " " + a.Host.Identifier)},
		{"address", a.Host.IP},
		{"platform", strings.TrimSpace(a.Host.Platform + " " + a.Host.OSVersion)},
		{"tags", strings.Join(a.Host.Tags, ", ")},
		{"source", a.Source},
		{"url", a.URL},
		{"playbooks", verdicts(stored)},
	}
	if a.Rule != nil {
		fields = append(fields, field{"rule", a.Rule.Name}, field{"techniques", strings.Join(a.Rule.Techniques, ", ")}, field{"tactics", strings.Join(a.Rule.Tactics, ", ")})
	}
	if a.Backfill {
		fields = append(fields, field{"backfill", "existed before erbridge met the server; no playbook acts on it"})
	}
	if err := printFields(w, fields); err != nil {
		return err
	}
	if len(a.Event) > 0 {
		names := sortedNames(a.Event)
		columns := make([]field, 0, len(names))
		for _, name := range names {
			columns = append(columns, field{"  " + clean(name), short(a.Event[name], 160)})
		}
		fmt.Fprintln(w, "event")
		if err := printFields(w, columns); err != nil {
			return err
		}
	}
	if len(runs) > 0 {
		fmt.Fprintln(w, "runs")
		listed := make([]listedRun, len(runs))
		for i, run := range runs {
			listed[i].Run = run
		}
		return printTable(w, listed, runColumns)
	}
	return nil
}
