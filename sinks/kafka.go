package sinks

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/format"
)

// KafkaSettings configure a sink for a topic of Kafka.
type KafkaSettings struct {
	// Brokers are where the cluster is asked for first, each as host:port. The
	// other brokers of the cluster are found through them.
	Brokers []string `yaml:"brokers" required:"true"`

	// Topic is the topic to write to. It must exist: erbridge creates none. The key of
	// a record is the host's identifier; its headers are event_id, event_type,
	// alert_id, schema (the format) and content-type.
	Topic string `yaml:"topic" required:"true"`

	// Compression is that of the record batches.
	Compression string `yaml:"compression" enum:"none,gzip,snappy,lz4,zstd"`

	// MaxMessageBytes bounds a record, and what goes to one partition at once,
	// before compression. It may not be above max.message.bytes of the topic. An
	// event that is longer has its texts cut.
	MaxMessageBytes int `yaml:"max_message_bytes"`

	// TLS encrypts the connections to the brokers.
	TLS bool `yaml:"tls"`

	// SASL is how erbridge logs in: plain, scram-sha-256 or scram-sha-512, with
	// username and password. Empty means without. plain shows the password to
	// whoever listens, unless tls is on.
	SASL string `yaml:"sasl" enum:"plain,scram-sha-256,scram-sha-512"`

	// Username is that of sasl.
	Username string `yaml:"username"`

	// Password is that of sasl.
	Password soar.Secret `yaml:"password"`

	// Timeout is how long the brokers may take to acknowledge what was sent. It
	// covers a change of leader, which takes about 5s.
	Timeout time.Duration `yaml:"timeout"`

	FormatSettings `yaml:",inline"`
	TLSSettings    `yaml:",inline"`
}

// minKafkaBytes is the least that a record may be bounded to, and
// kafkaOverhead what Kafka adds to key, value and headers of a record and to a
// batch, generously (KIP-98, record batch format).
const (
	minKafkaBytes = 16 << 10
	kafkaOverhead = 512
)

func init() {
	Types.Add("kafka", Type{
		Summary: "Topic of a Kafka cluster, in order for each host",
		Settings: &KafkaSettings{
			Compression: "snappy", MaxMessageBytes: 1_000_000, Timeout: 30 * time.Second,
			FormatSettings: FormatSettings{Format: "json"},
		},
		Example: `type: kafka
brokers: [kafka-1.example.org:9093, kafka-2.example.org:9093]
topic: endpoint-alerts
tls: true
sasl: scram-sha-512
username: erbridge
password: {file: /run/secrets/kafka-password}
`,
		MaxBatch: 500,
		Open: func(_ string, settings any, env Env) (Sink, error) {
			return openKafka(*settings.(*KafkaSettings), env)
		},
	})
}

// Check implements Checker.
func (s *KafkaSettings) Check(report func(setting, hint, format string, args ...any)) {
	if len(s.Brokers) == 0 {
		report("brokers", "for example [kafka-1.example.org:9092]", "at least one broker is needed")
	}
	for _, address := range s.Brokers {
		if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" {
			report("brokers", "for example kafka-1.example.org:9092", "expected host:port, found %q", address)
		}
	}
	if s.Topic == "" {
		report("topic", "", "expected the name of a topic")
	}
	if (s.SASL == "") != (s.Username == "") || (s.SASL == "") != !s.Password.IsSet() {
		report("sasl username password", "", "sasl, username and password go together")
	}
	if !s.TLS && s.TLSSettings != (TLSSettings{}) {
		report("tls", "set tls: true", "certificates are of use with tls only")
	}
	if s.MaxMessageBytes < minKafkaBytes || s.MaxMessageBytes > 1<<30 {
		report("max_message_bytes", "", "expected a number from %d to %d", minKafkaBytes, 1<<30)
	}
	s.checkFormat(report)
	checkTimeout(s.Timeout, report)
}

// kafka keeps the order of the events of a host. They have the same key and so the
// same partition; what is sent at once has no two events of a host, and nothing more
// is sent once one has failed that will be tried again. The client alone does not
// promise this: it sends a second batch to a partition while the first is on its way,
// and when the brokers refuse the first, the second can stand in the topic already.
//
// More than one event of a host in what would fit into one record batch was tried, and is
// faster by far for the backlog of one host. But the client begins to send when it likes,
// the rest of what it is given becomes a second batch, and what it is given after it has
// failed the first it takes again: on a busy machine events overtook those that were
// refused (franz-go 1.22, sink.go: decInflight, failAllRecords).
type kafka struct {
	settings KafkaSettings
	format   format.Formatter
	options  []kgo.Opt
	log      *slog.Logger

	client *kgo.Client // nil until the first Send, and after a failure
}

