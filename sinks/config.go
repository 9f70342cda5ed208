package sinks

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/schedule"
	"github.com/erbridge/erbridge/internal/soar"
)

// CommonSettings are what every sink has besides the settings of its type.
type CommonSettings struct {
	// Type is the kind of sink, such as slack or syslog; erbridge docs sinks lists them.
	Type string `yaml:"type" required:"true"`

	// When is a jq condition on events that concern an alert, and on rows of
	// telemetry; the input is the event as JSON, for example
	// '.alert.severity | at_least("high")' or '.row.query == "win_dns_events"'. Empty
	// delivers all. An event on which it fails is set aside as a dead letter.
	// Events that a playbook addresses to this sink are not subject to it.
	When registry.Text `yaml:"when"`

	// Events lists the types of events to deliver. The default is all except
	// run.started and telemetry; for chat that cannot edit what it has said also
	// without alert.updated, which edits the message of an alert in Slack. telemetry
	// are rows of query results (sources.push.telemetry).
	Events []string `yaml:"events" enum:"alert.received,alert.updated,run.started,step.finished,run.finished,notification,approval.requested,approval.decided,undo.soon,trouble,test,telemetry"`

	// FromStart delivers what is in the store already when the sink is first
	// started, and not only what comes after.
	FromStart bool `yaml:"from_start"`

	// MaxBatch lowers the number of events in one request. The default is the
	// type's own bound.
	MaxBatch int `yaml:"max_batch"`

	// MaxBatchBytes bounds the size of one request, roughly. The default is 1 MiB,
	// for s3 16 MiB.
	MaxBatchBytes int `yaml:"max_batch_bytes"`

	// MaxBatchAge is how long an event may wait for others to go into the same
	// request. The default is 0: what there is goes out at once; for s3 it is 1m.
	MaxBatchAge time.Duration `yaml:"max_batch_age"`

	// MaxBacklog bounds what may wait for the sink, and says what happens beyond it.
	// The default is {age: 24h, policy: keep}: everything is kept, and told of.
	MaxBacklog BacklogSettings `yaml:"max_backlog"`

	// Group puts like alerts together: the first one is delivered, and then from time to
	// time how many more there were (alert.grouped). What becomes of them is delivered
	// as ever, and names the first one. Without this key, every alert is delivered.
	Group *GroupSettings `yaml:"group"`

	// Storm is how many alerts of one rule (or of one source, for those without a rule)
	// a minute are delivered one by one. When there are more, they are counted and told
	// with the first of them until it is quiet, and so is what playbooks do about them;
	// failures and questions to people are still delivered, the first few of them. The
	// default is 20 for sinks that people read: slack, teams, email. 0 turns it off.
	Storm *int `yaml:"storm"`

	// Digest tells the sink at fixed times what came in since the last one, in words:
	// {at: ["08:00"], days: [mon, fri], timezone: Europe/Berlin}. It counts the alerts
	// that when lets through.
	Digest *DigestSettings `yaml:"digest"`

	// Heartbeat is how often the sink is told that erbridge is alive, how many alerts came
	// in since, and how much waits. While the sink is down, there is no second one. 0, the
	// default, is never.
	Heartbeat time.Duration `yaml:"heartbeat"`

	// MaxBackoff bounds the wait between two tries of a failing delivery; 1m when
	// it is not set.
	MaxBackoff time.Duration `yaml:"max_backoff"`
}

// Config is one sink of the configuration, read and checked.
type Config struct {
	// Name is the sink's name, which its cursor has too.
	Name string
	// At is where it stands.
	At registry.Position
	CommonSettings
	// Settings is a pointer to the settings of the type.
	Settings any

	kind   Type
	when   Condition
	group  []GroupKey
	digest []*schedule.Times
}

// Checker is implemented by settings that know rules which types and tags cannot
// express.
type Checker interface {
	// Check reports mistakes; setting is the YAML name of the one to point at, or
	// empty for the sink as a whole. A rule about several settings names all of
	// them, separated by spaces: the first that is there is pointed at, and nothing
	// is said when one of them could not be read. Check reads no file and no secret.
	Check(report func(setting, hint, format string, args ...any))
}

