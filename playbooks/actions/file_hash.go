package actions

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// FileHash are the arguments of file.hash.
type FileHash struct {
	// Host is the host identifier. The host must be online.
	Host Host `yaml:"host" required:"true"`

	// Path is the full path of the file on the host.
	Path string `yaml:"path" required:"true"`
}

// FileHashOutput is what file.hash leaves under .steps.<id>.output.
type FileHashOutput struct {
	// Path is the path as the host spells it.
	Path string `json:"path"`
	// MD5 is the hash as 32 hex digits.
	MD5 string `json:"md5"`
	// SHA1 is the hash as 40 hex digits.
	SHA1 string `json:"sha1"`
	// SHA256 is the hash as 64 hex digits.
	SHA256 string `json:"sha256"`
	// Size is how many bytes the file has.
	Size int64 `json:"size"`
}

// What the tables of osquery are asked for. A row with null in it would be lost on the
// way (observed on release 2.1.2).
const (
	fileProbe = "select path, coalesce(size, 0) as size from file where path = :path"
	hashProbe = "select coalesce(md5, '') as md5, coalesce(sha1, '') as sha1, coalesce(sha256, '') as sha256 from hash where path = :path"
)

func init() {
	add(kind[FileHash]{
		Spec: playbooks.Spec{
			Name:    "file.hash",
			Summary: "Reads the hashes and the size of a file from the host itself.",
			Effect:  playbooks.Reads,
			Output:  FileHashOutput{},
			Example: "do: file.hash\nwith:\n  host: ${{ .alert.host.identifier }}\n  path: ${{ .alert.event.target_path }}\n",
			Timeout: 2 * time.Minute,
		},
		do: hashFile,
	})
}

func hashFile(ctx context.Context, d *Deps, call playbooks.Call, in FileHash) (playbooks.Outcome, error) {
	where, values := hostName(call, in.Host), map[string]any{"path": in.Path}
	files, err := d.ask(ctx, in.Host, fileProbe, values)
	if err != nil {
		return playbooks.Outcome{Target: string(in.Host)}, fmt.Errorf("%s on %s: %w", in.Path, where, d.queryError(ctx, string(in.Host), err))
	}
	if len(files) == 0 {
		return playbooks.Outcome{Target: string(in.Host)}, fmt.Errorf("there is no file %s on %s: %w", in.Path, where, soar.ErrNotFound)
	}
	hashes, err := d.ask(ctx, in.Host, hashProbe, values)
	if err != nil {
		return playbooks.Outcome{Target: string(in.Host)}, fmt.Errorf("%s on %s: %w", in.Path, where, d.queryError(ctx, string(in.Host), err))
	}
	if len(hashes) == 0 || hashes[0]["sha256"] == "" {
		return playbooks.Outcome{Target: string(in.Host)}, fmt.Errorf(
			"%s does not tell the hash of %s: it is a folder, or its agent may not read it, or takes it for too large", where, in.Path)
	}
	output := FileHashOutput{Path: files[0]["path"], MD5: hashes[0]["md5"], SHA1: hashes[0]["sha1"], SHA256: hashes[0]["sha256"]}
	if output.Size, err = strconv.ParseInt(files[0]["size"], 10, 64); err != nil {
		return playbooks.Outcome{Target: string(in.Host)}, fmt.Errorf("the size of %s on %s: %w", in.Path, where, err)
	}
	return playbooks.Outcome{
		State: soar.StepExecuted, Target: string(in.Host), Summary: fmt.Sprintf("read the hashes of %s on %s", in.Path, where), Output: output,
	}, nil
}
