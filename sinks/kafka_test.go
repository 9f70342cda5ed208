package sinks_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/testenv"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

const (
	kafkaTopic    = "alerts"
	kafkaPassword = "s3cret-kafka-password"
)

// kafkaCluster is a cluster that follows Kafka's protocol, and in it the topic.
type kafkaCluster struct {
	*kfake.Cluster
	partitions int32
}

func newKafka(t *testing.T, partitions int32, options ...kfake.Opt) *kafkaCluster {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(partitions, kafkaTopic)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return &kafkaCluster{cluster, partitions}
}

func (c *kafkaCluster) settings() *sinks.KafkaSettings {
	return &sinks.KafkaSettings{
		Brokers: c.ListenAddrs(), Topic: kafkaTopic, Compression: "snappy", MaxMessageBytes: 1_000_000, Timeout: 30 * time.Second,
		FormatSettings: sinks.FormatSettings{Format: "json"},
	}
}

func (c *kafkaCluster) open(t *testing.T) sinks.Sink {
	t.Helper()
	return openSIEM(t, "kafka", c.settings())
}

// records are what stands in the topic, partition after partition.
func (c *kafkaCluster) records(t *testing.T) []*kgo.Record {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics(kafkaTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	left := 0
	for p := range c.partitions {
		left += int(c.PartitionInfo(kafkaTopic, p).HighWatermark)
	}
	var records []*kgo.Record
	for len(records) < left {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		records = append(records, fetches.Records()...)
	}
	slices.SortStableFunc(records, func(a, b *kgo.Record) int { return int(a.Partition) - int(b.Partition) })
	return records
}

func (c *kafkaCluster) ids(t *testing.T) []string {
	t.Helper()
	var ids []string
	for _, r := range c.records(t) {
		ids = append(ids, kafkaHeader(r, "event_id"))
	}
	return ids
}

func kafkaHeader(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// refuse answers produce requests with the codes that judge gives for the ids of
// their events; nil lets the cluster take them.
func (c *kafkaCluster) refuse(judge func(ids []string) *kerr.Error) {
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		produce := req.(*kmsg.ProduceRequest)
		var ids []string
		for _, topic := range produce.Topics {
			for _, partition := range topic.Partitions {
				var batch kmsg.RecordBatch
				if err := batch.ReadFrom(partition.Records); err != nil {
					return nil, err, true
				}
				records, err := kfake.BatchRecords(batch)
				if err != nil {
					return nil, err, true
				}
				for _, r := range records {
					for _, h := range r.Headers {
						if h.Key == "event_id" {
							ids = append(ids, string(h.Value))
						}
					}
				}
			}
		}
		code := judge(ids)
		if code == nil {
			return nil, nil, false
		}
		reply := produce.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range produce.Topics {
			answer := kmsg.NewProduceResponseTopic()
			answer.Topic, answer.TopicID = topic.Topic, topic.TopicID
			for _, partition := range topic.Partitions {
				one := kmsg.NewProduceResponseTopicPartition()
				one.Partition, one.ErrorCode = partition.Partition, code.Code
				answer.Partitions = append(answer.Partitions, one)
			}
			reply.Topics = append(reply.Topics, answer)
		}
		return reply, nil, true
	})
}

// refuseLogins answers as Kafka does, where kfake only hangs up.
func (c *kafkaCluster) refuseLogins() {
	c.ControlKey(int16(kmsg.SASLAuthenticate), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		reply := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		reply.ErrorCode = kerr.SaslAuthenticationFailed.Code
		reply.ErrorMessage = kmsg.StringPtr("Authentication failed: Invalid username or password")
		return reply, nil, true
	})
}

