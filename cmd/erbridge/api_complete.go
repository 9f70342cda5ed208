package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/connector/catalogue"
)

// completeAPI completes ids, methods and paths, names of arguments and their values.
func completeAPI(_ *cobra.Command, given []string, start string) ([]string, cobra.ShellCompDirective) {
	switch {
	case len(given) == 0:
		methods := []string{"GET\tby path", "POST\tby path", "PUT\tby path", "DELETE\tby path"}
		return append(beginning(start, methods), idsFrom(start)...), cobra.ShellCompDirectiveNoFileComp
	case isMethod(strings.ToUpper(given[0])):
		if len(given) > 1 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return beginning(start, pathsOf(strings.ToUpper(given[0]))), cobra.ShellCompDirectiveNoFileComp
	}
	call := catalogue.Find(given[0])
	if call == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if name, _, ok := strings.Cut(start, "="); ok {
		return beginning(start, valuesOf(call.Param(name))), cobra.ShellCompDirectiveNoFileComp
	}
	return beginning(start, namesOf(call, given[1:])), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

func beginning(start string, words []string) []string {
	return slices.DeleteFunc(words, func(word string) bool { return !strings.HasPrefix(word, start) })
}

// idsFrom are the ids that begin with start, each with what the call does.
func idsFrom(start string) []string {
	var words []string
	for _, s := range catalogue.Sections() {
		for i := range s.Calls {
			words = append(words, s.Calls[i].ID+"\t"+s.Calls[i].Summary)
		}
	}
	return beginning(start, words)
}

func pathsOf(method string) []string {
	var words []string
	for _, s := range catalogue.Sections() {
		for i := range s.Calls {
			if c := &s.Calls[i]; c.Method == method && c.Base == catalogue.V1 {
				words = append(words, c.Path+"\t"+c.Summary)
			}
		}
	}
	return words
}

// namesOf are the arguments that are not given yet, and lists, which can be given
// again.
func namesOf(call *catalogue.Call, given []string) []string {
	var words []string
	for _, p := range call.Params {
		isGiven := slices.ContainsFunc(given, func(text string) bool { return strings.HasPrefix(text, p.Name+"=") })
		if !isGiven || strings.HasPrefix(p.Type, "[") {
			words = append(words, p.Name+"=\t"+strings.TrimSuffix(p.Type+", "+p.Meaning(), ", "))
		}
	}
	return words
}

func valuesOf(p *catalogue.Param) []string {
	if p == nil {
		return nil
	}
	allowed := p.Allowed
	if p.Type == "bool" {
		allowed = []string{"true", "false"}
	}
	words := make([]string, len(allowed))
	for i, value := range allowed {
		words[i] = p.Name + "=" + value
	}
	return words
}
