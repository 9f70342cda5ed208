package actions

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// CarveOutput is what carve.file and carve.quarantined leave under
// .steps.<id>.output. It is kept as manifest.json beside the archive, too.
type CarveOutput struct {
	// Session is the server's id of the carve.
	Session string `json:"session"`
	// Host is the identifier of the host that the file came from.
	Host string `json:"host"`
	// Path is where the file was on the host.
	Path string `json:"path"`
	// File is the downloaded archive; empty when no folder for carves is
	// configured, and the archive stays on the server.
	File string `json:"file,omitempty"`
	// Bytes is the length of the archive.
	Bytes int64 `json:"bytes,omitempty"`
	// SHA256 is the hash of the archive, not of the file in it.
	SHA256 string `json:"sha256,omitempty"`
	// Kind is tar or zst, as its first bytes say.
	Kind string `json:"kind,omitempty"`
	// Files are the names in the archive, the first hundred.
	Files []string `json:"files,omitempty"`
	// Alert is the alert on whose behalf it was taken.
	Alert string `json:"alert"`
	// Mark names the run and the step that took it.
	Mark string `json:"mark"`
	// CarvedAt is when the carve began.
	CarvedAt time.Time `json:"carved_at"`
	// DownloadedAt is when erbridge had all of it.
	DownloadedAt time.Time `json:"downloaded_at,omitzero"`
}

// followCarve looks at a carve once. When the archive is complete, it fetches it.
func (d *Deps) followCarve(ctx context.Context, call playbooks.Call, host Host, path, ref string, carve connector.Carve) (playbooks.Outcome, error) {
	out := playbooks.Outcome{State: soar.StepAccepted, Ref: ref, PollAfter: nextPoll, Target: string(host), Summary: carvingTask(call, host, path).asked()}
	// A carve has no state for failure: one that is stuck stays in progress until
	// the time-out of the step.
	if !carve.Done() {
		return out, nil
	}
	output := CarveOutput{
		Session: carve.SessionID, Host: string(host), Path: path,
		Alert: call.Alert.Ref(), Mark: call.Mark, CarvedAt: carve.CreatedAt,
	}
	out.State, out.PollAfter, out.Summary = soar.StepExecuted, 0, carvingTask(call, host, path).finished()
	if d.CarveDir == "" {
		out.Summary += "; kept on the server"
		out.Output = output
		return out, nil
	}
	err := d.fetchCarve(ctx, &output)
	if errors.Is(err, errCarveTooLarge) {
		out.State, out.Summary, out.Output = soar.StepFailed, carvingTask(call, host, path).failed(), output
		out.Error = err.Error()
		return out, nil
	}
	if err != nil {
		return playbooks.Outcome{}, err
	}
	out.Output = output
	if len(output.Files) == 0 {
		out.Summary += "; not verified: the archive's list of files cannot be read"
		return out, nil
	}
	// The list of carves does not say what is in them, so one that was found there,
	// and not by the query that asked for it, may be another one of the same host.
	if !strings.HasPrefix(ref, "query:") && !output.holdsFile() {
		out.Summary = carvingTask(call, host, path).failed()
		out.State, out.Error = soar.StepFailed, fmt.Sprintf("the carve that was found on the server holds %s", strings.Join(output.Files, ", "))
		return out, nil
	}
	// Length, format and hash were checked on the way, so this is more than the
	// server's word.
	out.State = soar.StepVerified
	out.Summary += fmt.Sprintf(" (%d bytes)", output.Bytes)
	return out, nil
}

// holdsFile reports whether a file of the wanted name is in the archive.
func (o *CarveOutput) holdsFile() bool {
	return slices.ContainsFunc(o.Files, func(name string) bool { return strings.EqualFold(baseName(name), baseName(o.Path)) })
}

func carvingTask(call playbooks.Call, host Host, path string) task {
	return task{"carve", "carved", fmt.Sprintf("%s from %s", path, hostName(call, host))}
}

// manifestName is the file beside an archive that tells where it came from.
const manifestName = "manifest.json"

var errCarveTooLarge = errors.New("carve is larger than the configured limit")

