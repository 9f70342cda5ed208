package actions

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/playbooks"
)

// YARAAdd are the arguments of yara.add.
type YARAAdd struct {
	// File is the name of the file, which ends in .yar or .yara. The server keeps it in lower
	// case. A file of that name with other rules is not replaced.
	File string `yaml:"file" required:"true"`

	// Content is the text of the rules, at most 1 MiB. It stands in the playbook, where it
	// is reviewed, and cannot be computed.
	Content string `yaml:"content" required:"true"`

	// Platforms are those whose hosts get it; all of them without it. Releases before 4.0 know
	// none, and give it to all.
	Platforms []string `yaml:"platforms" enum:"windows,linux,darwin"`
}

// YARAOutput is what yara.add and yara.remove leave under .steps.<id>.output.
type YARAOutput struct {
	// File is the name as the server keeps it.
	File string `json:"file"`
	// Changed are the platforms that were added, or taken away; releases before 4.0 know none.
	Changed []string `json:"changed"`
	// Whole tells whether the file itself was added, or removed.
	Whole bool `json:"whole"`
	// Content is what a removed file held, if that is not more than 128 KiB.
	Content string `json:"content,omitempty"`
}

const (
	yaraAdd    = "yara.add"
	yaraRemove = "yara.remove"

	maxYARABytes = 1 << 20
)

var yaraPlatforms = []string{"windows", "linux", "darwin"}

func init() {
	adding := change[YARAAdd, YARAOutput]{
		make: addYARA,
		look: func(ctx context.Context, d *Deps, _ playbooks.Call, in YARAAdd, _ YARAOutput) (string, error) {
			file, err := d.yaraFile(ctx, in.File)
			switch {
			case err != nil:
				return "", err
			case !file.there:
				return "has no file " + file.name, nil
			case !sameRules(file.content, in.Content):
				return fmt.Sprintf("file %s holds other rules", file.name), nil
			}
			if lacking := file.lacking(in.Platforms); len(lacking) > 0 {
				return fmt.Sprintf("file %s is not for %s", file.name, strings.Join(lacking, ", ")), nil
			}
			return "", nil
		},
		words: func(_ playbooks.Call, _ YARAAdd, changed YARAOutput) string {
			return "added the YARA file " + changed.File
		},
	}
	add(kind[YARAAdd]{
		Spec: playbooks.Spec{
			Name:       yaraAdd,
			Summary:    "Gives a file of YARA rules to the agents of all hosts, or of those of some platforms.",
			Effect:     playbooks.Repeatable,
			Inverse:    yaraRemove,
			Everywhere: true,
			Output:     YARAOutput{},
			Example:    "do: yara.add\nwith:\n  file: dropper.yar\n  platforms: [windows]\n  content: |\n    rule dropper { strings: $a = \"evil.example\" condition: $a }\n",
			Timeout:    2 * time.Minute,
		},
		check: func(_ *Deps, in *YARAAdd, a *arguments) {
			checkYARAName(in.File, a)
			checkYARAPlatforms(in.Platforms, a)
			switch {
			case !a.known("content"):
				a.refuse("content", "write the rules into the playbook", "rules must not be put together from values of an alert")
			case len(in.Content) > maxYARABytes:
				a.refuse("content", "", "has %d bytes, the limit is %d", len(in.Content), maxYARABytes)
			}
		},
		foresee: func(ctx context.Context, d *Deps, _ playbooks.Call, in YARAAdd) (any, error) {
			file, err := d.yaraFile(ctx, in.File)
			switch {
			case err != nil:
				return nil, err
			case file.there && !sameRules(file.content, in.Content):
				return nil, errOtherRules(file.name)
			case file.there && len(file.lacking(in.Platforms)) == 0:
				return nil, fmt.Errorf("%w: the server has the file %s with these rules", playbooks.ErrNothingToDo, file.name)
			}
			return in.changes(&file), nil
		},
		do:   adding.do,
		poll: adding.poll,
		reverse: func(_ playbooks.Call, _ YARAAdd, output map[string]any) *playbooks.Reversal {
			whole, _ := output["whole"].(bool)
			platforms := outputList(output, "changed")
			switch {
			case len(platforms) > 0:
				return &playbooks.Reversal{Do: yaraRemove, With: map[string]any{"file": output["file"], "platforms": platforms}}
			case whole:
				return &playbooks.Reversal{Do: yaraRemove, With: map[string]any{"file": output["file"]}}
			}
			return nil
		},
	})
}

