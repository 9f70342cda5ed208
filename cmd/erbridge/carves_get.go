package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/evidence"
)

func newCarvesGet() *cobra.Command {
	var file configFlag
	var to, identity string
	var by evidence.Actor
	cmd := &cobra.Command{
		Use:   "get SESSION --output FILE --reason TEXT",
		Short: "copy the archive of a carve out of the folder, verified and on record",
		Long: `Verifies the archive, writes into its record of custody who gets it and why, and only
then hands it out. It is malware, as likely as not: it is never unpacked, and the file
can be read by nobody else.

An archive that is encrypted is handed out as it is, for age -d, unless --identity names
a file with a secret key: then it is decrypted on the way, and verified once more. What
is written to standard output has been verified before its first byte, and once more
with its last: after exit code 1, throw it away.`,
		Example: `  erbridge carves get A7NSDDG5NN --output evil.tar --reason "case 12"
  erbridge carves get A7NSDDG5NN --output - --identity key.txt --reason "case 12" | tar -tv`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if by.Name, err = whoSays(by.Name); err != nil {
				return err
			}
			switch {
			case by.Why == "":
				return usagef("--reason is needed: the record of custody tells who got it and why")
			case to == "":
				return usagef("--output is needed: a new file, or - for standard output")
			}
			keys, err := readIdentities(identity)
			if err != nil {
				return err
			}
			carves, err := file.carves()
			if err != nil {
				return err
			}
			if to == "-" {
				_, err := carves.Copy(cmd.Context(), args[0], cmd.OutOrStdout(), keys, by)
				return err
			}
			var m *evidence.Manifest
			err = writeNew(to, func(w io.Writer) (err error) {
				m, err = carves.Copy(cmd.Context(), args[0], w, keys, by)
				return err
			})
			if err != nil {
				return err
			}
			return printGot(cmd.OutOrStdout(), m, to, keys != nil)
		},
	}
	file.flags(cmd)
	cmd.Flags().StringVarP(&to, "output", "o", "", "a new file to write to; - is standard output")
	cmd.Flags().StringVar(&identity, "identity", "", "a file with a secret key of age (age-keygen writes them), to decrypt it")
	cmd.Flags().StringVar(&by.Why, "reason", "", "why, for the record of custody")
	cmd.Flags().StringVar(&by.Name, "by", "", "who gets it; default is your user name")
	_ = cmd.MarkFlagFilename("output")
	_ = cmd.MarkFlagFilename("identity")
	return cmd
}

func readIdentities(path string) (*evidence.Identities, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	keys, err := evidence.ReadIdentities(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

// writeNew writes a file that does not exist yet. After an error there is none.
func writeNew(path string, write func(io.Writer) error) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func printGot(w io.Writer, m *evidence.Manifest, path string, decrypted bool) error {
	what := "the archive"
	if len(m.Recipients) > 0 && !decrypted {
		what = "the encrypted archive (age -d decrypts it)"
	}
	_, err := fmt.Fprintf(w, "%s was written to %s, and its hash is right\nsha-256 of the archive  %s\n", what, clean(path), m.SHA256)
	return err
}
