package actions

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/playbooks"
)

// IOCRemove are the arguments of ioc.remove.
type IOCRemove struct {
	// List is the name of the list.
	List string `yaml:"list" required:"true"`

	// Values are the indicators that are taken out of it, at most 5000; without them, all are,
	// and the list is gone. Other lists stay as they are.
	Values []string `yaml:"values"`
}

func init() {
	removing := change[IOCRemove, IOCOutput]{
		make: removeIndicators,
		look: func(ctx context.Context, d *Deps, _ playbooks.Call, in IOCRemove, _ IOCOutput) (string, error) {
			set, err := d.indicators(ctx)
			if err != nil {
				return "", err
			}
			if left := in.found(set); len(left) > 0 {
				return fmt.Sprintf("list %s still has %s", in.List, shownValues(left)), nil
			}
			return "", nil
		},
		words: func(_ playbooks.Call, in IOCRemove, changed IOCOutput) string {
			return fmt.Sprintf("removed %s from list %s", indicatorCount(changed.Changed), in.List)
		},
	}
	add(kind[IOCRemove]{
		Spec: playbooks.Spec{
			Name:       iocRemove,
			Summary:    "Takes indicators out of those that the server compares the events of all hosts with. The set is written as ioc.add writes it.",
			Effect:     playbooks.Repeatable,
			Needs:      []string{"admin"},
			Inverse:    iocAdd,
			Everywhere: true,
			Output:     IOCOutput{},
			Example:    "do: ioc.remove\nwith:\n  list: seen-by-the-soc\n  values: [\"${{ .alert.event.md5 }}\"]\n",
			Timeout:    2 * time.Minute,
		},
		check: func(_ *Deps, in *IOCRemove, a *arguments) {
			listName(a, in.List)
			_, given := a.values["values"]
			switch {
			case !given || !a.known("values") || a.wrong("values"):
			case len(in.Values) == 0: // a jq path that leads nowhere must not empty the list
				a.refuse("values", "leave values out to remove the whole list", "is empty")
			case len(in.Values) > maxIndicators:
				a.refuse("values", "remove them in several steps", "has %d indicators, the limit is %d", len(in.Values), maxIndicators)
			}
		},
		foresee: func(ctx context.Context, d *Deps, _ playbooks.Call, in IOCRemove) (any, error) {
			set, err := d.indicators(ctx)
			if err != nil {
				return nil, err
			}
			gone := in.found(set)
			if len(gone) == 0 {
				return nil, fmt.Errorf("%w: list %s has none of them", playbooks.ErrNothingToDo, in.List)
			}
			if err := in.mayGo(gone); err != nil {
				return nil, err
			}
			list := set[in.List]
			return IOCOutput{List: in.List, Type: list.Type, Severity: list.Severity, Changed: without(gone, nil)}, d.mayAdminister(ctx, "changing indicators")
		},
		do:   removing.do,
		poll: removing.poll,
		reverse: func(_ playbooks.Call, _ IOCRemove, output map[string]any) *playbooks.Reversal {
			values := outputList(output, "changed")
			if len(values) == 0 {
				return nil
			}
			return &playbooks.Reversal{Do: iocAdd, With: map[string]any{
				"list": output["list"], "type": output["type"], "severity": output["severity"], "values": values,
			}}
		},
	})
}

// named tells of an indicator of the list whether it is to go.
func (in IOCRemove) named() func(value string) bool {
	if len(in.Values) == 0 {
		return func(string) bool { return true }
	}
	named := plainIndicators(in.Values)
	return func(value string) bool { return named[plainIndicator(value)] }
}

// found are the indicators of the set that are to go.
func (in IOCRemove) found(set map[string]connector.IOC) (found []string) {
	named := in.named()
	for _, value := range set[in.List].Values {
		if named(value) {
			found = append(found, value)
		}
	}
	return found
}

// mayGo refuses to remove more than could be put back.
func (in IOCRemove) mayGo(found []string) error {
	if len(found) > maxIndicators {
		return fmt.Errorf("list %s has %d indicators, and at most %d are removed at once: name them in several steps, or remove the list in the server's console",
			in.List, len(found), maxIndicators)
	}
	return nil
}

func removeIndicators(ctx context.Context, d *Deps, _ playbooks.Call, in IOCRemove) (IOCOutput, error) {
	changed := IOCOutput{List: in.List, Changed: []string{}}
	err := d.modifyIndicators(ctx, func(set map[string]connector.IOC) error {
		list, there := set[in.List]
		if !there {
			return nil
		}
		gone := in.found(set)
		if err := in.mayGo(gone); err != nil {
			return err
		}
		changed.Type, changed.Severity = list.Type, list.Severity
		changed.Changed = append(changed.Changed, without(gone, changed.Changed)...)
		if list.Values = slices.DeleteFunc(list.Values, in.named()); len(list.Values) == 0 {
			delete(set, in.List)
			return nil
		}
		set[in.List] = list
		return nil
	})
	if err != nil {
		return changed, fmt.Errorf("remove indicators from list %s: %w", in.List, err)
	}
	return changed, nil
}
