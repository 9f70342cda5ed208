// Command erbridge connects an EclecticIQ Endpoint Response server to the people
// and systems of a SOC.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/evidence"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/guard"
	"github.com/erbridge/erbridge/sinks"
)

// version is set by the linker; without that, the module's version is shown.
var version = ""

// The exit codes.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2  // the command line is wrong
	exitNotFound = 3  // there is no such alert, run, sink, dead letter, carve or store
	exitRefused  = 4  // the server or the guard said no: wrong password, not allowed, not possible
	exitConfig   = 78 // the configuration or a playbook is wrong (EX_CONFIG of sysexits.h)
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	root := newRoot()
	err := root.ExecuteContext(ctx)
	stop()
	if err != nil {
		report(os.Stderr, err)
	}
	os.Exit(exitCode(err))
}

// newRoot is the table of commands.
func newRoot() *cobra.Command {
	root := group("erbridge", "connects an EclecticIQ Endpoint Response server to chat, syslog and SIEM, and acts on its alerts",
		newDemo(),
		newRun(),
		newReload(),
		newGuard(),
		newPause(),
		newResume(),
		newCheck(),
		newSimulate(),
		newPlaybook(),
		newAlerts(),
		newRuns(),
		newApprovals(),
		newBudget(),
		newQueue(),
		newJobs(),
		newSinks(),
		newSlack(),
		newRoute(),
		newFormat(),
		newDeadLetters(),
		newSilences(),
		newRedact(),
		newCarves(),
		newAudit(),
		newAPI(),
		newDoctor(),
		newHealth(),
		newDocs(),
		newVersion(),
		newCompletion(),
	)
	root.Long = `erbridge connects an EclecticIQ Endpoint Response server to the people and
systems of a SOC: alerts come in, playbooks decide what is done about them, and
every alert and outcome goes on to chat, syslog and SIEM.

Start with "erbridge demo": it needs no server, no account and no network.`
	root.SilenceUsage, root.SilenceErrors = true, true
	root.Version = versionText()
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if given := cmd.Flags().Args(); cmd.HasSubCommands() && cmd.Annotations[runsItself] == "" && len(given) > 0 {
			return unknownCommand(cmd, given[0]) // its flags are not the mistake
		}
		return usagef("%v; see %s --help", err, cmd.CommandPath())
	})
	return root
}

// exitCode is what a command's error means to a script.
func exitCode(err error) int {
	switch {
	case err == nil:
		return exitOK
	case isUsage(err), errors.Is(err, playbooks.ErrBadJob), errors.Is(err, daemon.ErrBadEdit), errors.Is(err, sinks.ErrSilence):
		return exitUsage
	case isProblems(err), errors.Is(err, errFindings), errors.Is(err, daemon.ErrConfig), errors.Is(err, config.ErrUnreadable):
		return exitConfig
	case errors.Is(err, soar.ErrNotFound), errors.Is(err, connector.ErrNotFound), errors.Is(err, evidence.ErrGone), errors.Is(err, store.ErrNoStore):
		return exitNotFound
	case errors.Is(err, connector.ErrBadCredentials), errors.Is(err, connector.ErrForbidden), errors.Is(err, connector.ErrUnauthorized),
		errors.Is(err, connector.ErrRefused), errors.Is(err, connector.ErrUnavailable), errors.Is(err, sinks.ErrConfig),
		errors.Is(err, guard.ErrMayNot), errors.Is(err, guard.ErrDecided):
		return exitRefused
	}
	return exitFailed
}

func isProblems(err error) bool {
	_, ok := errors.AsType[registry.Problems](err)
	return ok
}

// usageError is a mistake on the command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

func isUsage(err error) bool {
	_, ok := errors.AsType[*usageError](err)
	return ok
}

// buildVersion is the version as the linker or the module system knows it.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}
