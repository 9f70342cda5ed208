package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/redact"
	"github.com/erbridge/erbridge/internal/soar"
)

func newRedact() *cobra.Command {
	return group("redact", "see what is taken out of events before any sink gets them", newRedactTest())
}

// redaction is one text of an alert from which something is taken out.
type redaction struct {
	Path string `json:"path"`
	Now  string `json:"now"` // as it stands in the store
	Then string `json:"then"`
}

func newRedactTest() *cobra.Command {
	var file configFlag
	var out output
	var ref, path string
	cmd := &cobra.Command{
		Use:   "test --alert ALERT|--file FILE",
		Short: "show what the setting redact takes out of an alert",
		Long: `The configuration is taken as it stands in the file, and nothing is delivered. What is
listed is what sinks do not get: the texts that change, as they are and as they will be.
Names of columns are listed where they change. The store keeps alerts as they came in.`,
		Example: `  erbridge redact test --alert er-4711
  erbridge alerts show er-4711 --output json | erbridge redact test --file -`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if (ref == "") == (path == "") {
				return usagef("name an alert of the store with --alert, or a file with --file")
			}
			cfg, err := file.load()
			if err != nil {
				return err
			}
			r, err := redact.New(cfg.Redact)
			if err != nil {
				return fmt.Errorf("%w: %w", daemon.ErrConfig, err)
			}
			alert, err := routedAlert(cmd, &file, ref, path)
			if err != nil {
				return err
			}
			list, err := redactions(r, &alert)
			if err != nil {
				return err
			}
			if len(list) == 0 && out.format == "table" {
				fmt.Fprintf(cmd.ErrOrStderr(), "nothing is taken out of alert %s: sinks get it as it stands in the store\n", clean(alert.Ref()))
				return nil
			}
			return printList(cmd.Context(), cmd, &out, list, []column[redaction]{
				{"path", func(r redaction) string { return r.Path }},
				{"now", func(r redaction) string { return r.Now }},
				{"then", func(r redaction) string { return r.Then }},
			})
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	cmd.Flags().StringVar(&ref, "alert", "", "an alert of the store, such as er-4711")
	cmd.Flags().StringVar(&path, "file", "", "an alert as JSON, or - for standard input")
	return cmd
}

// redactions are the differences that a redactor makes.
func redactions(r *redact.Redactor, alert *soar.Alert) ([]redaction, error) {
	now, err := soar.Plain(alert)
	if err != nil {
		return nil, err
	}
	then, err := soar.Plain(r.Alert(alert))
	if err != nil {
		return nil, err
	}
	var list []redaction
	compare("alert", now, then, func(path string, now, then any) {
		list = append(list, redaction{path, plainText(now), plainText(then)})
	})
	return list, nil
}

// compare tells of each text or number in which two plain values differ. nil stands for
// one that is not there.
func compare(path string, a, b any, differ func(path string, a, b any)) {
	aMap, aIs := a.(map[string]any)
	bMap, bIs := b.(map[string]any)
	if aIs && bIs {
		names := slices.Collect(maps.Keys(aMap))
		for name := range bMap {
			if _, both := aMap[name]; !both {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			compare(path+"."+name, aMap[name], bMap[name], differ)
		}
		return
	}
	aList, aIs := a.([]any)
	bList, bIs := b.([]any)
	if aIs && bIs && len(aList) == len(bList) {
		for i := range aList {
			compare(path+"["+strconv.Itoa(i)+"]", aList[i], bList[i], differ)
		}
		return
	}
	if plainText(a) != plainText(b) {
		differ(path, a, b)
	}
}

func plainText(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}