func TestKafkaContract(t *testing.T) {
	var cluster *kafkaCluster
	refusing := func(judge func(ids []string) *kerr.Error) func(t *testing.T) sinks.Sink {
		return func(t *testing.T) sinks.Sink {
			cluster = newKafka(t, 1)
			cluster.refuse(judge)
			return cluster.open(t)
		}
	}
	always := func(code *kerr.Error) func(t *testing.T) sinks.Sink {
		return refusing(func([]string) *kerr.Error { return code })
	}
	login := func(mechanism, password string) func(t *testing.T) sinks.Sink {
		return func(t *testing.T) sinks.Sink {
			cluster = newKafka(t, 1, kfake.EnableSASL(), kfake.Superuser(strings.ToUpper(mechanism), "erbridge", kafkaPassword))
			if password != kafkaPassword {
				cluster.refuseLogins()
			}
			s := cluster.settings()
			s.SASL, s.Username, s.Password = mechanism, "erbridge", soar.SecretValue(password)
			return openSIEM(t, "kafka", s)
		}
	}
	sinktest.Run(t, sinktest.Harness{
		MaxBatch: 500, Secrets: []string{kafkaPassword, "wr0ng-password"},
		Open: func(t *testing.T, _ sinktest.Receiver) sinks.Sink {
			cluster = newKafka(t, 1)
			return cluster.open(t)
		},
		Delivered: func(t *testing.T) []string { return cluster.ids(t) },
		Answers: []sinktest.Answer{
			{Name: "taken", Open: refusing(func([]string) *kerr.Error { return nil }), Want: sinktest.Delivered},
			{Name: "too large", Open: always(kerr.MessageTooLarge), Want: sinktest.TooLarge},
			{Name: "invalid record", Open: always(kerr.InvalidRecord), Want: sinktest.Permanent},
			{Name: "no right to write", Open: always(kerr.TopicAuthorizationFailed), Want: sinktest.Config},
			{Name: "unknown error", Open: always(kerr.UnknownServerError), Want: sinktest.Transient},
			{Name: "no such topic", Want: sinktest.Config, Open: func(t *testing.T) sinks.Sink {
				s := newKafka(t, 1).settings()
				s.Topic = "elsewhere"
				return openSIEM(t, "kafka", s)
			}},
			{Name: "nobody listens", Want: sinktest.Transient, Open: func(t *testing.T) sinks.Sink {
				gone := newKafka(t, 1)
				s := gone.settings()
				gone.Close()
				return openSIEM(t, "kafka", s)
			}},
			{Name: "not acknowledged in time", Want: sinktest.Transient, Open: func(t *testing.T) sinks.Sink {
				cluster = newKafka(t, 1)
				cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) { return nil, nil, true })
				s := cluster.settings()
				s.Timeout = 300 * time.Millisecond
				return openSIEM(t, "kafka", s)
			}},
			{Name: "plain", Open: login("plain", kafkaPassword), Want: sinktest.Delivered},
			{Name: "scram-sha-256", Open: login("scram-sha-256", kafkaPassword), Want: sinktest.Delivered},
			{Name: "scram-sha-512", Open: login("scram-sha-512", kafkaPassword), Want: sinktest.Delivered},
			{Name: "plain, wrong password", Open: login("plain", "wr0ng-password"), Want: sinktest.Config},
			{Name: "scram, wrong password", Open: login("scram-sha-512", "wr0ng-password"), Want: sinktest.Config},
		},
		Stuck: func(t *testing.T) (sinks.Sink, <-chan struct{}) {
			cluster = newKafka(t, 1)
			arrived := make(chan struct{})
			cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
				close(arrived)
				return nil, nil, true // no answer, ever
			})
			return cluster.open(t), arrived
		},
		// All events are of one host, so of one record batch, which is refused as a
		// whole; alone each has an answer of its own.
		Partial: refusing(func(ids []string) *kerr.Error {
			switch {
			case slices.Contains(ids, "er-2"):
				return kerr.InvalidRecord
			case slices.Contains(ids, "er-3"):
				return kerr.UnknownServerError
			}
			return nil
		}),
		Poison: func(t *testing.T, id string) sinks.Sink {
			return refusing(func(ids []string) *kerr.Error {
				if slices.Contains(ids, id) {
					return kerr.InvalidRecord
				}
				return nil
			})(t)
		},
		WrongName: func(t *testing.T) sinks.Sink {
			authority := newAuthority(t)
			s := newKafka(t, 1, kfake.TLS(authority.server(t))).settings()
			s.TLS, s.CAFile, s.ServerName = true, authority.file, "other.example"
			return openSIEM(t, "kafka", s)
		},
	})
}

