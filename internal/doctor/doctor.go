// Package doctor looks at everything that has to be right between a configuration
// and its server, says what it found, and changes nothing.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/config"
)

// Status is what came out of a check.
type Status string

// The statuses.
const (
	OK   Status = "ok"
	Warn Status = "warn" // erbridge works, and a person should look
	Fail Status = "fail"
	Skip Status = "skip" // there was nothing to look at, or what it needs has failed
)

// Result is one line of what the doctor says.
type Result struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	// Found is what was seen, or why nothing was looked at.
	Found string `json:"found"`
	// Hint is the one thing to do about it; empty when there is nothing to do.
	Hint string `json:"hint"`
}

// Options says what to look at. Config and NewClient are needed.
type Options struct {
	// Config is the path of the configuration.
	Config string
	// NewClient makes the client of a configuration.
	NewClient func(*config.Config) (*connector.Client, error)
	// Playbooks loads the playbooks of a configuration and counts them. Its error, a line
	// for each mistake, says why they cannot be used, or why the running daemon does not
	// use them. Nil leaves the check out.
	Playbooks func(context.Context, *config.Config) (int, error)
	// Paused says who or what keeps the kill switch thrown; empty: nothing does. Nil leaves
	// the check out.
	Paused func(context.Context, *config.Config) (string, error)
	// Timeout bounds one request; default is that of the configuration, at most 10s.
	Timeout time.Duration
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// ErrFailed means that at least one check failed.
var ErrFailed = errors.New("failed")

// Run makes all checks in their order and hands each result on as it is known. What
// needs a check that failed is skipped. A configuration that cannot be used is its
// own error; any other failed check is ErrFailed.
func Run(ctx context.Context, o Options, each func(Result)) error {
	if o.Now == nil {
		o.Now = time.Now
	}
	d := &doctor{o: o, blocked: map[string]string{}}
	var failed []string
	bounded, cancel := context.WithTimeout(ctx, maxAll)
	defer cancel()
	for _, c := range checks {
		r := d.look(bounded, c)
		if r.Status == Fail {
			failed = append(failed, r.Check)
		}
		each(r)
	}
	d.leave(ctx)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case d.configErr != nil:
		return d.configErr
	case len(failed) > 0:
		return fmt.Errorf("%w: %s", ErrFailed, strings.Join(failed, ", "))
	}
	return nil
}

// check is one thing to look at.
type check struct {
	name  string
	needs []string // the checks that have to be good before; those that they need come along
	look  func(*doctor, context.Context) finding
}

// finding is a result without the name of its check.
type finding struct {
	status      Status
	found, hint string
}

// checks is the order of things: every check stands behind those that it needs.
var checks = []check{
	{"config", nil, (*doctor).config},
	{"password", []string{"config"}, (*doctor).password},
	{"name", []string{"config"}, (*doctor).name},
	{"reach", []string{"name"}, (*doctor).reach},
	{"tls", []string{"reach"}, (*doctor).tls},
	{"base path", []string{"tls"}, (*doctor).base},
	{"clock", []string{"base path"}, (*doctor).clock},
	{"login", []string{"base path", "password"}, (*doctor).login},
	{"release", []string{"base path"}, (*doctor).release},
	{"role", []string{"login", "release"}, (*doctor).role},
	{"source poll", []string{"login"}, (*doctor).poll},
	{"source push", []string{"config"}, (*doctor).push},
	{"source webhook", []string{"config"}, (*doctor).webhook},
	{"endpoints", []string{"release"}, (*doctor).endpoints},
	{"hosts", []string{"login"}, (*doctor).hosts},
	{"response", []string{"login", "release"}, (*doctor).response},
	{"playbooks", []string{"config"}, (*doctor).playbooks},
	{"kill switch", []string{"config"}, (*doctor).killSwitch},
}

// doctor is one examination. It belongs to one goroutine.
type doctor struct {
	o         Options
	cfg       *config.Config
	configErr error
	secretErr error // why the password cannot be read
	client    *connector.Client
	address   string // host:port that answers
	server    server
	blocked   map[string]string // check to the failed one that it needs, itself included
}

// maxLook bounds one check, and maxAll all of them: a server that takes every call and
// answers none would keep a person waiting at each.
const (
	maxLook = time.Minute
	maxAll  = 2 * time.Minute
)

func (d *doctor) look(ctx context.Context, c check) Result {
	for _, need := range c.needs {
		if root, is := d.blocked[need]; is {
			d.blocked[c.name] = root
			return Result{c.name, Skip, "not looked at, because " + root + " failed", ""}
		}
	}
	if ctx.Err() != nil {
		return Result{c.name, Skip, "not looked at, because no time was left", ""}
	}
	ctx, cancel := context.WithTimeout(ctx, maxLook)
	defer cancel()
	f := c.look(d, ctx)
	if f.status == Fail {
		d.blocked[c.name] = c.name
	}
	return Result{c.name, f.status, f.found, f.hint}
}

// leave gives the token back.
func (d *doctor) leave(ctx context.Context) {
	if d.client == nil {
		return
	}
	// Also when the person has lost patience: a token lives for seven days.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = d.client.Logout(ctx) // nothing can be done about it
}

// failure is a finding about a call that failed.
func failure(err error, hint string) finding {
	switch {
	case errors.Is(err, connector.ErrForbidden):
		hint = "give the account a role that may do this"
	case errors.Is(err, connector.ErrCertificate):
		hint = certificateHint
	case isTimeout(err):
		hint = "the server does not answer in time: look at its load, or give it longer with --timeout"
	}
	return finding{Fail, said(err), hint}
}

func isTimeout(err error) bool {
	waited, is := errors.AsType[net.Error](err)
	return errors.Is(err, context.DeadlineExceeded) || is && waited.Timeout()
}

// said is an error on one line.
func said(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// number is a count with its word.
func number(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// listing is a few names and how many more there are.
func listing(names []string, limit int) string {
	names = slices.Clone(names)
	if more := len(names) - limit; more > 0 {
		names = append(names[:limit], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}
