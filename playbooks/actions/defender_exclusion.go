package actions

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// DefenderExclusion are the arguments of defender.exclusions_add and
// defender.exclusions_remove: exactly one of path, process and file_type.
type DefenderExclusion struct {
	// Host is the host identifier.
	Host Host `yaml:"host" required:"true"`

	// Path is the full path of a file or folder, with everything below it.
	Path string `yaml:"path"`

	// Process is the name or the full path of a program; what it opens is not scanned.
	Process string `yaml:"process"`

	// FileType is the ending of file names, such as .log
	FileType string `yaml:"file_type"`

	// For is how long it shall be so: from a minute to 90 days. Then it is taken back by
	// itself. Without it, somebody has to do so.
	For time.Duration `yaml:"for"`
}

// DefenderExclusionOutput is what defender.exclusions_add and
// defender.exclusions_remove leave under .steps.<id>.output.
type DefenderExclusionOutput struct {
	CommandOutput
	// Exclusion is what was added or removed, such as "path C:\Build".
	Exclusion string `json:"exclusion"`
	// Verified tells whether Defender shows its exclusions, and this change among them.
	// Where it does not, nobody knows whether it was so before.
	Verified bool `json:"verified"`
}

// addExclusionChange adds one of the two actions that change exclusions.
func addExclusionChange(name, inverse, summary string, change connector.ExclusionChange, todo, done, where string) {
	words := func(call playbooks.Call, in DefenderExclusion) task {
		return task{todo, done, fmt.Sprintf("%s %s scans of Defender on %s", in, where, hostName(call, in.Host))}
	}
	adds := change == connector.AddExclusion
	add(kind[DefenderExclusion]{
		Spec: playbooks.Spec{
			Name:    name,
			Summary: summary,
			Effect:  playbooks.Repeatable,
			Needs:   []string{"enterprise", "response", "windows"},
			Inverse: inverse,
			Kind:    "exclusion",
			Sense:   string(change),
			Output:  DefenderExclusionOutput{},
			Example: "do: " + name + "\nwith:\n  host: ${{ .alert.host.identifier }}\n  path: C:\\Build\\cache\n",
			Timeout: 5 * time.Minute,
		},
		check: func(_ *Deps, in *DefenderExclusion, a *arguments) {
			checkFor(in.For, a)
			checkExclusion(in, a, adds)
		},
		host: func(in DefenderExclusion) Host { return in.Host },
		foresee: func(ctx context.Context, d *Deps, call playbooks.Call, in DefenderExclusion) (any, error) {
			settings, err := d.defenderSettings(ctx, in.Host)
			if err != nil {
				return nil, words(call, in).failure(fmt.Errorf("its settings: %w: %w", playbooks.ErrTransient, err))
			}
			there, told := in.within(settings)
			if told && there == adds { // undo takes back what this added, and must not take what others did
				return nil, fmt.Errorf("%s is so already: %w", words(call, in).finished(), playbooks.ErrNothingToDo)
			}
			return map[string]any{"exclusion": in.String(), "verified": told}, nil
		},
		do: func(ctx context.Context, d *Deps, call playbooks.Call, in DefenderExclusion) (playbooks.Outcome, error) {
			return d.send(ctx, in.Host, words(call, in), func(ctx context.Context) (connector.Command, error) {
				return d.Client.Defender.Configure(ctx, string(in.Host), change, connector.Exclusion{Path: in.Path, Process: in.Process, FileType: in.FileType})
			})
		},
		poll: func(ctx context.Context, d *Deps, call playbooks.Call, in DefenderExclusion, ref string) (playbooks.Outcome, error) {
			return d.follow(ctx, in.Host, ref, words(call, in), func(ctx context.Context, c connector.HostCommand) playbooks.Outcome {
				out := d.settled(ctx, in.Host, words(call, in), func(settings map[string]any) (why string, told bool) {
					there, told := in.within(settings)
					if there != adds {
						why = map[bool]string{true: "Defender does not leave it out", false: "Defender leaves it out still"}[adds]
					}
					return why, told
				})
				out.Output = DefenderExclusionOutput{CommandOutput{Command: c.CommandID, Message: c.Message}, in.String(), out.State == soar.StepVerified}
				return out
			})
		},
		reverse: func(_ playbooks.Call, in DefenderExclusion, output map[string]any) *playbooks.Reversal {
			// Undoing must not blind Defender for what it may never have left out.
			if verified, _ := output["verified"].(bool); !adds && !verified && in.For == 0 {
				return nil
			}
			with := map[string]any{"host": string(in.Host)}
			for key, value := range map[string]string{"path": in.Path, "process": in.Process, "file_type": in.FileType} {
				if value != "" {
					with[key] = value
				}
			}
			return &playbooks.Reversal{Do: inverse, With: with, After: in.For}
		},
	})
}

