package actions_test

import (
	"fmt"

	"github.com/erbridge/erbridge/playbooks/actions"
)

// Without a server, the actions are there for lint and for the reference pages.
func ExampleAll() {
	all := actions.All(actions.Deps{})
	for _, name := range actions.Types.Names() {
		fmt.Println(name, all[name].Spec().Effect)
	}
	// Output:
	// agent.restart once
	// alert.aggregated reads
	// alert.note once
	// alert.note_edit repeatable
	// alert.note_remove repeatable
	// alert.related reads
	// alert.reopen repeatable
	// alert.resolve repeatable
	// alert.state reads
	// approval.ask repeatable
	// carve.delete repeatable
	// carve.fetch repeatable
	// carve.file once
	// carve.list reads
	// carve.quarantined once
	// command.cancel repeatable
	// command.status reads
	// config.assign repeatable
	// defender.check_update repeatable
	// defender.exclusions_add repeatable
	// defender.exclusions_remove repeatable
	// defender.quarantine reads
	// defender.refresh repeatable
	// defender.scan once
	// defender.schedule repeatable
	// defender.settings reads
	// defender.status reads
	// file.delete once
	// file.hash reads
	// host.activity reads
	// host.contain once
	// host.deactivate repeatable
	// host.enable repeatable
	// host.get reads
	// host.list reads
	// host.release repeatable
	// host.tag repeatable
	// host.untag repeatable
	// http.request once
	// ioc.add repeatable
	// ioc.remove repeatable
	// live.query reads
	// live.response once
	// notify.send repeatable
	// pack.add repeatable
	// playbook.call repeatable
	// process.children reads
	// process.kill once
	// process.tree reads
	// query.add repeatable
	// rule.disable repeatable
	// rule.enable repeatable
	// script.run once
	// sleep reads
	// wait.until reads
	// yara.add repeatable
	// yara.remove repeatable
}
