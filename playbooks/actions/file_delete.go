package actions

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/playbooks"
)

// FileDelete are the arguments of file.delete.
type FileDelete struct {
	// Host is the host identifier.
	Host Host `yaml:"host" required:"true"`

	// Path is the full path of the file on the host.
	Path string `yaml:"path" required:"true"`

	// MD5 is the file's hash, as 32 hex digits. A file that has another hash by now is
	// not deleted.
	MD5 string `yaml:"md5"`
}

func init() {
	add(kind[FileDelete]{
		Spec: playbooks.Spec{
			Name:    "file.delete",
			Summary: "Deletes a file, and looks whether it is gone.",
			Effect:  playbooks.Once,
			Needs:   []string{"enterprise", "response"},
			Kind:    "file",
			Output:  CommandOutput{},
			Example: "do: file.delete\nwith:\n  host: ${{ .alert.host.identifier }}\n  path: ${{ .alert.event.target_path }}\n  md5: ${{ .alert.event.md5 }}\n",
			Timeout: 5 * time.Minute,
		},
		check: func(_ *Deps, in *FileDelete, a *arguments) {
			if _, err := hex.DecodeString(in.MD5); a.known("md5") && in.MD5 != "" && (err != nil || len(in.MD5) != 32) {
				a.refuse("md5", "", "expected 32 hex digits, found %.40q", in.MD5)
			}
		},
		host: func(in FileDelete) Host { return in.Host },
		ready: func(ctx context.Context, d *Deps, call playbooks.Call, in FileDelete) error {
			return in.identify(ctx, d, call)
		},
		do: func(ctx context.Context, d *Deps, call playbooks.Call, in FileDelete) (playbooks.Outcome, error) {
			return d.send(ctx, in.Host, in.task(call), func(ctx context.Context) (connector.Command, error) {
				return d.Client.Responses.DeleteFile(ctx, connector.DeleteFile{Hosts: []string{string(in.Host)}, Path: in.Path, MD5: in.MD5})
			})
		},
		poll: func(ctx context.Context, d *Deps, call playbooks.Call, in FileDelete, ref string) (playbooks.Outcome, error) {
			return d.follow(ctx, in.Host, ref, in.task(call), func(ctx context.Context, c connector.HostCommand) playbooks.Outcome {
				out := d.verify(ctx, in.Host, probe{
					task: in.task(call), sql: "select path from file where path = :path", values: map[string]any{"path": in.Path},
					wrong: func(rows []map[string]string) string {
						if len(rows) > 0 {
							return in.Path + " is still there"
						}
						return ""
					},
				})
				out.Output = CommandOutput{Command: c.CommandID, Message: c.Message}
				return out
			})
		},
		find: func(ctx context.Context, d *Deps, _ playbooks.Call, in FileDelete, since time.Time) ([]playbooks.Found, error) {
			return d.findCommands(ctx, in.Host, since, wanted{action: "delete", target: "file", values: []string{in.Path}})
		},
	})
}

// identify looks whether the file is there, and the one that is meant.
func (in FileDelete) identify(ctx context.Context, d *Deps, call playbooks.Call) error {
	where := hostName(call, in.Host)
	lost := func(err error) error {
		return fmt.Errorf("%s on %s: %w: %w", in.Path, where, playbooks.ErrTransient, err)
	}
	rows, err := d.ask(ctx, in.Host, "select path from file where path = :path", map[string]any{"path": in.Path})
	switch {
	case err != nil:
		return lost(err)
	case len(rows) == 0:
		return fmt.Errorf("there is no file %s on %s any more", in.Path, where)
	case in.MD5 == "":
		return nil
	}
	rows, err = d.ask(ctx, in.Host, "select coalesce(md5, '') as md5 from hash where path = :path", map[string]any{"path": in.Path})
	switch {
	case err != nil:
		return lost(err)
	case len(rows) == 0 || rows[0]["md5"] == "":
		return fmt.Errorf("%s does not tell the hash of %s; whether it is the file with MD5 %s cannot be said", where, in.Path, in.MD5)
	case !strings.EqualFold(rows[0]["md5"], in.MD5):
		return fmt.Errorf("%s on %s has the MD5 %s and not %s: it is another file by now", in.Path, where, rows[0]["md5"], in.MD5)
	}
	return nil
}

func (in FileDelete) task(call playbooks.Call) task {
	return task{"delete", "deleted", fmt.Sprintf("%s on %s", in.Path, hostName(call, in.Host))}
}
