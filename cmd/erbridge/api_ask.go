package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/connector/catalogue"
	"github.com/erbridge/erbridge/internal/config"
)

// ask asks before a call with an effect.
func (a *api) ask(cmd *cobra.Command, call *catalogue.Call, request string, cfg *config.Config) error {
	if a.yes || call.Effect == catalogue.Reads {
		return nil
	}
	what := fmt.Sprintf("%s (%s, %s) on %s", call.ID, call.Summary, clean(request), cfg.Server.URL)
	if call.Effect == catalogue.Destroys {
		return confirmWord(cmd, what+" destroys what cannot be brought back.", call.ID)
	}
	return confirm(cmd, what+" changes something.")
}

var errNotConfirmed = errors.New("not confirmed, nothing was sent; --yes answers for you")

// confirm asks a person. Where nobody can answer, that is a no.
func confirm(cmd *cobra.Command, what string) error {
	answer, err := answerTo(cmd, what+" Go on? [y/N] ")
	if err != nil {
		return err
	}
	switch strings.ToLower(answer) {
	case "y", "yes":
		return nil
	}
	return errNotConfirmed
}

// confirmWord asks a person to type a word.
func confirmWord(cmd *cobra.Command, what, word string) error {
	answer, err := answerTo(cmd, fmt.Sprintf("%s Type %s to go on: ", what, word))
	if err == nil && answer != word {
		err = errNotConfirmed
	}
	return err
}

func answerTo(cmd *cobra.Command, question string) (string, error) {
	fmt.Fprint(cmd.ErrOrStderr(), question)
	line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 1024)).ReadString('\n')
	if err != nil {
		fmt.Fprintln(cmd.ErrOrStderr()) // the question stands there still
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimSpace(line), nil
}
