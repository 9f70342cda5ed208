package ersim

import (
	"crypto/x509"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// TestCertificateOnAllAddresses calls a server that listens everywhere by the names
// that others would use.
func TestCertificateOnAllAddresses(t *testing.T) {
	s := newServer(t, Options{Listen: ":0"})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.apiListener.Close()
	if !strings.HasPrefix(s.URL(), "https://localhost:") {
		t.Errorf("URL %s", s.URL())
	}
	leaf, err := x509.ParseCertificate(s.cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CAPEM())
	names := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil {
		names = append(names, name)
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range addresses {
		ip, _, err := net.ParseCIDR(address.String())
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, ip.String())
	}
	for _, name := range names {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: time.Now()}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