func addYARA(ctx context.Context, d *Deps, _ playbooks.Call, in YARAAdd) (YARAOutput, error) {
	file, err := d.yaraFile(ctx, in.File)
	switch {
	case err != nil:
		return YARAOutput{File: file.name, Changed: []string{}}, err
	case file.there && !sameRules(file.content, in.Content):
		return YARAOutput{File: file.name, Changed: []string{}}, errOtherRules(file.name)
	}
	changed := in.changes(&file)
	switch {
	case changed.Whole:
		err = d.Client.YARA.Add(ctx, connector.Upload{Name: file.name, Content: []byte(in.Content)}, platformsOf(in.Platforms)...)
	case len(changed.Changed) > 0:
		err = d.Client.YARA.Update(ctx, file.name, changed.Changed...)
	}
	if err != nil {
		return changed, fmt.Errorf("YARA file %s: %w", file.name, effectError(err))
	}
	return changed, nil
}

// changes are what the call changes of a file.
func (in YARAAdd) changes(file *yaraFile) YARAOutput {
	lacking := file.lacking(in.Platforms)
	if !file.there && file.platforms != nil { // mapped to some or not, it goes to all
		lacking = platformsOf(in.Platforms)
	}
	return YARAOutput{File: file.name, Changed: append([]string{}, lacking...), Whole: !file.there}
}

func errOtherRules(name string) error {
	return fmt.Errorf("the server has a file %s with other rules, which is not replaced: take another name, or remove it first", name)
}

// yaraFile is a file of rules as the server has it.
type yaraFile struct {
	name      string
	there     bool
	content   string
	platforms []string // nil before release 4.0, where each is for all
}

// yaraFile reads a file of rules.
func (d *Deps) yaraFile(ctx context.Context, name string) (yaraFile, error) {
	file := yaraFile{name: strings.ToLower(name)}
	files, err := d.Client.YARA.List(ctx)
	if err != nil {
		return file, fmt.Errorf("YARA files: %w", readError(err))
	}
	if files.ByPlatform != nil {
		file.platforms = []string{}
	}
	for _, platform := range yaraPlatforms {
		if slices.Contains(files.ByPlatform[platform], file.name) {
			file.platforms = append(file.platforms, platform)
		}
	}
	file.content, err = d.Client.YARA.View(ctx, file.name)
	switch {
	case err == nil:
		file.there = true
	case errors.Is(err, connector.ErrNotFound), errors.Is(err, connector.ErrRefused): // it may be mapped to platforms all the same
	default:
		return file, fmt.Errorf("YARA file %s: %w", file.name, readError(err))
	}
	return file, nil
}

// lacking are the platforms of a list, or of all, that do not have the file.
func (f *yaraFile) lacking(platforms []string) []string {
	if f.platforms == nil {
		return nil
	}
	return without(platformsOf(platforms), f.platforms)
}

// platformsOf are the platforms of a list; all for none.
func platformsOf(list []string) []string {
	if len(list) == 0 {
		return yaraPlatforms
	}
	return list
}

// sameRules compares texts of rules; how lines end says nothing.
func sameRules(a, b string) bool {
	clean := func(text string) string { return strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n")) }
	return clean(a) == clean(b)
}

func checkYARAName(name string, a *arguments) {
	if name == "" || !a.known("file") || a.wrong("file") {
		return
	}
	ext := strings.ToLower(path.Ext(name))
	if ext != ".yar" && ext != ".yara" || len(name) == len(ext) || plainName(name) != name || strings.HasPrefix(name, "-") {
		a.refuse("file", "letters, digits, dot, dash and underscore", "%.80q is no name of a file that ends in .yar or .yara", name)
	}
}

func checkYARAPlatforms(list []string, a *arguments) {
	if _, given := a.values["platforms"]; given && a.known("platforms") && !a.wrong("platforms") && len(list) == 0 {
		a.refuse("platforms", "leave platforms out for all of them", "is empty")
	}
}
