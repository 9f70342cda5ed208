package gendocs

import (
	"reflect"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks/playtest"
)

// PlaybookTestSchema is the JSON Schema of the tests of a playbook.
func PlaybookTestSchema(docs registry.DocFunc) map[string]any { return playtest.Schema(docs) }

const playbookTestExample = `# yaml-language-server: $schema=playbook-test.schema.json
alert: alerts/miner.json
given:
  - {step: stop, state: verified, after: 20s}
tests:
  - name: a miner is stopped
    expect:
      verdict: match
      actions:
        - {do: process.kill, with: {pid: "77"}}
      outcome: done
      steps: {stop: verified}
  - name: a build server is left alone
    patch: {host: {tags: [build]}}
    expect: {verdict: no match, reason: the host is a build server}
`

func playbookTestPage(src *sources) *page {
	p := newPage("Tests of playbooks", "The tests of `NAME.yaml` stand beside it in `NAME_test.yaml`; `erbridge playbook test` runs them, and\n"+
		"[docs/howto/test-a-playbook.md](../howto/test-a-playbook.md) is the guide. Unknown keys are mistakes. The JSON Schema is\n"+
		"[playbook-test.schema.json](playbook-test.schema.json).\n")
	p.printf("\n")
	p.yaml(playbookTestExample)
	p.printf("\n")
	p.settings(src, reflect.ValueOf(new(playtest.File)).Elem(), "", 2)
	return p
}
