package soar

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// Secret is a password, token or key. It holds where the value comes from, not
// the value, and prints as [redacted] in every way Go has of printing things.
// The zero Secret means that none is configured.
type Secret struct {
	kind string // "env", "file", "credential" or "value"
	from string
}

const redacted = "[redacted]"

// maxSecretBytes bounds what is read from a secret's file.
const maxSecretBytes = 64 << 10

// SecretFromEnv names an environment variable.
func SecretFromEnv(name string) Secret { return Secret{"env", name} }

// SecretFromFile names a file; one trailing newline is not part of the secret.
func SecretFromFile(path string) Secret { return Secret{"file", path} }

// SecretFromCredential names a systemd credential (systemd.exec(5), LoadCredential).
func SecretFromCredential(name string) Secret { return Secret{"credential", name} }

// SecretValue wraps a value that is already in memory: tests, the demo, generated keys.
func SecretValue(value string) Secret { return Secret{"value", value} }

// IsSet reports whether a secret is configured.
func (s Secret) IsSet() bool { return s.kind != "" }

// Reveal reads the value. Errors name the variable or the file, never the value.
func (s Secret) Reveal() (string, error) {
	switch s.kind {
	case "value":
		return s.from, nil
	case "env":
		v, ok := os.LookupEnv(s.from)
		if !ok || v == "" {
			return "", fmt.Errorf("environment variable %s is not set", s.from)
		}
		return v, nil
	case "file":
		return readSecretFile(s.from)
	case "credential":
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return "", fmt.Errorf("credential %s: CREDENTIALS_DIRECTORY is not set; is this started by systemd with LoadCredential?", s.from)
		}
		return readSecretFile(filepath.Join(dir, filepath.Base(s.from)))
	}
	return "", errors.New("no secret is configured")
}

func readSecretFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("secret file: %w", err)
	}
	if info.Size() > maxSecretBytes {
		return "", fmt.Errorf("secret file %s: larger than %d bytes", path, maxSecretBytes)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("secret file: %w", err)
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if value == "" {
		return "", fmt.Errorf("secret file %s is empty", path)
	}
	return value, nil
}

// String is always [redacted].
func (s Secret) String() string { return redacted }

// GoString is always [redacted].
func (s Secret) GoString() string { return redacted }

// Format is always [redacted], whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue is always [redacted].
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText is always [redacted]; it serves JSON and YAML alike.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