func TestKafkaRecord(t *testing.T) {
	authority := newAuthority(t)
	server := authority.server(t)
	server.MinVersion = tls.VersionTLS12
	cluster := newKafka(t, 3, kfake.TLS(server))
	settings := cluster.settings()
	settings.TLS, settings.CAFile, settings.Compression = true, authority.file, "zstd"
	s := closeAfter(t, openSIEM(t, "kafka", settings))
	events := append(sinktest.Events(2), soar.Event{ID: "t-1", Type: soar.EventTest, At: time.Unix(1795318722, 0), Text: "hello"})
	if err := s.Send(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	plain, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumeTopics(kafkaTopic), kgo.DialTLSConfig(&tls.Config{RootCAs: authority.pool}),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	got := map[string]*kgo.Record{}
	for len(got) < len(events) {
		fetches := plain.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { got[kafkaHeader(r, "event_id")] = r })
	}
	for i, ev := range events {
		r := got[ev.ID]
		key, alert := "EC2A-7", fmt.Sprintf("er-%d", i+1)
		if ev.Alert == nil {
			key, alert = "erbridge", ""
		}
		if string(r.Key) != key || kafkaHeader(r, "alert_id") != alert || kafkaHeader(r, "schema") != "json" ||
			kafkaHeader(r, "content-type") != "application/json" || kafkaHeader(r, "event_type") != string(ev.Type) {
			t.Errorf("%s: key %q, headers %v", ev.ID, r.Key, r.Headers)
		}
		var back soar.Event
		if err := json.Unmarshal(r.Value, &back); err != nil || back.ID != ev.ID {
			t.Errorf("%s: value %s: %v", ev.ID, r.Value, err)
		}
	}
	if got["er-1"].Partition != got["er-2"].Partition {
		t.Error("events of one host went to two partitions")
	}
}

// hostEvents are events of several hosts, one after the other.
func hostEvents(n, hosts int) []soar.Event {
	events := sinktest.Events(n)
	for i := range events {
		alert := *events[i].Alert
		alert.Host.Identifier = fmt.Sprintf("host-%d", i%hosts)
		events[i].Alert = &alert
	}
	return events
}

// sendUntilTaken sends what is left of a batch until nothing is, as the forwarder does.
func sendUntilTaken(t *testing.T, s sinks.Sink, events []soar.Event, attempts int) {
	t.Helper()
	for range attempts {
		err := s.Send(t.Context(), events)
		if err == nil {
			return
		}
		if partial, ok := errors.AsType[*sinks.PartialError](err); ok {
			var left []soar.Event
			for i := range events {
				if why := partial.Permanent[i]; why != nil {
					t.Fatalf("%s is refused for good: %v", events[i].ID, why)
				}
				if partial.Transient[i] != nil {
					left = append(left, events[i])
				}
			}
			events = left
		} else if sinktest.ClassOf(err) != sinktest.Transient {
			t.Fatal(err)
		}
	}
	t.Fatalf("%d events are left after %d attempts", len(events), attempts)
}

// checkHosts expects the events of each host in order, and none missing. Repeats
// are no fault when the first of each id is in its place.
func checkHosts(t *testing.T, records []*kgo.Record, want []soar.Event) {
	t.Helper()
	byHost, seen := map[string][]string{}, map[string]bool{}
	for _, r := range records {
		id := kafkaHeader(r, "event_id")
		if !seen[id] {
			byHost[string(r.Key)] = append(byHost[string(r.Key)], id)
		}
		seen[id] = true
	}
	wanted := map[string][]string{}
	for _, ev := range want {
		wanted[ev.Alert.Host.Identifier] = append(wanted[ev.Alert.Host.Identifier], ev.ID)
	}
	for host, ids := range wanted {
		if !slices.Equal(byHost[host], ids) {
			t.Errorf("%s: %d events %q, want %d %q", host, len(byHost[host]), byHost[host], len(ids), ids)
		}
	}
}

// After an event has failed for now, no later one of its host is taken before it:
// neither one of the same request, nor one of a later request.
func TestKafkaKeepsOrderOfHosts(t *testing.T) {
	for _, tt := range []struct {
		name, failing string
		maxBytes      int
	}{
		{"the very first", "er-1", 1_000_000},
		{"the first of a host", "er-2", 1_000_000},
		{"in the middle, with small batches", "er-40", 16 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cluster := newKafka(t, 4)
			failures := 0
			cluster.refuse(func(ids []string) *kerr.Error {
				if slices.Contains(ids, tt.failing) && failures < 3 {
					failures++
					return kerr.UnknownServerError
				}
				return nil
			})
			settings := cluster.settings()
			settings.MaxMessageBytes = tt.maxBytes
			s := closeAfter(t, openSIEM(t, "kafka", settings))
			events := hostEvents(300, 7)
			sendUntilTaken(t, s, events, 5)
			if failures != 3 {
				t.Errorf("%d failures, want 3", failures)
			}
			checkHosts(t, cluster.records(t), events)
		})
	}
}

