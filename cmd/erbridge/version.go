package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"
)

// build says what this program was made of.
type build struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func newVersion() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "version",
		Short: "print the version",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			b := build{buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH}
			return printItem(cmd.Context(), cmd, &out, b, func(w io.Writer, b build) error {
				_, err := fmt.Fprintln(w, "erbridge", b)
				return err
			})
		},
	}
	out.flags(cmd)
	return cmd
}

// String is the version as people read it.
func (b build) String() string { return fmt.Sprintf("%s (%s, %s/%s)", b.Version, b.Go, b.OS, b.Arch) }

func versionText() string {
	return build{buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH}.String()
}
