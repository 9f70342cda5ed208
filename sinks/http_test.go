package sinks

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 22, 30, 0, time.UTC)
	for _, tt := range []struct {
		in   string
		want time.Duration
		ok   bool
	}{
		{"17", 17 * time.Second, true},
		{" 0 ", 0, true},
		{"99999999", time.Hour, true},
		{"99999999999999999999", 0, false},
		{"-1", 0, false},
		{"", 0, false},
		{"soon", 0, false},
		{"Sun, 22 Nov 2026 03:24:00 GMT", 90 * time.Second, true},
		{"Sun, 22 Nov 2026 03:00:00 GMT", 0, true}, // past
		{"Sun, 22 Nov 2027 03:00:00 GMT", time.Hour, true},
	} {
		if got, ok := retryAfter(tt.in, now); got != tt.want || ok != tt.ok {
			t.Errorf("retryAfter(%q) is %s, %t, want %s, %t", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

func TestReplyQuotesNoSecretAndIsBounded(t *testing.T) {
	r := reply{Status: http.StatusUnauthorized, From: "POST example.org", Body: []byte("token s3cret\x1b[31m\nwrong " + strings.Repeat("ü", 5000)), hide: []string{"s3cret", ""}}
	err := r.judge(time.Now())
	if !errors.Is(err, ErrConfig) {
		t.Errorf("error %v, want ErrConfig", err)
	}
	text := err.Error()
	if strings.Contains(text, "s3cret") || !strings.Contains(text, "token [redacted] [31m wrong") || len(text) > maxExcerptBytes+100 || !utf8.ValidString(text) {
		t.Errorf("error of %d bytes: %.80q", len(text), text)
	}
}

func TestParseURLNeverQuotesThePassword(t *testing.T) {
	for _, raw := range []string{"https://user:s3cret@host", "https://user:s3cret@ho st", "ftp://host", "https://", "host", "https://host/#f", "%zz"} {
		if _, err := parseURL(raw); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("parseURL(%q): %v, want an error without the password", raw, err)
		}
	}
	if u, err := parseURL("https://host:8088/base"); err != nil || u.Path != "/base" {
		t.Errorf("parseURL of a good one: %v, %v", u, err)
	}
}

func TestTLSSettingsAreReadWhenTheSinkIsOpened(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		settings TLSSettings
		want     string
	}{
		{"no such file", TLSSettings{CAFile: "/nonexistent/ca.pem"}, "ca_file: "},
		{"nothing in the file", TLSSettings{CAFile: empty}, "no PEM certificate"},
		{"key without certificate", TLSSettings{KeyFile: empty}, "cert_file and key_file go together"},
		{"nothing in the pair", TLSSettings{CertFile: empty, KeyFile: empty}, "cert_file: "},
	} {
		if _, err := tt.settings.config(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
