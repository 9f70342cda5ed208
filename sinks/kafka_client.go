package sinks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// kafkaOptions make a producer that asks for the acknowledgement of all in-sync
// replicas and is idempotent, which is the client's default.
func kafkaOptions(s KafkaSettings, log *slog.Logger) ([]kgo.Opt, error) {
	codecs := map[string]kgo.CompressionCodec{
		"": kgo.NoCompression(), "none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	codec, ok := codecs[s.Compression]
	if !ok {
		return nil, fmt.Errorf("compression: unknown word %q", s.Compression)
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(s.Brokers...),
		kgo.ClientID("erbridge"),
		kgo.WithLogger(kafkaLog{log}),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(codec, kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(int32(s.MaxMessageBytes)), //nolint:gosec // Check bounds it to 1 GiB
		// Hashes keys as the clients in Java do, so that all of them agree.
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		// Records go out together when Flush is called, in few batches.
		kgo.ManualFlushing(),
		// Requests besides producing: once to each broker. The forwarder tries again.
		kgo.RequestRetries(len(s.Brokers)),
		kgo.DisableClientMetrics(), // Close would wait to send them
	}
	if s.TLS {
		config, err := s.config()
		if err != nil {
			return nil, err
		}
		options = append(options, kgo.DialTLSConfig(config))
	}
	// The password is read for each connection, so that a rotated file is seen.
	reveal := func() (string, error) {
		password, err := s.Password.Reveal()
		if err != nil {
			return "", fmt.Errorf("%w: password: %w", ErrConfig, err)
		}
		return password, nil
	}
	scramAuth := func(context.Context) (scram.Auth, error) {
		password, err := reveal()
		return scram.Auth{User: s.Username, Pass: password}, err
	}
	switch s.SASL {
	case "":
	case "plain":
		options = append(options, kgo.SASL(plain.Plain(func(context.Context) (plain.Auth, error) {
			password, err := reveal()
			return plain.Auth{User: s.Username, Pass: password}, err
		})))
	case "scram-sha-256":
		options = append(options, kgo.SASL(scram.Sha256(scramAuth)))
	case "scram-sha-512":
		options = append(options, kgo.SASL(scram.Sha512(scramAuth)))
	default:
		return nil, fmt.Errorf("sasl: unknown mechanism %q", s.SASL)
	}
	return options, nil
}

// connect makes a client if there is none. It asks for the topic: the answer says
// plainly what is wrong with address, certificate, password, name or rights, all
// of which a producer would only wait for.
func (s *kafka) connect(ctx context.Context) error {
	if s.client != nil {
		return nil
	}
	client, err := kgo.NewClient(s.options...)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s.client = client
	ctx, cancel := context.WithTimeoutCause(ctx, s.settings.Timeout, fmt.Errorf("no answer within %s", s.settings.Timeout))
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr(s.settings.Topic)
	req.Topics = append(req.Topics, topic)
	reply, err := req.RequestWith(ctx, client)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("ask %s for the topic: %w", strings.Join(s.settings.Brokers, ", "), judgeKafka(err))
	}
	for _, t := range reply.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("topic %q: %w", s.settings.Topic, judgeKafka(err))
		}
	}
	return nil
}

// disconnect closes the client, which fails what it still holds.
func (s *kafka) disconnect() {
	if s.client != nil {
		s.client.Close()
		s.client = nil
	}
}

// judgeKafka classes what brokers answer (Kafka protocol guide, "Error Codes").
// Errors that pass by themselves, such as those of a change of leader, the client
// has tried again until the time was over.
func judgeKafka(err error) error {
	is := func(errs ...error) bool {
		for _, e := range errs {
			if errors.Is(err, e) {
				return true
			}
		}
		return false
	}
	switch {
	case err == nil, errors.Is(err, ErrConfig):
		return err
	case is(kerr.MessageTooLarge, kerr.RecordListTooLarge):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case is(kerr.InvalidRecord, kerr.InvalidTimestamp, kerr.PolicyViolation):
		return fmt.Errorf("%w: %w", ErrPermanent, err)
	case is(kerr.UnknownTopicOrPartition, kerr.InvalidTopicException, kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed,
		kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism, kerr.IllegalSaslState, kerr.SecurityDisabled,
		kerr.UnsupportedCompressionType, kerr.InvalidRequiredAcks):
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return judgeDial(err)
}

// kafkaLog hands what the client has to say to our log. A broker that is away is
// told of by the forwarder, once.
type kafkaLog struct{ log *slog.Logger }

// Level implements kgo.Logger.
func (l kafkaLog) Level() kgo.LogLevel {
	switch ctx := context.Background(); {
	case l.log.Enabled(ctx, slog.LevelDebug):
		return kgo.LogLevelInfo
	case l.log.Enabled(ctx, slog.LevelWarn):
		return kgo.LogLevelError
	}
	return kgo.LogLevelNone
}

// Log implements kgo.Logger. The messages are constants of the client.
func (l kafkaLog) Log(level kgo.LogLevel, msg string, attributes ...any) {
	to := slog.LevelDebug
	if level == kgo.LogLevelError {
		to = slog.LevelWarn
	}
	l.log.Log(context.Background(), to, "kafka: "+msg, attributes...) //nolint:sloglint // see above
}
