package actions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/evidence"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// CarveOutput is what carve.file, carve.quarantined and carve.fetch leave under
// .steps.<id>.output. Beside the archive lies a manifest with the same, and a record of
// who had it in hands.
type CarveOutput struct {
	// Session is the server's id of the carve.
	Session string `json:"session"`
	// Host is the identifier of the host that the file came from.
	Host string `json:"host"`
	// Path is where the file was on the host; empty after carve.fetch.
	Path string `json:"path"`
	// File is the downloaded archive; empty when no folder for carves is
	// configured, and the archive stays on the server.
	File string `json:"file,omitempty"`
	// Bytes is the length of the archive.
	Bytes int64 `json:"bytes,omitempty"`
	// SHA256 is the hash of the archive, not of the file in it, and not of the encrypted
	// one.
	SHA256 string `json:"sha256,omitempty"`
	// Kind is tar or zst, as its first bytes say, or unknown for something else.
	Kind string `json:"kind,omitempty"`
	// Files are the names in the archive, the first hundred.
	Files []string `json:"files,omitempty"`
	// Recipients can decrypt it, where carves.recipients are configured.
	Recipients []string `json:"recipients,omitempty"`
	// Remarks are what is odd about it, such as another length than the server told.
	Remarks []string `json:"remarks,omitempty"`
	// Alert is the alert on whose behalf it was taken.
	Alert string `json:"alert"`
	// Mark names the run and the step that took it.
	Mark string `json:"mark"`
	// CarvedAt is when the carve began.
	CarvedAt time.Time `json:"carved_at"`
	// DownloadedAt is when erbridge had all of it.
	DownloadedAt time.Time `json:"downloaded_at,omitzero"`
}

// carving is a carve that a step waits for.
type carving struct {
	call playbooks.Call
	host Host
	path string // on the host; empty: whatever is in it
	ref  string
	task task
}

func carvingTask(call playbooks.Call, host Host, path string) task {
	return task{"carve", "carved", fmt.Sprintf("%s from %s", path, hostName(call, host))}
}

func carvingOf(call playbooks.Call, host Host, path, ref string) carving {
	return carving{call, host, path, ref, carvingTask(call, host, path)}
}

// waits is the outcome as long as the carve is not over.
func (c carving) waits() playbooks.Outcome {
	return playbooks.Outcome{State: soar.StepAccepted, Ref: c.ref, PollAfter: nextPoll, Target: string(c.host), Summary: c.task.asked()}
}

// failed is the outcome of a carve of which nothing will come any more.
func (c carving) failed(output CarveOutput, why string) playbooks.Outcome {
	return playbooks.Outcome{State: soar.StepFailed, Target: string(c.host), Summary: c.task.failed(), Error: why, Output: output}
}

// actor is who a step is to a record of custody.
func actor(call playbooks.Call) evidence.Actor {
	by := evidence.Actor{Name: call.Mark, Run: call.Run}
	if ref := call.Alert.Ref(); ref != "" {
		by.Why = "alert " + ref
	}
	return by
}

func (c carving) origin(carve connector.Carve) evidence.Origin {
	return evidence.Origin{
		Session: carve.SessionID, Host: string(c.host), Path: c.path,
		Alert: c.call.Alert.Ref(), Mark: c.call.Mark, CarvedAt: carve.CreatedAt,
	}
}

// followCarve looks at a carve once. When the archive is complete, it fetches it.
func (d *Deps) followCarve(ctx context.Context, c carving, carve connector.Carve) (playbooks.Outcome, error) {
	origin := c.origin(carve)
	output := CarveOutput{
		Session: origin.Session, Host: origin.Host, Path: origin.Path, Alert: origin.Alert, Mark: origin.Mark, CarvedAt: origin.CarvedAt,
	}
	switch {
	case !carve.Done():
		return d.awaitCarve(ctx, c, carve, output)
	case d.Evidence == nil:
		return playbooks.Outcome{State: soar.StepExecuted, Target: string(c.host), Summary: c.task.finished() + "; kept on the server", Output: output}, nil
	}
	m, err := d.Evidence.Take(ctx, origin, carve.Size, actor(c.call), func(ctx context.Context, w io.Writer) error {
		_, err := d.Client.Carves.DownloadAny(ctx, origin.Session, w)
		return err
	})
	switch {
	case errors.Is(err, evidence.ErrBusy):
		out := c.waits()
		out.Progress = "somebody else is downloading or reading this carve: this step takes it when that is over"
		return out, nil
	case errors.Is(err, evidence.ErrTooLarge), errors.Is(err, evidence.ErrChanged):
		return c.failed(output, err.Error()), nil
	case err != nil:
		return playbooks.Outcome{}, err
	}
	output.File, output.Bytes, output.SHA256, output.Kind, output.Files = m.File, m.Bytes, m.SHA256, m.Kind, m.Files
	output.Recipients, output.Remarks, output.DownloadedAt = m.Recipients, m.Remarks, m.DownloadedAt
	return c.judge(m, output), nil
}