func openKafka(s KafkaSettings, env Env) (*kafka, error) {
	var mistakes []error
	s.Check(func(setting, _, format string, args ...any) {
		mistakes = append(mistakes, fmt.Errorf("%w: %s: %s", ErrConfig, setting, fmt.Sprintf(format, args...)))
	})
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	formatter, err := s.formatter(format.Options{Version: env.Version})
	if err != nil {
		return nil, err
	}
	log := cmp.Or(env.Log, slog.New(slog.DiscardHandler))
	options, err := kafkaOptions(s, log)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return &kafka{settings: s, format: formatter, options: options, log: log}, nil
}

// kafkaItem is one event of a batch on its way.
type kafkaItem struct {
	event *soar.Event
	value []byte
	err   error // why the record was not taken
	// partition is where the record belongs; known once it was produced.
	partition int32
}

var errNotTried = errors.New("not tried, because an event before it failed")

// Send writes one record for each event and returns when all in-sync replicas have
// them.
func (s *kafka) Send(ctx context.Context, events []soar.Event) error {
	if len(events) == 0 {
		return nil
	}
	if err := s.connect(ctx); err != nil {
		s.disconnect()
		return fmt.Errorf("kafka: %w", err)
	}
	items := make([]*kafkaItem, len(events))
	var ready []*kafkaItem
	for i := range events {
		items[i] = &kafkaItem{event: &events[i]}
		if items[i].err = s.encode(items[i]); items[i].err == nil {
			ready = append(ready, items[i])
		}
	}
	for len(ready) > 0 {
		now, later := s.next(ready)
		s.produce(ctx, now)
		s.separate(ctx, now)
		ready = later
		if anyAgain(now) {
			// A client with failures behind it begins anew, and tells why more plainly.
			s.disconnect()
			for _, it := range later {
				it.err = errNotTried
			}
			break
		}
	}
	return kafkaVerdict(items)
}

// encode fills the value of an item, with its texts cut if they are too long.
func (s *kafka) encode(it *kafkaItem) (err error) {
	if it.value, err = s.format(it.event); err == nil && s.size(it) > s.settings.MaxMessageBytes {
		err = s.shorten(it)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrPermanent, err)
	case s.size(it) > s.settings.MaxMessageBytes:
		return fmt.Errorf("%w: %d bytes with its texts cut, max_message_bytes is %d", ErrTooLarge, s.size(it), s.settings.MaxMessageBytes)
	}
	return nil
}

func (s *kafka) shorten(it *kafkaItem) (err error) {
	short := format.Shortened(*it.event, shortText)
	it.value, err = s.format(&short)
	return err
}

// record is made anew for each attempt: the client writes into it.
func (s *kafka) record(it *kafkaItem) *kgo.Record {
	header := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	r := &kgo.Record{
		// The time of the record is when it is produced, and not that of the event:
		// retention goes by it, and a late delivery would be deleted at once.
		Topic: s.settings.Topic, Key: []byte(kafkaKey(it.event)), Value: it.value,
		Headers: []kgo.RecordHeader{
			header("event_id", it.event.ID), header("event_type", string(it.event.Type)), header("schema", s.settings.Format),
			header("content-type", contentTypeOf(it.value)),
		},
	}
	if it.event.Alert != nil {
		r.Headers = append(r.Headers, header("alert_id", it.event.Alert.Ref()))
	}
	return r
}

// kafkaKey is the same for all events of a host, and for all that have none.
func kafkaKey(ev *soar.Event) string {
	var host soar.Host
	switch {
	case ev.Alert != nil:
		host = ev.Alert.Host
	case ev.Row != nil:
		host = ev.Row.Host
	}
	return cmp.Or(host.Identifier, host.Name, "erbridge")
}

// contentTypeOf tells the formats that are JSON from those that are lines of text.
func contentTypeOf(value []byte) string {
	if bytes.HasPrefix(value, []byte("{")) && json.Valid(value) {
		return "application/json"
	}
	return "text/plain; charset=utf-8"
}

func (s *kafka) size(it *kafkaItem) int {
	n := kafkaOverhead + len(it.value) + len(kafkaKey(it.event)) + len(it.event.ID)
	if it.event.Alert != nil {
		n += len(it.event.Alert.Ref())
	}
	return n
}

