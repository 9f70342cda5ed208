package format

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/testenv"
)

// TestCEFIntoLognormalizer has the CEF parser of liblognorm, which rsyslog uses, read the
// lines of all cases, and compares what it understood with what the test's own parser did.
func TestCEFIntoLognormalizer(t *testing.T) {
	program := testenv.Need(t, "lognormalizer")[0]
	rules := filepath.Join(t.TempDir(), "cef.rb")
	if err := os.WriteFile(rules, []byte("version=2\nrule=cef:%f:cef%\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := cases()
	names := slices.Sorted(maps.Keys(all))
	var lines bytes.Buffer
	for _, name := range names {
		ev := all[name]
		lines.Write(CEF(&ev, options))
		lines.WriteByte('\n')
	}
	sent := strings.Split(lines.String(), "\n")
	cmd := exec.CommandContext(t.Context(), program, "-r", rules)
	cmd.Stdin = &lines
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	answers := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(answers) != len(names) {
		t.Fatalf("%d lines became %d", len(names), len(answers))
	}
	for i, name := range names {
		var got struct {
			F struct {
				DeviceVendor, DeviceProduct, DeviceVersion, SignatureID, Name, Severity string
				Extensions                                                              map[string]string
			} `json:"f"`
		}
		if err := json.Unmarshal([]byte(answers[i]), &got); err != nil {
			t.Fatalf("%s: %v in %s", name, err, answers[i])
		}
		want, err := parseCEF(sent[i])
		if err != nil {
			t.Fatal(err)
		}
		f := got.F
		if header := []string{f.DeviceVendor, f.DeviceProduct, f.DeviceVersion, f.SignatureID, f.Name, f.Severity}; !slices.Equal(header, want.header) {
			t.Errorf("%s: header %q, want %q", name, header, want.header)
		}
		// Its release 2.0.6 expects a space before the extension, which the format does not
		// have, and takes the first letter of the first key for it.
		if value, ok := f.Extensions["xternalId"]; ok {
			delete(f.Extensions, "xternalId")
			f.Extensions["externalId"] = value
		}
		if !maps.Equal(f.Extensions, want.keys) {
			t.Errorf("%s: extension\n got %q\nwant %q", name, f.Extensions, want.keys)
		}
	}
}
