package actions

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// IOCAdd are the arguments of ioc.add.
type IOCAdd struct {
	// List is the name of the list that they go into; one that is not there is made. All
	// other lists, and what this one has already, stay as they are.
	List string `yaml:"list" required:"true"`

	// Type is the column of events that is compared with them. A list has one type.
	Type string `yaml:"type" required:"true" enum:"md5,sha1,sha256,domain_name,remote_address"`

	// Values are the indicators, at most 5000.
	Values []string `yaml:"values" required:"true"`

	// Severity is that of the alerts of the list. Without it, a list keeps its own, and a new
	// one gets WARNING, which release 4.0 makes MEDIUM. A list that is there keeps its
	// severity: another one is refused, since it would be that of others' indicators, too.
	Severity string `yaml:"severity" enum:"INFO,LOW,MEDIUM,HIGH,CRITICAL,WARNING"`
}

// IOCOutput is what ioc.add and ioc.remove leave under .steps.<id>.output.
type IOCOutput struct {
	// List is the name of the list.
	List string `json:"list"`
	// Type is the type of the list.
	Type string `json:"type"`
	// Severity is the severity of the list.
	Severity string `json:"severity"`
	// Changed are the indicators that were added, or removed: those that were there
	// before, or were not, are not among them, and undoing leaves them alone.
	Changed []string `json:"changed"`
}

const (
	iocAdd    = "ioc.add"
	iocRemove = "ioc.remove"
)

func init() {
	adding := change[IOCAdd, IOCOutput]{
		make: addIndicators,
		look: func(ctx context.Context, d *Deps, _ playbooks.Call, in IOCAdd, _ IOCOutput) (string, error) {
			set, err := d.indicators(ctx)
			if err != nil {
				return "", err
			}
			if lacking := lackingIndicators(in.Values, set[in.List].Values); len(lacking) > 0 {
				return fmt.Sprintf("list %s lacks %s", in.List, shownValues(lacking)), nil
			}
			return "", nil
		},
		words: func(_ playbooks.Call, in IOCAdd, changed IOCOutput) string {
			return fmt.Sprintf("added %s to list %s; %d were there already", indicatorCount(changed.Changed), in.List, len(in.Values)-len(changed.Changed))
		},
	}
	add(kind[IOCAdd]{
		Spec: playbooks.Spec{
			Name: iocAdd,
			Summary: "Adds indicators to those that the server compares the events of all hosts with. The server knows no call for that: " +
				"the set is read, written as a whole and read again. What somebody else writes in that moment may be lost.",
			Effect:     playbooks.Repeatable,
			Needs:      []string{"admin"},
			Inverse:    iocRemove,
			Everywhere: true,
			Output:     IOCOutput{},
			Example:    "do: ioc.add\nwith:\n  list: seen-by-the-soc\n  type: md5\n  values: [\"${{ .alert.event.md5 }}\"]\n  severity: HIGH\n",
			Timeout:    2 * time.Minute,
		},
		check: func(_ *Deps, in *IOCAdd, a *arguments) {
			listName(a, in.List)
			if !a.known("values") || !a.known("type") || a.wrong("values") || a.wrong("type") {
				return
			}
			if len(in.Values) > maxIndicators {
				a.refuse("values", "add them in several steps", "has %d indicators, the limit is %d", len(in.Values), maxIndicators)
				return
			}
			for _, value := range in.Values {
				if wrong := wrongIndicator(in.Type, value); wrong != "" {
					a.refuse("values", "", "%s", wrong)
				}
			}
		},
		foresee: func(ctx context.Context, d *Deps, _ playbooks.Call, in IOCAdd) (any, error) {
			set, err := d.indicators(ctx)
			if err == nil {
				err = in.fits(set)
			}
			if err != nil {
				return nil, err
			}
			list := in.severe(set[in.List])
			left := IOCOutput{List: in.List, Type: in.Type, Severity: list.Severity, Changed: lackingIndicators(in.Values, list.Values)}
			if len(left.Changed) == 0 {
				return nil, fmt.Errorf("%w: list %s has them all", playbooks.ErrNothingToDo, in.List)
			}
			return left, d.mayAdminister(ctx, "changing indicators")
		},
		do:   adding.do,
		poll: adding.poll,
		reverse: func(_ playbooks.Call, _ IOCAdd, output map[string]any) *playbooks.Reversal {
			values := outputList(output, "changed")
			if len(values) == 0 {
				return nil
			}
			return &playbooks.Reversal{Do: iocRemove, With: map[string]any{"list": output["list"], "values": values}}
		},
	})
}

// fits refuses to add to a list what would change it for those who made it.
func (in IOCAdd) fits(set map[string]connector.IOC) error {
	list, there := set[in.List]
	switch {
	case !there:
		return nil
	case list.Type != in.Type:
		return fmt.Errorf("list %s holds indicators of type %s on the server, not %s: use another list", in.List, list.Type, in.Type)
	case in.Severity != "" && !sameSeverity(list.Severity, in.Severity):
		return fmt.Errorf("list %s has the severity %s on the server, not %s: leave severity out, or use another list", in.List, list.Severity, in.Severity)
	}
	return nil
}

// sameSeverity compares severities as release 4.0 keeps them: WARNING is MEDIUM there.
func sameSeverity(a, b string) bool {
	medium := strings.NewReplacer("WARNING", "MEDIUM")
	return medium.Replace(strings.ToUpper(a)) == medium.Replace(strings.ToUpper(b))
}

// severe gives a list a severity that has none, because it is new.
func (in IOCAdd) severe(list connector.IOC) connector.IOC {
	list.Severity = cmp.Or(list.Severity, in.Severity, "WARNING")
	return list
}

func addIndicators(ctx context.Context, d *Deps, _ playbooks.Call, in IOCAdd) (IOCOutput, error) {
	changed := IOCOutput{List: in.List, Type: in.Type, Changed: []string{}}
	err := d.modifyIndicators(ctx, func(set map[string]connector.IOC) error {
		if err := in.fits(set); err != nil {
			return err
		}
		list := in.severe(set[in.List])
		fresh := lackingIndicators(in.Values, list.Values)
		list.Type, list.Values = in.Type, append(list.Values, fresh...)
		set[in.List] = list
		changed.Severity = list.Severity
		changed.Changed = append(changed.Changed, without(fresh, changed.Changed)...) // somebody may have taken them away between
		return nil
	})
	if err != nil {
		return changed, fmt.Errorf("add indicators to list %s: %w", in.List, err)
	}
	return changed, nil
}

// shownValues are some values for people.
func shownValues(values []string) string {
	return soar.Visible(clipRunes(strings.Join(values, ", "), 200))
}

func indicatorCount(values []string) string {
	if len(values) == 1 {
		return "1 indicator"
	}
	return fmt.Sprintf("%d indicators", len(values))
}
