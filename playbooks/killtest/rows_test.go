package killtest

import (
	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

type object = map[string]any

// row is an action as a playbook calls it. For most a row is a line: the arguments, and
// the call of the server (as connector/catalogue names it) that has the effect.
type row struct {
	with object
	// endpoint is the call of the server that is counted.
	endpoint string
	// count counts effects where that is not done by calls of one endpoint.
	count func(s *scene) int
	// scene is what has to be so before.
	scene func(s *scene)
	// people answers what the step asks.
	people bool
	// outside marks an action that needs no server: its call takes no requests to it.
	outside bool
	// blind marks an action of whose calls the server keeps no record, so that nobody can
	// look them up. Of those that must not happen twice there are few.
	blind bool
	// never2 marks what must not happen twice although the action may be repeated.
	never2 bool
}

const (
	theHost = "${{ .alert.host.identifier }}"
	thePath = "${{ .alert.event.path }}"

	firstCarve   = "1P13QEF51N" // what the simulator calls it
	firstCommand = "1253e12c3954ccb74bb6ca866aa6b54b"
)

// rows are the actions with an effect, by name. To add one: its arguments, its endpoint,
// and what the scene needs for the call to be carried out and verified.
var rows = map[string]row{
	"agent.restart": {with: object{"host": theHost}, endpoint: "response-restart-agent", blind: true},
	"alert.note":    {with: object{"text": "it's \"bad\"\n[erbridge x]"}, endpoint: "alerts-notes-add"},
	"alert.note_edit": {with: object{"note": 1, "text": "better"}, endpoint: "alerts-notes-update",
		scene: func(s *scene) { s.do("alert.note", object{"text": "seen"}) }},
	"alert.note_remove": {with: object{"note": 1}, endpoint: "alerts-notes-delete",
		scene: func(s *scene) { s.do("alert.note", object{"text": "seen"}) }},
	"alert.reopen": {with: object{}, endpoint: "alerts-update",
		scene: func(s *scene) { s.do("alert.resolve", object{"verdict": "false_positive"}) }},
	"alert.resolve": {with: object{"verdict": "true_positive", "comment": "seen"}, endpoint: "alerts-update"},
	"approval.ask": {with: object{"text": "Go on?", "expires": "1h"}, outside: true, people: true, never2: true,
		count: events(soar.EventApprovalRequested)},
	"carve.delete": {with: object{"session": firstCarve, "unfetched": true}, endpoint: "carves-delete",
		scene: func(s *scene) { s.do("carve.file", object{"host": s.host.Identifier, "path": s.alert.Event["path"]}) }},
	"carve.fetch": {with: object{"session": firstCarve}, endpoint: "carves-download", outside: true, // its call sends nothing: it looks from then on
		scene: func(s *scene) { s.do("carve.file", object{"host": s.host.Identifier, "path": s.alert.Event["path"]}) }},
	"carve.file": {with: object{"host": theHost, "path": thePath}, count: carves},
	"carve.quarantined": {with: object{"host": theHost, "path": `C:\bad.exe`}, endpoint: "defender-quarantine-carve",
		scene: func(s *scene) {
			s.sim.Raise(ersim.AlertSpec{Host: s.host.Identifier, Threat: "Trojan:Sim", Separate: true, Columns: map[string]string{
				"action": "FILE_WRITE", "pid": "8", "target_path": `C:\bad.exe`,
			}})
			s.do("defender.scan", object{"host": s.host.Identifier, "kind": "custom", "path": `C:\bad.exe`})
		}},
	"command.cancel": {with: object{"host": theHost, "command": firstCommand}, endpoint: "response-cancel", scene: func(s *scene) { s.stuckCommand() }},
	"config.assign": {with: object{"host": theHost, "config": 5}, endpoint: "configs-assign",
		scene: func(s *scene) { s.addConfig(5) }},
	"defender.scan":           {with: object{"host": theHost, "kind": "custom", "path": thePath}, endpoint: "defender-scan-now"},
	"defender.check_update":   {with: object{"host": theHost}, endpoint: "defender-check-update"},
	"defender.exclusions_add": {with: object{"host": theHost, "path": `C:\Build`}, endpoint: "defender-configure"},
	"defender.exclusions_remove": {with: object{"host": theHost, "path": `C:\Build`}, endpoint: "defender-configure",
		scene: func(s *scene) { s.do("defender.exclusions_add", object{"host": s.host.Identifier, "path": `C:\Build`}) }},
	"defender.refresh":  {with: object{"host": theHost}, endpoint: "defender-status-refresh"},
	"defender.schedule": {with: object{"host": theHost, "kind": "full", "at": "02:30", "day": "sunday"}, endpoint: "defender-schedule-scan"},
	"file.delete":       {with: object{"host": theHost, "path": thePath, "md5": "${{ .alert.event.md5 }}"}, endpoint: "response-add"},
	"host.contain":      {with: object{"host": theHost}, endpoint: "response-add"},
	"host.deactivate":   {with: object{"host": theHost}, endpoint: "hosts-deactivate"},
	"host.enable": {with: object{"host": theHost}, endpoint: "hosts-reactivate",
		scene: func(s *scene) { s.do("host.deactivate", object{"host": s.host.Identifier}) }},
	"host.release": {with: object{"host": theHost}, endpoint: "response-add",
		scene: func(s *scene) { s.do("host.contain", object{"host": s.host.Identifier}) }},
	"host.tag": {with: object{"host": theHost, "tag": "seen"}, endpoint: "hosts-tags-add"},
	"host.untag": {with: object{"host": theHost, "tag": "seen"}, endpoint: "hosts-tags-remove",
		scene: func(s *scene) { s.do("host.tag", object{"host": s.host.Identifier, "tag": "seen"}) }},
	"http.request": {with: object{"url": "ELSEWHERE", "body": object{"a": 1}}, outside: true, blind: true, count: func(s *scene) int { return s.other.count() }},
	"ioc.add":      {with: object{"list": "it's ours", "type": "md5", "values": []any{"${{ .alert.event.md5 }}"}}, endpoint: "iocs-replace"},
	"ioc.remove": {with: object{"list": "soc", "values": []any{"${{ .alert.event.md5 }}"}}, endpoint: "iocs-replace",
		scene: func(s *scene) {
			s.do("ioc.add", object{"list": "soc", "type": "md5", "values": []any{s.alert.Event["md5"]}})
		}},
	"live.response": {with: object{"host": theHost, "kind": "bat", "content": "echo it's\r\necho \"done\""}, endpoint: "response-live"},
	"notify.send":   {with: object{"sink": "soc", "text": "seen"}, outside: true, never2: true, count: events(soar.EventNotification)},
	"pack.add":      {with: object{"name": "p", "queries": []any{object{"name": "q", "sql": "select 1", "interval": "5m"}}}, endpoint: "packs-add"},
	"process.kill":  {with: object{"host": theHost, "pid": "${{ .alert.event.pid }}", "name": thePath}, endpoint: "response-add"},
	"query.add":     {with: object{"name": "q", "sql": "select 1", "interval": "5m"}, endpoint: "queries-add"},
	"rule.disable":  {with: object{"rule": 1}, endpoint: "rules-disable"},
	"rule.enable": {with: object{"rule": 1}, endpoint: "rules-enable",
		scene: func(s *scene) { s.do("rule.disable", object{"rule": 1.0}) }},
	"script.run": {with: object{"host": theHost, "kind": "bat", "content": "echo it's\r\necho \"done\""}, endpoint: "response-custom-action"},
	"yara.add":   {with: object{"file": "a.yar", "content": "rule a { condition: false }"}, endpoint: "yara-add"},
	"yara.remove": {with: object{"file": "a.yar"}, endpoint: "yara-delete",
		scene: func(s *scene) { s.do("yara.add", object{"file": "a.yar", "content": "rule a { condition: false }"}) }},
}

// stuckCommand gives the host a command that it does not come to the end of.
func (s *scene) stuckCommand() {
	s.Helper()
	client, end := s.client(nil)
	defer end()
	s.sim.Inject(ersim.Fault{Kind: ersim.CommandStuck, Host: s.host.Identifier})
	got, err := client.Responses.DeleteFile(s.Context(), connector.DeleteFile{Hosts: []string{s.host.Identifier}, Path: `C:\stuck`})
	if err != nil || got.CommandID != firstCommand {
		s.Fatalf("command %s: %v", got.CommandID, err)
	}
}

// addConfig makes a config that hosts of Windows can be given.
func (s *scene) addConfig(id int64) {
	s.Helper()
	client, end := s.client(nil)
	defer end()
	if got, err := client.Configs.Add(s.Context(), connector.NewConfig{Name: "other", Platform: "windows"}); err != nil || got != id {
		s.Fatalf("config %d: %v", got, err)
	}
}

func carves(s *scene) int { return len(s.sim.Carves()) }

// events counts what is on disk of a kind of event.
func events(kind soar.EventType) func(s *scene) int {
	return func(s *scene) (n int) {
		r, err := store.OpenReader(s.Context(), s.dir)
		if err != nil {
			return 0 // there is no store before the first process
		}
		defer r.Close()
		feed, err := r.Feed(s.Context(), 0, 1000)
		if err != nil {
			s.Fatal(err)
		}
		for _, event := range feed {
			if event.Type == kind {
				n++
			}
		}
		return n
	}
}
