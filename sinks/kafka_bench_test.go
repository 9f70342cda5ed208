package sinks_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/erbridge/erbridge/sinks"
)

// BenchmarkKafkaHosts sends batches of 500 events of so many hosts to a topic on loopback.
func BenchmarkKafkaHosts(b *testing.B) {
	for _, hosts := range []int{1, 20, 500} {
		b.Run(fmt.Sprint(hosts), func(b *testing.B) {
			fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, kafkaTopic))
			if err != nil {
				b.Fatal(err)
			}
			defer fake.Close()
			s, err := sinks.Open("k", "kafka", (&kafkaCluster{fake, 4}).settings(), sinks.Env{Version: "1"})
			if err != nil {
				b.Fatal(err)
			}
			events := hostEvents(500, hosts)
			for b.Loop() {
				if err := s.Send(b.Context(), events); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(events)*b.N)/b.Elapsed().Seconds(), "events/s")
			if err := s.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}
