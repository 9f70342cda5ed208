package playbooks

import "github.com/erbridge/erbridge/internal/registry"

// argumentCodes are the codes of problems with arguments, by those of the decoder,
// which does not know that it reads arguments.
var argumentCodes = map[string]string{
	"unknown-key":  "unknown-argument",
	"missing":      "missing-argument",
	"wrong-type":   "argument-type",
	"wrong-host":   "argument-type",
	"unknown-name": "argument-value",
	"argument":     "argument-value",
}

// argumentProblems tells mistakes in the arguments of an action from those in the
// keys of a playbook.
func argumentProblems(problems registry.Problems) registry.Problems {
	for i := range problems {
		if code, ok := argumentCodes[problems[i].Code]; ok {
			problems[i].Code = code
		}
	}
	return problems
}