// fetchCarve downloads an archive into a folder of its own and fills in output.
// The archive is there under its name only when all of it is on disk; the
// manifest comes last, so a folder with a manifest is complete and is not
// fetched again after a crash.
func (d *Deps) fetchCarve(ctx context.Context, output *CarveOutput) error {
	if !validSession(output.Session) {
		return fmt.Errorf("carve session %q: expected letters and digits", output.Session)
	}
	if before, ok := d.fetched(output.Session); ok && before.Mark == output.Mark && before.Path == output.Path {
		*output = before
		return nil
	}
	dir := filepath.Join(d.CarveDir, output.Session)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("carve folder: %w", err)
	}
	// A crash leaves a part behind, which nobody else cleans up.
	parts, err := filepath.Glob(filepath.Join(dir, ".part-*"))
	for _, part := range parts {
		err = errors.Join(err, os.Remove(part))
	}
	if err != nil {
		return fmt.Errorf("carve folder: %w", err)
	}
	var info connector.DownloadInfo
	part, err := writeFile(dir, func(w io.Writer) (err error) {
		info, err = d.Client.Carves.Download(ctx, output.Session, &cappedWriter{w: w, left: d.MaxCarveBytes})
		return err
	})
	if err != nil {
		return fmt.Errorf("download carve %s: %w", output.Session, err)
	}
	output.File = filepath.Join(dir, output.Session+"."+info.Kind)
	output.Bytes, output.SHA256, output.Kind, output.DownloadedAt = info.Bytes, info.SHA256, info.Kind, d.Now().UTC()
	if err := rename(part, output.File); err != nil {
		return err
	}
	if output.Files, err = archiveFiles(output.File, info.Kind); err != nil {
		return fmt.Errorf("carve %s: %w", output.Session, err)
	}
	part, err = writeFile(dir, func(w io.Writer) error {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(output)
	})
	if err != nil {
		return fmt.Errorf("manifest of carve %s: %w", output.Session, err)
	}
	return rename(part, filepath.Join(dir, manifestName))
}

// fetched reads the manifest of a carve that is in the folder already.
func (d *Deps) fetched(session string) (before CarveOutput, ok bool) {
	if d.CarveDir == "" || !validSession(session) {
		return before, false
	}
	data, err := os.ReadFile(filepath.Join(d.CarveDir, session, manifestName))
	if err != nil || json.Unmarshal(data, &before) != nil {
		return CarveOutput{}, false
	}
	return before, before.Session == session
}

// othersCarve reports whether another call has fetched a carve and found in it
// what it had asked for.
func (d *Deps) othersCarve(call playbooks.Call, session string) bool {
	before, ok := d.fetched(session)
	return ok && before.Mark != call.Mark && before.holdsFile()
}

// maxListedBytes bounds how much of an archive is unpacked to see what is in it:
// a few kilobytes may unpack to terabytes.
const maxListedBytes = 64 << 20

// archiveFiles lists what is in an archive, as far as that can be read. An archive
// that is broken inside is evidence all the same, so it is no error.
func archiveFiles(path, kind string) (names []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var content io.Reader = f
	if kind == "zst" {
		unpacker, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxListedBytes))
		if err != nil {
			return nil, nil
		}
		defer unpacker.Close()
		content = unpacker
	}
	archive := tar.NewReader(io.LimitReader(content, maxListedBytes))
	for len(names) < 100 {
		header, err := archive.Next()
		if err != nil {
			break
		}
		names = append(names, header.Name)
	}
	return names, nil
}

// validSession guards the name of a folder: sessions are ten letters and digits.
func validSession(session string) bool {
	return session != "" && len(session) <= 64 && !strings.ContainsFunc(session, func(r rune) bool {
		return r >= 0x80 || r == '_' || !nameByte(byte(r))
	})
}

// writeFile writes a temporary file in dir, syncs it and returns its name. With
// an error there is no file.
func writeFile(dir string, write func(io.Writer) error) (name string, err error) {
	f, err := os.CreateTemp(dir, ".part-*")
	if err != nil {
		return "", err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := write(f); err != nil {
		return "", err
	}
	return f.Name(), f.Sync()
}

// rename moves a file to its final name and makes that last through a power loss.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// cappedWriter refuses to write more than it may.
type cappedWriter struct {
	w    io.Writer
	left int64
}

func (c *cappedWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > c.left {
		return 0, errCarveTooLarge
	}
	n, err := c.w.Write(p)
	c.left -= int64(n)
	return n, err
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
	return found, nil
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
