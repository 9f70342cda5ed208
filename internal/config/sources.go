package config

import (
	"slices"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/jq"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
)

// Sources are the ways in which alerts come in.
type Sources struct {
	// Poll reads the server's alert list again and again. It runs always: push,
	// and a webhook with verify: fetch, only make it look sooner.
	Poll connector.PollSettings `yaml:"poll"`

	// Push listens for the lines that the server's own rsyslog alerter sends.
	Push *Push `yaml:"push"`

	// Webhook listens for alerts that are posted to erbridge.
	Webhook *Webhook `yaml:"webhook"`
}

// Push are the settings of the push listener, with their defaults.
type Push struct {
	connector.PushSettings `yaml:",inline"`
}

// SetDefaults is called before the section is read.
func (p *Push) SetDefaults() { p.PushSettings = connector.DefaultPush() }

// Webhook are the settings of the webhook listener.
type Webhook struct {
	connector.WebhookSettings `yaml:",inline"`
}

func (s Sources) listeners() []listener {
	var all []listener
	if s.Push != nil {
		all = append(all, listener{path: []string{"sources", "push"}, addr: s.Push.Listen})
	}
	if w := s.Webhook; w != nil {
		all = append(all, listener{path: []string{"sources", "webhook"}, addr: w.Listen, plain: w.CertFile == "", allow: w.AllowPlainHTTP})
	}
	return all
}

func (c *checker) checkSources() {
	poll := c.cfg.Sources.Poll
	c.positive(poll.Interval, "sources", "poll", "interval")
	if poll.Mirror.Enabled {
		c.positive(poll.Mirror.Interval, "sources", "poll", "mirror", "interval")
	}
	c.within(poll.Mirror.Notes, 0, 1000, "sources", "poll", "mirror", "notes")
	c.within(poll.PageSize, 1, 1000, "sources", "poll", "page_size")
	if p := c.cfg.Sources.Push; p != nil {
		c.within(p.MaxConnections, 1, 65536, "sources", "push", "max_connections")
		c.positive(p.IdleTimeout, "sources", "push", "idle_timeout")
		if p.Telemetry != nil {
			c.checkTelemetry(p.Telemetry)
		}
	}
	if w := c.cfg.Sources.Webhook; w != nil {
		c.checkWebhook(w)
	}
}

func (c *checker) checkTelemetry(t *connector.TelemetrySettings) {
	at := []string{"sources", "push", "telemetry"}
	before := len(c.problems)
	c.within(t.MaxRate, 1, 100_000, append(at, "max_rate")...)
	c.within(t.MaxQueue, 1, 1<<20, append(at, "max_queue")...)
	c.within(t.MaxRowBytes, 1, 1<<20, append(at, "max_row_bytes")...)
	if t.When.Value != "" {
		if _, err := jq.Compile(t.When.Value); err != nil {
			c.problems.Addf(t.When.At, "jq", "", "when: %v", err)
		}
	}
	wanted := slices.ContainsFunc(c.cfg.Sinks, func(s sinks.Config) bool { return slices.Contains(s.Events, string(soar.EventTelemetry)) })
	if !wanted {
		c.addf(at, "unused", "add events: [telemetry] to a sink", "no sink delivers telemetry, so that it would be stored for nobody")
	}
	if len(c.problems) > before {
		return
	}
	keep := c.cfg.Store.Retention.Telemetry
	if need := int64(t.MaxRate) * int64(keep/time.Second); t.MaxStored < need {
		c.addf(append(at, "max_stored"), "out-of-range", "raise max_stored, or lower max_rate or store.retention.telemetry",
			"max_stored is %d, and %d rows a second for %s are %d", t.MaxStored, t.MaxRate, keep, need)
	}
}

func (c *checker) checkWebhook(w *Webhook) {
	c.file(w.CertFile, "sources", "webhook", "cert_file")
	c.file(w.KeyFile, "sources", "webhook", "key_file")
	c.file(w.ClientCAFile, "sources", "webhook", "client_ca_file")
	if (w.CertFile == "") != (w.KeyFile == "") {
		c.addf([]string{"sources", "webhook"}, "missing", "", "cert_file and key_file go together")
	}
	if w.ClientCAFile != "" && w.CertFile == "" {
		c.addf([]string{"sources", "webhook", "client_ca_file"}, "conflict", "", "client_ca_file needs cert_file and key_file")
	}
	for name, sender := range w.Senders {
		at := []string{"sources", "webhook", "senders", name}
		if !namePattern.MatchString(name) {
			c.addf(at, "bad-name", nameHint, "sender name %q cannot be used", name)
		}
		if name == c.cfg.Server.Name && sender.Verify == "trust" {
			c.addf(at, "conflict", "give the sender a name of its own", "%q is the name of the server: their alert ids would be taken for one another", name)
		}
		proofs := 0
		for _, set := range []bool{sender.Secret.IsSet(), sender.Bearer.IsSet(), sender.ClientName != ""} {
			if set {
				proofs++
			}
		}
		if proofs != 1 {
			c.addf(at, "missing", "", "sender %q: exactly one of secret, bearer and client_name says who calls, found %d", name, proofs)
		}
		if sender.ClientName != "" && w.ClientCAFile == "" {
			c.addf(append(at, "client_name"), "conflict", "", "client_name needs client_ca_file of the listener")
		}
		if sender.MaxBody < 0 || sender.MaxBody > 64<<20 {
			c.addf(append(at, "max_body"), "out-of-range", "", "max_body is %d, and must be from 0 to %d", sender.MaxBody, 64<<20)
		}
		c.checkMap(sender, at)
	}
}

func (c *checker) checkMap(sender connector.WebhookSender, at []string) {
	if sender.Map.Value == "" {
		if sender.Verify == "trust" {
			c.addf(at, "missing", "a jq expression that makes alerts of the body", "verify: trust needs map")
		}
		return
	}
	if _, err := jq.Compile(sender.Map.Value); err != nil {
		c.problems.Addf(sender.Map.At, "jq", "", "map: %v", err)
	}
}
