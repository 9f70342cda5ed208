package sinks

import (
	"net/netip"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
)

// The example of the specification, as its own libraries test it.
func TestStandardWebhooksVector(t *testing.T) {
	s := &webhook{settings: WebhookSettings{Secrets: []soar.Secret{soar.SecretValue("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")}}}
	got, err := s.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if err != nil {
		t.Fatal(err)
	}
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

func TestSpecialAddresses(t *testing.T) {
	for _, special := range []string{
		"127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
		"169.254.169.254", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "100.100.100.200", "224.0.0.1", "ff02::1", "255.255.255.255",
		"::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "::127.0.0.1", "198.18.0.1", "0.1.2.3", "fec0::1",
	} {
		if !isSpecial(netip.MustParseAddr(special)) {
			t.Errorf("%s passes as public", special)
		}
	}
	for _, public := range []string{"8.8.8.8", "93.184.216.34", "172.32.0.1", "2606:2800:220:1::1", "64:ff9b::808:808", "::ffff:8.8.8.8"} {
		if isSpecial(netip.MustParseAddr(public)) {
			t.Errorf("%s counts as special", public)
		}
	}
}