func (in DefenderExclusion) String() string {
	switch {
	case in.Process != "":
		return "process " + in.Process
	case in.FileType != "":
		return "file type " + in.FileType
	}
	return "path " + in.Path
}

// within tells whether the settings hold the exclusion. Windows does not show
// exclusions to everybody.
func (in DefenderExclusion) within(settings map[string]any) (there, told bool) {
	name, same := "ExclusionPath", func(text string) bool {
		return strings.EqualFold(strings.TrimRight(text, `\`), strings.TrimRight(in.Path, `\`))
	}
	switch {
	case in.Process != "":
		name, same = "ExclusionProcess", func(text string) bool { return strings.EqualFold(text, in.Process) }
	case in.FileType != "":
		name, same = "ExclusionExtension", func(text string) bool {
			return strings.EqualFold(strings.TrimPrefix(text, "."), strings.TrimPrefix(in.FileType, "."))
		}
	}
	value, told := settings[name]
	items := []any{}
	switch v := value.(type) {
	case []any:
		items = v
	case string: // PowerShell makes no list of a single one
		items = append(items, v)
	case nil:
	default:
		return false, false
	}
	for _, item := range items {
		text, isText := item.(string)
		if !isText || strings.HasPrefix(text, "N/A") {
			return false, false
		}
		there = there || same(text)
	}
	return there, told
}

var (
	windowsPath   = regexp.MustCompile(`^([A-Za-z]:\\|\\\\[^\\]+\\[^\\]+\\|%[A-Za-z()0-9]+%\\)`)
	wholeVolume   = regexp.MustCompile(`^([A-Za-z]:|\\\\[^\\]+\\[^\\]+|%[A-Za-z()0-9]+%)\\[\\*?.]*$`)
	fileTypeNames = regexp.MustCompile(`^\.?[A-Za-z0-9_-]{1,32}$`)
)

// notInExclusions are characters with a meaning in PowerShell, by which the agent most
// likely sets exclusions; nobody says how it quotes them. With a comma in it, one path
// would be two.
const notInExclusions = "'\"`$;,&|<>{}\u2018\u2019\u201a\u201b\u201c\u201d\u201e"

// leadsInArguments are characters that mean something to PowerShell at the beginning of an
// argument: dashes, all of which begin a parameter (about_Parameters; it takes the
// typographic ones for "-" as well), "@" a splatted variable, "#" a remark, and "(" a command.
const leadsInArguments = "-\u2013\u2014\u2015@#("

func checkExclusion(in *DefenderExclusion, a *arguments, adds bool) {
	given, known := 0, true
	values := map[string]string{"path": in.Path, "process": in.Process, "file_type": in.FileType}
	for _, key := range []string{"path", "process", "file_type"} {
		value := values[key]
		if !a.known(key) {
			known = false
			continue
		}
		if value == "" {
			continue
		}
		given++
		if i := strings.IndexFunc(value, func(r rune) bool { return soar.IsHidden(r) || strings.ContainsRune(notInExclusions, r) }); i >= 0 {
			a.refuse(key, "", "holds %q, which may mean something to the shell that sets it", []rune(value[i:])[0])
			continue
		}
		switch first, _ := utf8.DecodeRuneInString(value); {
		case strings.TrimSpace(value) != value:
			a.refuse(key, "", "begins or ends with a blank")
		case strings.ContainsRune(leadsInArguments, first):
			a.refuse(key, "", "begins with %q, by which the shell that sets it may take it for something else than a value", first)
		}
	}
	switch {
	case given > 1 || known && given == 0:
		a.refuse("", "", "expected exactly one of path, process and file_type")
		return
	case a.known("path") && in.Path != "" && !windowsPath.MatchString(in.Path+`\`):
		a.refuse("path", "", `expected a full path such as C:\Build, found %.80q`, in.Path)
	case a.known("path") && slices.Contains(strings.Split(in.Path, `\`), ".."):
		a.refuse("path", "write the folder that is meant", "holds \"..\"")
	case a.known("file_type") && in.FileType != "" && !fileTypeNames.MatchString(in.FileType):
		a.refuse("file_type", "", "expected an ending such as .log, found %.40q", in.FileType)
	case a.known("process") && strings.ContainsAny(in.Process, "*?"):
		a.refuse("process", "", "one program is named, without * and ?")
	}
	if adds && a.known("path") && wholeVolume.MatchString(strings.TrimRight(in.Path, `\`)+`\`) && !slices.ContainsFunc(a.problems, func(p argumentProblem) bool { return p.key == "path" }) {
		a.refuse("path", "name a folder", "Defender would be blind on all of %s", in.Path)
	}
}
