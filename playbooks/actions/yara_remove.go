package actions

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/playbooks"
)

// YARARemove are the arguments of yara.remove.
type YARARemove struct {
	// File is the name of the file, in whatever case.
	File string `yaml:"file" required:"true"`

	// Platforms are those that it is taken away from; without it, all of them, and the file
	// is gone. Releases before 4.0 know none, and remove it as a whole.
	Platforms []string `yaml:"platforms" enum:"windows,linux,darwin"`
}

// maxKeptYARABytes bounds the rules that a run keeps of a file that was removed.
const maxKeptYARABytes = 128 << 10

func init() {
	removing := change[YARARemove, YARAOutput]{
		make: removeYARA,
		look: func(ctx context.Context, d *Deps, _ playbooks.Call, in YARARemove, _ YARAOutput) (string, error) {
			file, err := d.yaraFile(ctx, in.File)
			switch left := file.kept(in.Platforms); {
			case err != nil || !file.there:
				return "", err
			case file.platforms == nil:
				return "still has the file " + file.name, nil
			case len(left) > 0:
				return fmt.Sprintf("file %s is still for %s", file.name, strings.Join(left, ", ")), nil
			}
			return "", nil
		},
		words: func(_ playbooks.Call, _ YARARemove, changed YARAOutput) string {
			if !changed.Whole && len(changed.Changed) > 0 {
				return fmt.Sprintf("took the YARA file %s away from %s", changed.File, strings.Join(changed.Changed, ", "))
			}
			return "removed the YARA file " + changed.File
		},
	}
	add(kind[YARARemove]{
		Spec: playbooks.Spec{
			Name:       yaraRemove,
			Summary:    "Takes a file of YARA rules away from the agents of all hosts, or of those of some platforms.",
			Effect:     playbooks.Repeatable,
			Needs:      []string{"admin"},
			Inverse:    yaraAdd,
			Everywhere: true,
			Output:     YARAOutput{},
			Example:    "do: yara.remove\nwith:\n  file: dropper.yar\n",
			Timeout:    2 * time.Minute,
		},
		check: func(_ *Deps, in *YARARemove, a *arguments) {
			checkYARAName(in.File, a)
			checkYARAPlatforms(in.Platforms, a)
		},
		foresee: func(ctx context.Context, d *Deps, _ playbooks.Call, in YARARemove) (any, error) {
			file, err := d.yaraFile(ctx, in.File)
			switch {
			case err != nil:
				return nil, err
			case !file.there:
				return nil, fmt.Errorf("%w: the server has no file %s", playbooks.ErrNothingToDo, file.name)
			case len(file.platforms) > 0 && len(file.kept(in.Platforms)) == 0:
				return nil, fmt.Errorf("%w: file %s is for %s only", playbooks.ErrNothingToDo, file.name, strings.Join(file.platforms, ", "))
			}
			return in.changes(&file), d.mayAdminister(ctx, "removing a YARA file")
		},
		do:   removing.do,
		poll: removing.poll,
		reverse: func(_ playbooks.Call, _ YARARemove, output map[string]any) *playbooks.Reversal {
			if outputText(output, "content") == "" {
				return nil
			}
			with := map[string]any{"file": output["file"], "content": output["content"]}
			if platforms := outputList(output, "changed"); len(platforms) > 0 {
				with["platforms"] = platforms
			}
			return &playbooks.Reversal{Do: yaraAdd, With: with}
		},
	})
}

// kept are those of a list of platforms, or of all, that have the file.
func (f *yaraFile) kept(platforms []string) []string {
	return among(platformsOf(platforms), f.platforms)
}

func removeYARA(ctx context.Context, d *Deps, _ playbooks.Call, in YARARemove) (YARAOutput, error) {
	file, err := d.yaraFile(ctx, in.File)
	if err != nil || !file.there {
		return YARAOutput{File: file.name, Changed: []string{}}, err
	}
	changed := in.changes(&file)
	if err := d.Client.YARA.Delete(ctx, file.name, connector.DeleteForGood, platformsOf(in.Platforms)...); err != nil {
		return changed, fmt.Errorf("YARA file %s: %w", file.name, effectError(err))
	}
	return changed, nil
}

// changes are what the call changes of a file that is there.
func (in YARARemove) changes(file *yaraFile) YARAOutput {
	platforms := platformsOf(in.Platforms)
	changed := YARAOutput{
		File: file.name, Changed: append([]string{}, file.kept(platforms)...),
		Whole: !slices.ContainsFunc(file.platforms, func(p string) bool { return !slices.Contains(platforms, p) }),
	}
	if len(file.content) <= maxKeptYARABytes {
		changed.Content = file.content
	}
	return changed
}
