package doctor

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// maxDial bounds the wait for a connection.
const maxDial = 10 * time.Second

// target is the server's address, and the proxy on the way to it, if there is one.
func (d *doctor) target() (server, proxy *url.URL, err error) {
	if server, err = url.Parse(d.cfg.Server.URL); err != nil {
		return nil, nil, err
	}
	proxy, err = http.ProxyFromEnvironment(&http.Request{URL: server})
	return server, proxy, err
}

func (d *doctor) name(ctx context.Context) finding {
	server, proxy, err := d.target()
	if err != nil {
		return finding{Fail, said(err), "correct server.url, or the variables of the proxy"}
	}
	host := server.Hostname()
	if proxy != nil {
		host = proxy.Hostname() // it resolves the rest
	}
	if net.ParseIP(host) != nil {
		return finding{OK, host + " is an address", ""}
	}
	found, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return finding{Fail, said(err), "correct the host in server.url, or the name service of this machine"}
	}
	return finding{OK, host + " is " + listing(found, 4), ""}
}

// reach opens a connection and closes it. Where the URL has no port, the API may
// live on that of releases 2.x as well.
func (d *doctor) reach(ctx context.Context) finding {
	server, proxy, err := d.target()
	if err != nil {
		return finding{Fail, said(err), "correct server.url"}
	}
	ports := []string{server.Port()}
	if server.Port() == "" {
		ports = []string{map[bool]string{true: "80", false: "443"}[server.Scheme == "http"], "5000"}
	}
	host, through := server.Hostname(), ""
	if proxy != nil {
		host, ports = proxy.Hostname(), []string{cmp.Or(proxy.Port(), "80")}
		through = " (a proxy; the variables HTTPS_PROXY and HTTP_PROXY say so)"
	}
	var problems []string
	for _, port := range ports {
		address := net.JoinHostPort(host, port)
		began := d.o.Now()
		conn, err := (&net.Dialer{Timeout: maxDial}).DialContext(ctx, "tcp", address)
		if err != nil {
			problems = append(problems, said(err))
			continue
		}
		_ = conn.Close() // it was opened; nothing was sent
		if d.address = address; proxy != nil {
			d.address = ""
		}
		return finding{OK, fmt.Sprintf("%s accepts connections%s, after %v", address, through, d.o.Now().Sub(began).Round(time.Millisecond)), ""}
	}
	return finding{Fail, strings.Join(problems, "; "), "is the server up, the port in server.url right, and the firewall open?"}
}

const (
	certificateHint = "give the authority in server.ca_file, or pin the certificate in server.pin_sha256"
	expiresSoon     = 30 * 24 * time.Hour
)

// tls looks at the certificate by itself and judges it as the client does: by the
// pin, by the authority, or by both.
func (d *doctor) tls(ctx context.Context) finding {
	server, _, err := d.target()
	if err != nil {
		return finding{Fail, said(err), "correct server.url"}
	}
	if server.Scheme == "http" {
		return finding{Warn, "the URL is http: password and token travel unprotected", "use https in server.url"}
	}
	state, err := d.handshake(ctx, server)
	if err != nil {
		hint := "is this the port of the server's console?"
		if errors.As(err, new(tls.RecordHeaderError)) {
			hint = "what listens there does not speak TLS; is the port in server.url right?"
		}
		return finding{Fail, said(err), hint}
	}
	return d.judge(state, server.Hostname())
}

var errSeen = errors.New("seen enough")

// handshake begins a connection as the client does and ends it when the
// certificate has come.
func (d *doctor) handshake(ctx context.Context, server *url.URL) (state tls.ConnectionState, err error) {
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSHandshakeTimeout: maxDial,
		TLSClientConfig: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			InsecureSkipVerify: true, //nolint:gosec // nothing is sent; judge looks at what came
			VerifyConnection:   func(s tls.ConnectionState) error { state = s; return errSeen },
		},
	}
	if d.address != "" {
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: maxDial}).DialContext(ctx, network, d.address)
		}
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, server.Scheme+"://"+server.Host+"/", nil)
	if err != nil {
		return state, err
	}
	resp, err := transport.RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close() // cannot be: the handshake ends with errSeen
		return state, errors.New("no certificate was seen")
	}
	if errors.Is(err, errSeen) && len(state.PeerCertificates) > 0 {
		return state, nil
	}
	return state, err
}

// judge says what a certificate is good for.
func (d *doctor) judge(state tls.ConnectionState, host string) finding {
	leaf, s := state.PeerCertificates[0], d.cfg.Server
	sum := sha256.Sum256(leaf.Raw)
	print := hex.EncodeToString(sum[:])
	left := leaf.NotAfter.Sub(d.o.Now())
	found := fmt.Sprintf("%s, of %s, until %s, %s", nameOf(leaf.Subject.String()), nameOf(leaf.Issuer.String()),
		leaf.NotAfter.UTC().Format(time.DateOnly), tls.VersionName(state.Version))
	var how []string
	if s.PinSHA256 != "" {
		if !strings.EqualFold(strings.NewReplacer(":", "", " ", "").Replace(s.PinSHA256), print) {
			return finding{Fail, found + "; its SHA-256 is " + print + " and not the pinned one",
				"if the server was given a new certificate, pin that; if not, somebody is between"}
		}
		how = append(how, "pin fits")
	}
	if s.PinSHA256 == "" || s.CAFile != "" {
		if err := d.verify(state.PeerCertificates, host); err != nil {
			return d.distrusted(err, found, print)
		}
		how = append(how, "chain good")
	}
	found += "; " + strings.Join(how, ", ")
	switch {
	case left <= 0:
		return finding{Warn, found + ", but expired", "the pin lets it pass; renew the certificate of the server, and the pin"}
	case left < expiresSoon:
		return finding{Warn, fmt.Sprintf("%s; expires in %s", found, number(int(left.Hours()/24), "day")), "renew the certificate of the server"}
	}
	return finding{OK, found, ""}
}

func (d *doctor) verify(chain []*x509.Certificate, host string) error {
	options := x509.VerifyOptions{DNSName: host, CurrentTime: d.o.Now(), Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	if path := d.cfg.Server.CAFile; path != "" {
		text, err := os.ReadFile(path) // the client has read it, and found it short
		if err != nil {
			return err
		}
		options.Roots = x509.NewCertPool()
		options.Roots.AppendCertsFromPEM(text)
	}
	_, err := chain[0].Verify(options)
	return err
}

// distrusted says what is wrong with a certificate and what helps against it.
func (d *doctor) distrusted(err error, found, print string) finding {
	hint := certificateHint
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		hint = "renew the certificate of the server, and look at both clocks"
	case errors.As(err, new(x509.HostnameError)):
		hint = "put a name of the certificate into server.url, or pin the certificate in server.pin_sha256"
	case errors.As(err, new(x509.UnknownAuthorityError)):
		hint = "give its authority in server.ca_file, or compare this SHA-256 with the server's own and pin it in server.pin_sha256: " + print
	}
	return finding{Fail, found + "; " + said(err), hint}
}

func nameOf(text string) string { return cmp.Or(text, "nobody") }