// ReadConfig reads one entry of the sinks section: the settings that all sinks
// have and those of its type stand side by side in it.
func ReadConfig(file, name string, n *yaml.Node) (Config, registry.Problems) {
	c := Config{Name: name, At: registry.At(file, n)}
	typeNode := lookup(n, "type")
	if typeNode == nil || typeNode.Kind != yaml.ScalarNode {
		var problems registry.Problems
		problems.Addf(c.At, "missing", "for example type: syslog", "sink %q: setting \"type\" is required", name)
		return c, problems
	}
	kind, ok := Types.Get(typeNode.Value)
	if !ok {
		return c, registry.Problems{Types.Unknown(registry.At(file, typeNode), typeNode.Value)}
	}
	c.kind = kind

	// One struct that embeds both kinds of settings is decoded in one go, so that
	// a misspelt name finds its neighbours in either.
	defaults := reflect.ValueOf(kind.Settings).Elem()
	both := reflect.New(reflect.StructOf([]reflect.StructField{
		{Name: "Common", Type: reflect.TypeFor[CommonSettings](), Tag: `yaml:",inline"`},
		{Name: "Settings", Type: defaults.Type(), Tag: `yaml:",inline"`},
	}))
	both.Elem().Field(1).Set(defaults)
	problems := registry.Decode(file, n, both.Interface())
	c.CommonSettings = both.Elem().Field(0).Interface().(CommonSettings)
	c.Settings = both.Elem().Field(1).Addr().Interface()

	// What could not be read has its default here. Rules about it are left out, so
	// that nothing is reported that its first problem leads to.
	unread := map[registry.Position]bool{}
	for _, p := range problems {
		unread[p.Position] = true
	}
	report := func(setting, hint, format string, args ...any) {
		at := c.At
		for _, name := range slices.Backward(strings.Fields(setting)) {
			v := lookup(n, name)
			if v == nil {
				continue
			}
			if at = registry.At(file, v); unread[at] {
				return
			}
		}
		if !unread[at] {
			problems.Addf(at, "invalid", hint, format, args...)
		}
	}
	c.check(report)
	if problem := c.compile(); problem != nil {
		problems = append(problems, *problem)
	}
	if checker, ok := c.Settings.(Checker); ok {
		checker.Check(report)
	}
	return c, problems
}

func (c *Config) check(report func(setting, hint, format string, args ...any)) {
	if c.MaxBatch < 0 || c.MaxBatch > c.kind.MaxBatch {
		report("max_batch", "", "expected a number from 1 to %d for type %s", c.kind.MaxBatch, c.Type)
	}
	if c.MaxBatchBytes < 0 {
		report("max_batch_bytes", "", "expected a number above 0")
	}
	if c.MaxBatchAge < 0 {
		report("max_batch_age", "", "expected a time such as 2s, or 0")
	}
	c.MaxBacklog.check(report)
	c.checkGroup(report)
	c.checkReports(report)
	if s, ok := c.Settings.(formatChooser); ok && s.chosenFormat().Format == "asim" && slices.Contains(c.Events, string(soar.EventTelemetry)) {
		report("events", "give telemetry to a sink of its own, with format: json", "format asim has no form for telemetry")
	}
	if c.Events != nil && len(c.Events) == 0 {
		report("events", "leave it out to get the default", "the sink would deliver nothing")
	}
}

// EventTypes are the words that the setting events takes.
func EventTypes() []string {
	field, _ := reflect.TypeFor[CommonSettings]().FieldByName("Events")
	return strings.Split(field.Tag.Get("enum"), ",")
}

// lookup finds the value of a key in a mapping node.
func lookup(n *yaml.Node, name string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for key, value := range registry.Pairs(n) {
		if key.Value == name {
			return value
		}
	}
	return nil
}

// Open makes the sink; it opens no connection. An error wraps ErrConfig when the
// settings cannot work.
func (c *Config) Open(env Env) (Sink, error) {
	if c.kind.Open == nil {
		return nil, fmt.Errorf("sink %q: no type", c.Name)
	}
	sink, err := c.kind.Open(c.Name, c.Settings, env)
	if err != nil {
		return nil, fmt.Errorf("sink %q: %w", c.Name, err)
	}
	return sink, nil
}

// Options completes forwarder options with what the configuration says.
func (c *Config) Options(o ForwarderOptions) ForwarderOptions {
	o.MaxBatch = c.kind.MaxBatch
	if c.MaxBatch > 0 {
		o.MaxBatch = c.MaxBatch
	}
	o.MaxBatchBytes = cmp.Or(c.MaxBatchBytes, c.kind.MaxBatchBytes)
	o.Events = c.kind.Events
	if c.Events != nil {
		o.Events = nil
		for _, name := range c.Events {
			o.Events = append(o.Events, soar.EventType(name))
		}
	}
	if c.when != nil {
		o.When = c.when
	}
	o.FromStart = c.FromStart
	c.groupOptions(&o.Group)
	o.MaxBatchAge = cmp.Or(c.MaxBatchAge, c.kind.MaxBatchAge)
	if o.Backlog = c.MaxBacklog; o.Backlog.Events == 0 && o.Backlog.Age == 0 {
		o.Backlog.Age = defaultBacklogAge
	}
	if c.MaxBackoff > 0 {
		o.MaxBackoff = c.MaxBackoff
		o.MinBackoff = min(max(o.MinBackoff, time.Second), c.MaxBackoff)
	}
	return o
}

// Open makes a sink of a type from settings (a pointer of the type's own kind)
// without a configuration file.
func Open(name, typeName string, settings any, env Env) (Sink, error) {
	kind, ok := Types.Get(typeName)
	if !ok {
		return nil, fmt.Errorf("sink %q: unknown type %q", name, typeName)
	}
	if want, got := reflect.TypeOf(kind.Settings), reflect.TypeOf(settings); want != got {
		return nil, fmt.Errorf("sink %q: settings of type %v, expected %v", name, got, want)
	}
	sink, err := kind.Open(name, settings, env)
	if err != nil {
		return nil, fmt.Errorf("sink %q: %w", name, err)
	}
	return sink, nil
}