// next takes the first event of each host, as many as fit into one record batch
// should they all have the same partition; the others stay in their order.
func (s *kafka) next(items []*kafkaItem) (now, later []*kafkaItem) {
	bytes, waiting := 0, map[string]bool{}
	for _, it := range items {
		key := kafkaKey(it.event)
		size := s.size(it)
		if waiting[key] || len(now) > 0 && bytes+size > s.settings.MaxMessageBytes {
			later = append(later, it)
		} else {
			now = append(now, it)
			bytes += size
		}
		waiting[key] = true
	}
	return now, later
}

// produce sends items, and sets err and partition of each.
func (s *kafka) produce(ctx context.Context, items []*kafkaItem) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.settings.Timeout,
		fmt.Errorf("the brokers did not acknowledge within %s", s.settings.Timeout))
	defer cancel()
	done := make(chan struct{}, len(items)) // one for each item, so that the client never waits for us
	for _, it := range items {
		if s.client == nil { // closed below, for items that stand alone
			it.err = errNotTried
			done <- struct{}{}
			continue
		}
		s.client.Produce(ctx, s.record(it), func(r *kgo.Record, err error) {
			it.err, it.partition = err, r.Partition
			done <- struct{}{}
		})
	}
	if s.client != nil && s.client.Flush(ctx) != nil {
		// An idempotent producer never gives up a record whose fate is open. Closing
		// it does: the records that may have been written are sent again, by a
		// producer that the brokers do not confuse with this one.
		s.disconnect()
	}
	for range items {
		<-done
	}
	for _, it := range items {
		if it.err != nil && ctx.Err() != nil {
			it.err = context.Cause(ctx)
		}
		it.err = judgeKafka(it.err)
	}
}

// separate finds those at fault in record batches that were refused: brokers say
// no of the whole.
func (s *kafka) separate(ctx context.Context, items []*kafkaItem) {
	refused := map[int32][]*kafkaItem{}
	for _, it := range items {
		if isRefusal(it.err) {
			refused[it.partition] = append(refused[it.partition], it)
		}
	}
	for _, batch := range refused {
		if len(batch) > 1 {
			s.log.Warn("brokers refuse a batch of records, those at fault are looked for", "events", len(batch),
				"first", batch[0].event.ID, "max_message_bytes", s.settings.MaxMessageBytes, "err", batch[0].err)
		}
		s.halve(ctx, batch)
	}
}

// halve sends the first half of a refused batch and then the second, and goes on with
// what is refused of it. An event that is refused alone for its length gets its texts
// cut. After one that will be tried again nothing more is sent.
func (s *kafka) halve(ctx context.Context, batch []*kafkaItem) {
	if len(batch) == 1 {
		it := batch[0]
		if !errors.Is(it.err, ErrTooLarge) {
			return
		}
		refusal := it.err
		if err := s.shorten(it); err != nil {
			it.err = errors.Join(refusal, err)
			return
		}
		s.produce(ctx, batch)
		return
	}
	half := len(batch) / 2
	for _, part := range [][]*kafkaItem{batch[:half], batch[half:]} {
		s.produce(ctx, part)
		var refused []*kafkaItem
		for _, it := range part {
			if isRefusal(it.err) {
				refused = append(refused, it)
			}
		}
		if len(refused) > 0 {
			s.halve(ctx, refused)
		}
		if anyAgain(part) {
			break
		}
	}
	if anyAgain(batch[:half]) {
		for _, it := range batch[half:] {
			it.err = errNotTried
		}
	}
}

func isRefusal(err error) bool { return errors.Is(err, ErrPermanent) || errors.Is(err, ErrTooLarge) }

// anyAgain reports whether there is an item that will be sent again.
func anyAgain(items []*kafkaItem) bool {
	for _, it := range items {
		if it.err != nil && !isRefusal(it.err) {
			return true
		}
	}
	return false
}

// kafkaVerdict is what Send returns.
func kafkaVerdict(items []*kafkaItem) error {
	partial := &PartialError{Permanent: map[int]error{}, Transient: map[int]error{}}
	for i, it := range items {
		switch {
		case it.err == nil:
		case isRefusal(it.err):
			partial.Permanent[i] = fmt.Errorf("kafka: %w", it.err)
		default:
			partial.Transient[i] = fmt.Errorf("kafka: %w", it.err)
		}
	}
	if len(partial.Transient) == len(items) {
		return partial.Transient[0] // what came after it says less
	}
	return partial.verdict(len(items))
}

// Close ends the connections. Nothing is under way then.
func (s *kafka) Close() error {
	s.disconnect()
	return nil
}
