package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
)

// trigger finds what the playbook is to be explained for, and at what time; the zero
// time is now.
func (e *explanation) trigger(cmd *cobra.Command, pb *playbooks.Playbook, alerts []string) (t playbooks.Trigger, at time.Time, err error) {
	if t.On, err = e.chosen(pb, len(alerts) > 0); err != nil {
		return t, at, err
	}
	if e.input != "" {
		if t.On != "manual" {
			return t, at, usagef("--input is what a person gives: it goes with --on manual")
		}
		if err := json.Unmarshal([]byte(e.input), &t.Input); err != nil {
			return t, at, usagef("--input is not JSON: %v", err)
		}
	}
	if e.run != "" {
		return e.failure(cmd, alerts)
	}
	if t.On == "schedule" {
		t.At = pb.Times(time.Now(), 1)[0].UTC()
		at = t.At
	}
	if len(alerts) == 0 {
		return t, at, nil
	}
	var stored soar.StoredAlert
	if e.alertFile != "" || isFile(alerts[0]) {
		stored, err = readStored(cmd.InOrStdin(), alerts[0])
	} else {
		if stored, err = storedAlertWith(cmd.Context(), &e.file, alerts[0]); errors.Is(err, config.ErrUnreadable) || errors.Is(err, store.ErrNoStore) {
			err = fmt.Errorf("alert %q is no file, and cannot be looked up: %w", alerts[0], err)
		}
	}
	t.Alert = &stored.Alert
	return t, stored.ReceivedAt, err
}

// chosen is the trigger that is meant: with an alert, one that has alerts.
func (e *explanation) chosen(pb *playbooks.Playbook, alert bool) (string, error) {
	takes := func(on string) bool { return pb.Takes(on) }
	switch {
	case e.on != "" && !slices.Contains(playbooks.Triggers(), e.on):
		return "", usagef("--on %q: expected %s", e.on, strings.Join(playbooks.Triggers(), ", "))
	case e.on != "" && !takes(e.on):
		return "", usagef("playbook %s does not take %s: its on has %s", pb.Name, e.on, strings.Join(pb.On, ", "))
	case e.run != "" && (!takes("run.failed") || e.on != "" && e.on != "run.failed"):
		return "", usagef("--run is a failed run: it goes with on: run.failed")
	case e.run != "":
		return "run.failed", nil
	case alert && e.on == "schedule":
		return "", usagef("a schedule brings no alert")
	case e.on == "alert" && !alert, e.on == "alert.updated" && !alert:
		return "", usagef("name an alert of the store, or a file, with --alert")
	case e.on != "":
		return e.on, nil
	}
	for _, on := range pb.On {
		if brings := on == "alert" || on == "alert.updated"; brings == alert {
			return on, nil
		}
	}
	switch {
	case alert && takes("manual"):
		return "manual", nil
	case alert && takes("run.failed"):
		return "run.failed", nil
	case alert:
		return "", usagef("playbook %s takes no alert: its on has %s", pb.Name, strings.Join(pb.On, ", "))
	}
	return "", usagef("name an alert of the store, or a file, with --alert")
}

// failure reads a failed run of the store, and its alert.
func (e *explanation) failure(cmd *cobra.Command, alerts []string) (t playbooks.Trigger, at time.Time, err error) {
	t.On = "run.failed"
	if len(alerts) > 0 {
		return t, at, usagef("the alert is that of the run: leave --alert out")
	}
	id, err := soar.ParseRunID(e.run)
	if err != nil {
		return t, at, usagef("--run %q is no run", e.run)
	}
	r, err := e.file.reader(cmd.Context())
	if err != nil {
		return t, at, err
	}
	defer r.Close()
	run, err := r.GetRun(cmd.Context(), id)
	if err != nil {
		return t, at, fmt.Errorf("run %s: %w", e.run, err)
	}
	if run.State != soar.RunFailed {
		return t, at, usagef("run %s is %s, and has not failed", run.ID, run.State)
	}
	t.Failed = &run
	if run.Alert != "" {
		stored, err := r.AlertByRef(cmd.Context(), run.Alert)
		if err != nil {
			return t, at, err
		}
		t.Alert = &stored.Alert
	}
	return t, run.EndedAt, nil
}