// judge says what an archive is good for. Length, first bytes and hash were looked at on
// the way, so this is more than the server's word.
func (c carving) judge(m *evidence.Manifest, output CarveOutput) playbooks.Outcome {
	out := playbooks.Outcome{State: soar.StepVerified, Target: string(c.host), Summary: c.task.finished(), Output: output}
	switch {
	case m.Kind == evidence.KindUnknown:
		return c.failed(output, fmt.Sprintf("what came is no archive: %s; its %d bytes are kept for a look: erbridge carves get %s",
			m.Broken, m.Bytes, m.Session))
	case m.Broken != "":
		out.State = soar.StepExecuted
		out.Summary += "; not verified: the archive " + m.Broken
	case len(m.Files) == 0:
		out.State = soar.StepExecuted
		out.Summary += "; not verified: the archive is empty"
	// The list of carves does not say what is in them, so one that was found there,
	// and not by the query that asked for it, may be another one of the same host.
	case c.path != "" && !strings.HasPrefix(c.ref, "query:") && !holdsFile(m.Files, c.path):
		return c.failed(output, fmt.Sprintf("the carve that was found on the server holds %s", strings.Join(m.Files, ", ")))
	}
	if out.State == soar.StepVerified {
		out.Summary += fmt.Sprintf(" (%d bytes)", m.Bytes)
	}
	if n := len(m.Recipients); n > 0 {
		out.Summary += fmt.Sprintf("; encrypted to %d recipients", n)
	}
	for _, remark := range m.Remarks {
		out.Summary += "; " + remark
	}
	return out
}

// holdsFile reports whether a file of the wanted name is among those of an archive.
func holdsFile(names []string, path string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(baseName(name), baseName(path)) })
}

// othersCarve reports whether another call has fetched a carve and found in it
// what it had asked for.
func (d *Deps) othersCarve(call playbooks.Call, session string) bool {
	if d.Evidence == nil {
		return false
	}
	item, err := d.Evidence.Get(session)
	return err == nil && item.Mark != call.Mark && holdsFile(item.Files, item.Path)
}

// findCarves lists the carves of a host that began at or after since.
func (d *Deps) findCarves(ctx context.Context, host Host, since time.Time) ([]playbooks.Found, error) {
	carves, err := rowsSince(ctx, since, func(ctx context.Context, start, limit int) (connector.Page[connector.Carve], error) {
		return d.Client.Carves.Page(ctx, connector.CarveQuery{Host: string(host), Start: start, Limit: limit})
	}, func(c connector.Carve) (string, time.Time) {
		return strconv.FormatInt(c.ID, 10) + "/" + c.SessionID, c.CreatedAt
	})
	if err != nil {
		return nil, fmt.Errorf("carves of %s: %w", host, readError(err))
	}
	var found []playbooks.Found
	for _, carve := range carves {
		found = append(found, playbooks.Found{Ref: "session:" + carve.SessionID, At: carve.CreatedAt})
	}
	if len(found) == 0 {
		return nil, d.mayBegin(ctx, host)
	}
	return found, nil
}

// mayBegin is nil when a carve that was asked for and is in no list will not begin any
// more. One of a host that is away may: nobody can tell as long as it is.
func (d *Deps) mayBegin(ctx context.Context, host Host) error {
	record, err := d.Client.Hosts.Get(ctx, string(host))
	if err == nil {
		err = d.online(ctx, record)
	}
	if err != nil {
		return fmt.Errorf("no carve of %s has begun, and one may have been asked for: %w", host, readError(err))
	}
	return nil
}

// carveBySession finds a carve in the list of its host.
func (d *Deps) carveBySession(ctx context.Context, host Host, session string) (connector.Carve, error) {
	for carve, err := range d.Client.Carves.List(ctx, connector.CarveQuery{Host: string(host)}) {
		if err != nil {
			return carve, err
		}
		if carve.SessionID == session {
			return carve, nil
		}
	}
	return connector.Carve{}, fmt.Errorf("carve %s of host %s: %w", session, host, soar.ErrNotFound)
}