// The answer to what was written is lost: it comes again, with the same id and in
// the same order.
func TestKafkaLostAnswer(t *testing.T) {
	cluster := newKafka(t, 2)
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicasAfterAppend})
	s := closeAfter(t, cluster.open(t))
	events := hostEvents(50, 3)
	sendUntilTaken(t, s, events, 2)
	checkHosts(t, cluster.records(t), events)
}

func TestKafkaChangeOfLeader(t *testing.T) {
	cluster := newKafka(t, 1, kfake.NumBrokers(3))
	s := closeAfter(t, cluster.open(t))
	events := hostEvents(20, 2)
	if err := s.Send(t.Context(), events[:10]); err != nil {
		t.Fatal(err)
	}
	leader := cluster.LeaderFor(kafkaTopic, 0)
	if err := cluster.MoveTopicPartition(kafkaTopic, 0, (leader+1)%3); err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), events[10:]); err != nil {
		t.Fatal(err)
	}
	if got := cluster.ids(t); len(got) != len(events) {
		t.Errorf("%d records, want each event once: %q", len(got), got)
	}
	checkHosts(t, cluster.records(t), events)
}

// The topic takes less than max_message_bytes says: all but what is too large by
// itself arrives, that with its texts cut, and in order.
func TestKafkaTopicTakesLess(t *testing.T) {
	cluster := newKafka(t, 1, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "20000"}))
	settings := cluster.settings()
	settings.Compression = "none"
	s := closeAfter(t, openSIEM(t, "kafka", settings))
	events := hostEvents(40, 1)
	events[7].Alert.Event = map[string]string{"cmdline": strings.Repeat("x", 50_000)}
	if err := s.Send(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	checkHosts(t, cluster.records(t), events)
}

// An event that is too large with its texts cut does not hold up the others.
func TestKafkaOversizedItem(t *testing.T) {
	cluster := newKafka(t, 1)
	settings := cluster.settings()
	settings.MaxMessageBytes = 16 << 10
	s := closeAfter(t, openSIEM(t, "kafka", settings))
	events := hostEvents(3, 1)
	events[1].Alert.Event = map[string]string{}
	for i := range 100 {
		events[1].Alert.Event[fmt.Sprintf("column_%d", i)] = strings.Repeat("x", 2000)
	}
	err := s.Send(t.Context(), events)
	partial, ok := errors.AsType[*sinks.PartialError](err)
	if !ok || len(partial.Permanent) != 1 || !errors.Is(partial.Permanent[1], sinks.ErrTooLarge) || len(partial.Transient) != 0 {
		t.Fatalf("error %#v, want item 1 refused as too large", err)
	}
	if got := cluster.ids(t); !slices.Equal(got, []string{"er-1", "er-3"}) {
		t.Errorf("arrived: %q", got)
	}
}

