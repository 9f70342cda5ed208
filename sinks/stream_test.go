package sinks_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
)

func TestStreamSettings(t *testing.T) {
	for _, tt := range []struct {
		name     string
		settings sinks.Checker
		want     string
	}{
		{"no broker", &sinks.KafkaSettings{Topic: "t", MaxMessageBytes: 1 << 20, Timeout: 1}, "brokers: at least one broker"},
		{"broker without port", &sinks.KafkaSettings{Brokers: []string{"kafka"}, Topic: "t", MaxMessageBytes: 1 << 20, Timeout: 1}, "brokers: expected host:port"},
		{"no topic", &sinks.KafkaSettings{Brokers: []string{"k:1"}, MaxMessageBytes: 1 << 20, Timeout: 1}, "topic: expected the name"},
		{"sasl without password", &sinks.KafkaSettings{Brokers: []string{"k:1"}, Topic: "t", MaxMessageBytes: 1 << 20, Timeout: 1, SASL: "plain", Username: "u"}, "sasl username password: sasl, username and password go together"},
		{"certificates without TLS", &sinks.KafkaSettings{Brokers: []string{"k:1"}, Topic: "t", MaxMessageBytes: 1 << 20, Timeout: 1, TLSSettings: sinks.TLSSettings{CAFile: "x"}}, "tls: certificates are of use"},
		{"tiny messages", &sinks.KafkaSettings{Brokers: []string{"k:1"}, Topic: "t", MaxMessageBytes: 10, Timeout: 1}, "max_message_bytes: expected a number"},
		{"no scheme", &sinks.S3Settings{Endpoint: "s3", Bucket: "abc", Region: "x", Timeout: 1}, "endpoint: expected http"},
		{"bucket in the endpoint", &sinks.S3Settings{Endpoint: "https://s3/abc", Bucket: "abc", Region: "x", Timeout: 1}, "endpoint: no path here"},
		{"no name of a bucket", &sinks.S3Settings{Endpoint: "https://s3", Bucket: "A/b", Region: "x", Timeout: 1}, "bucket: expected 3 to 63"},
		{"no region", &sinks.S3Settings{Endpoint: "https://s3", Bucket: "abc", Timeout: 1}, "region: expected the name"},
		{"key without secret", &sinks.S3Settings{Endpoint: "https://s3", Bucket: "abc", Region: "x", AccessKey: "a", Timeout: 1}, "access_key secret_key: access_key and secret_key go together"},
		{"key of no use", &sinks.S3Settings{Endpoint: "https://s3", Bucket: "abc", Region: "x", KMSKey: "a", Timeout: 1}, "kms_key server_side_encryption: a key is of use"},
		{"header with a space", &sinks.OTLPSettings{URL: "https://o", Timeout: 1, Headers: map[string]soar.Secret{"a b": {}}}, "headers: \"a b\" cannot be the name"},
		{"header of our own", &sinks.OTLPSettings{URL: "https://o", Timeout: 1, Headers: map[string]soar.Secret{"content-type": {}}}, "headers: \"content-type\" cannot be the name"},
		{"name of the service", &sinks.OTLPSettings{URL: "https://o", Timeout: 1, Resource: map[string]string{"service.name": "x"}}, "resource: \"service.name\" is not for settings"},
		{"two ways to log in", lokiWith(func(s *sinks.LokiSettings) { s.Username, s.Password = "u", soar.SecretValue("p") }), "token username password: set one of"},
		{"user without password", lokiWith(func(s *sinks.LokiSettings) { s.Token, s.Username = soar.Secret{}, "u" }), "username password: username and password go together"},
		{"label with a dash", lokiWith(func(s *sinks.LokiSettings) { s.Labels = map[string]string{"a-b": "x"} }), "labels: \"a-b\" cannot be the name"},
		{"label of our own", lokiWith(func(s *sinks.LokiSettings) { s.Labels = map[string]string{"severity": "x"} }), "labels: severity is there already"},
		{"label without value", lokiWith(func(s *sinks.LokiSettings) { s.Labels = map[string]string{"a": ""} }), "labels: a has no value"},
		{"tiny lines", lokiWith(func(s *sinks.LokiSettings) { s.MaxLineBytes = 10 }), "max_line_bytes: expected a number"},
		{"template without one", lokiWith(func(s *sinks.LokiSettings) { s.Format = "template" }), "format: format: template needs a template"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			tt.settings.Check(func(setting, _, format string, args ...any) {
				got = append(got, setting+": "+fmt.Sprintf(format, args...))
			})
			if len(got) != 1 || !strings.HasPrefix(got[0], tt.want) {
				t.Errorf("mistakes %q, want one that begins with %q", got, tt.want)
			}
		})
	}
}

func lokiWith(change func(*sinks.LokiSettings)) *sinks.LokiSettings {
	s := lokiSettings("https://loki.example.org")
	change(s)
	return s
}