// A cluster that was away is found again by the same sink, and what it had before
// its restart is not confused with what comes after.
func TestKafkaComesBack(t *testing.T) {
	dir := t.TempDir()
	before := newKafka(t, 2, kfake.DataDir(dir))
	s := closeAfter(t, before.open(t))
	events := hostEvents(30, 3)
	if err := s.Send(t.Context(), events[:10]); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(before.ListenAddrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	before.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // of a Send that waits for the brokers
	if err := s.Send(ctx, events[10:20]); sinktest.ClassOf(err) != sinktest.Transient {
		t.Fatalf("error %v, want a transient one", err)
	}
	after := newKafka(t, 2, kfake.DataDir(dir), kfake.Ports(number))
	if err := s.Send(t.Context(), events[10:]); err != nil {
		t.Fatal(err)
	}
	checkHosts(t, after.records(t), events)
}

func TestKafkaOpensNoConnection(t *testing.T) {
	s, err := sinks.Open("k", "kafka", &sinks.KafkaSettings{
		Brokers: []string{"203.0.113.1:9092"}, Topic: "x", MaxMessageBytes: 1 << 20, Timeout: time.Second,
		FormatSettings: sinks.FormatSettings{Format: "cef"},
	}, sinks.Env{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), nil); err != nil {
		t.Errorf("empty batch: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Nothing of what the client logs has the password in it.
func TestKafkaLogsNoSecret(t *testing.T) {
	cluster := newKafka(t, 1, kfake.EnableSASL(), kfake.Superuser("PLAIN", "erbridge", kafkaPassword))
	settings := cluster.settings()
	settings.SASL, settings.Username, settings.Password = "plain", "erbridge", soar.SecretValue(kafkaPassword)
	var log strings.Builder
	s, err := sinks.Open("k", "kafka", settings, sinks.Env{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Send(t.Context(), sinktest.Events(1)), s.Close()); err != nil {
		t.Fatal(err)
	}
	if log.Len() == 0 || strings.Contains(log.String(), kafkaPassword) {
		t.Errorf("log: %s", log.String())
	}
}

// A second client, which shares no code with ours, reads what we write, with every
// compression.
func TestKafkaIntoKcat(t *testing.T) {
	program := testenv.Need(t, "kcat")[0]
	for _, compression := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run(compression, func(t *testing.T) {
			cluster := newKafka(t, 3)
			settings := cluster.settings()
			settings.Compression = compression
			s := closeAfter(t, openSIEM(t, "kafka", settings))
			events := append(hostEvents(20, 4), sinktest.Hostile())
			if err := s.Send(t.Context(), events); err != nil {
				t.Fatal(err)
			}
			var trouble strings.Builder
			cmd := exec.CommandContext(t.Context(), program, "-C", "-e", "-q", "-b", cluster.ListenAddrs()[0], "-t", kafkaTopic, "-J")
			cmd.Stderr = &trouble
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("kcat: %v: %s", err, trouble.String())
			}
			var records []*kgo.Record
			for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
				var line struct {
					Key     string   `json:"key"`
					Headers []string `json:"headers"`
					Payload string   `json:"payload"`
				}
				if err := decoder.Decode(&line); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				r := &kgo.Record{Key: []byte(line.Key), Value: []byte(line.Payload)}
				for i := 0; i+1 < len(line.Headers); i += 2 {
					r.Headers = append(r.Headers, kgo.RecordHeader{Key: line.Headers[i], Value: []byte(line.Headers[i+1])})
				}
				var ev soar.Event
				if err := json.Unmarshal(r.Value, &ev); err != nil || ev.ID != kafkaHeader(r, "event_id") || ev.Alert.Ref() != kafkaHeader(r, "alert_id") {
					t.Errorf("record %s with headers %q: %v", r.Value, line.Headers, err)
				}
				records = append(records, r)
			}
			checkHosts(t, records, events)
		})
	}
}

// One event that the brokers never take costs a few requests more.
func TestKafkaPoisonIsFoundByHalves(t *testing.T) {
	for _, code := range []*kerr.Error{kerr.InvalidRecord, kerr.MessageTooLarge} {
		t.Run(code.Message, func(t *testing.T) {
			cluster := newKafka(t, 1)
			requests := 0
			cluster.refuse(func(ids []string) *kerr.Error {
				requests++
				if slices.Contains(ids, "er-137") {
					return code
				}
				return nil
			})
			s := closeAfter(t, cluster.open(t))
			events := hostEvents(300, 300)
			err := s.Send(t.Context(), events)
			partial, ok := errors.AsType[*sinks.PartialError](err)
			if !ok || len(partial.Permanent) != 1 || partial.Permanent[136] == nil || len(partial.Transient) != 0 {
				t.Fatalf("error %v, want er-137 alone refused for good", err)
			}
			if requests > 40 {
				t.Errorf("%d requests to find one of %d events", requests, len(events))
			}
			checkHosts(t, cluster.records(t), slices.Delete(events, 136, 137))
		})
	}
}

// Whatever happens to single requests, the events of a host arrive in their order: a leader
// moves, an answer is lost, a request is refused for now.
func TestKafkaBacklogWithFaults(t *testing.T) {
	for _, hosts := range []int{1, 3, 50} {
		t.Run(fmt.Sprintf("%d hosts", hosts), func(t *testing.T) {
			cluster := newKafka(t, 2, kfake.NumBrokers(3))
			request := 0
			cluster.refuse(func([]string) *kerr.Error {
				switch request++; request {
				case 2, 5, 9:
					return kerr.UnknownServerError
				}
				return nil
			})
			settings := cluster.settings()
			settings.MaxMessageBytes = 32 << 10 // many batches
			s := closeAfter(t, openSIEM(t, "kafka", settings))
			events := hostEvents(400, hosts)
			sendUntilTaken(t, s, events[:200], 5)
			for p := range int32(2) {
				if err := cluster.MoveTopicPartition(kafkaTopic, p, (cluster.LeaderFor(kafkaTopic, p)+1)%3); err != nil {
					t.Fatal(err)
				}
			}
			cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicasAfterAppend})
			sendUntilTaken(t, s, events[200:], 8)
			if request < 10 {
				t.Errorf("%d requests, want all faults to have come", request)
			}
			checkHosts(t, cluster.records(t), events)
		})
	}
}
