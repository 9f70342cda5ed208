package format

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/erbridge/erbridge/internal/soar"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var (
	options = Options{ServerVersion: "4.0", Version: "1.0"}
	header  = Syslog{Options: options, Facility: 16, AppName: "erbridge", ProcID: "42", Hostname: "bridge", Enterprise: 32473, Location: time.UTC}
)

// TestGolden keeps all formats of some events in files, to be read in review.
func TestGolden(t *testing.T) {
	for name, ev := range cases() {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			part := func(title string, data []byte) {
				if json.Valid(data) {
					var pretty bytes.Buffer
					if err := json.Indent(&pretty, data, "", "  "); err != nil {
						t.Fatal(err)
					}
					data = pretty.Bytes()
				}
				fmt.Fprintf(&b, "== %s\n%s\n", title, data)
			}
			part("summary", []byte(Summary(&ev)))
			part("ecs", ECS(&ev, ECSOptions{Options: options, Namespace: "default"}))
			part("hec", HEC(&ev, HECOptions{Options: options, Index: "endpoint"}))
			part("ocsf", OCSF(&ev, options))
			part("udm", UDM(&ev, options))
			if doc, err := ASIM(&ev, options); err == nil {
				part("asim", doc)
			} else {
				part("asim", []byte(err.Error()))
			}
			part("cef", CEF(&ev, options))
			part("leef", LEEF(&ev, options))
			text, _ := RFC5424(&ev, with(PayloadText), 0)
			part("rfc5424 text", text)
			text, _ = RFC3164(&ev, with(PayloadCEF), 1024)
			part("rfc3164 cef", text)
			part("json", JSON(&ev, false))

			file := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.Bytes(), want) {
				got, wants := strings.Split(b.String(), "\n"), strings.Split(string(want), "\n")
				for i := range got {
					if i >= len(wants) || got[i] != wants[i] {
						t.Fatalf("%s, line %d (rewrite with -update):\n got %s\nwant %s", file, i+1, got[i], slices.Concat(wants, make([]string, len(got)))[i])
					}
				}
				t.Fatalf("%s has more lines than what was made", file)
			}
		})
	}
}

func with(p Payload) Syslog {
	h := header
	h.Payload = p
	return h
}

// TestGoldenFilesAreUsed finds files that no case writes any more.
func TestGoldenFilesAreUsed(t *testing.T) {
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil {
		t.Fatal(err)
	}
	known := slices.Collect(maps.Keys(cases()))
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), ".golden"); !slices.Contains(known, name) {
			t.Errorf("%s belongs to no case", f)
		}
	}
}

func TestSeverityTable(t *testing.T) {
	for _, tt := range []struct {
		in          soar.Severity
		syslog, cef int
		ecs         int64
		cim         string
	}{
		{"info", 6, 1, 10, "informational"}, {"low", 5, 3, 21, "low"}, {"medium", 4, 5, 47, "medium"},
		{"high", 3, 8, 73, "high"}, {"critical", 2, 10, 99, "critical"}, {"later-word", 5, 5, 0, "unknown"},
	} {
		got := levelsOf(tt.in)
		if got.syslog != tt.syslog || got.cef != tt.cef || got.ecs != tt.ecs || got.cim != tt.cim || got.risk != float64(tt.ecs) {
			t.Errorf("levels of %s: %+v, want %+v", tt.in, got, tt)
		}
	}
}

func TestKindOf(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   map[string]string
		want kind
	}{
		{"POSIX process without action", map[string]string{"path": "/bin/sh", "cmdline": "sh", "parent": "1"}, kindProcessStart},
		{"terminate", map[string]string{"action": "PROC_TERMINATE", "pid": "1"}, kindProcessEnd},
		{"remote thread", map[string]string{"src_pid": "1", "target_pid": "2", "function_name": "LoadLibraryA"}, kindRemoteThread},
		{"file deletion", map[string]string{"target_path": "/x", "action": "FILE_DELETE"}, kindFileDelete},
		{"file creation", map[string]string{"target_path": "/x", "action": "CREATED"}, kindFileCreate},
		{"registry key creation", map[string]string{"target_name": `HKLM\x`, "action": "REG_CREATE"}, kindRegistryCreate},
		{"close", map[string]string{"remote_address": "1.2.3.4", "action": "SOCKET_CLOSE"}, kindSocketEnd},
		{"http", map[string]string{"url": "http://x/", "remote_address": "1.2.3.4"}, kindHTTP},
		{"ssl", map[string]string{"dns_names": "x", "subject_name": "CN=x"}, kindTLS},
		{"image load", map[string]string{"image_path": `C:\x.dll`}, kindLibrary},
		{"driver load", map[string]string{"image_path": `C:\x.sys`, "action": "DRIVER_LOAD"}, kindDriver},
		{"anything else", map[string]string{"name": "x"}, kindOther},
		{"nothing", nil, kindOther},
	} {
		if got := kindOf(&soar.Alert{Event: tt.in}); got != tt.want {
			t.Errorf("%s: kind %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestRegistryPath(t *testing.T) {
	for _, tt := range []struct{ path, data, hive, key, value string }{
		{`HKLM\Software\x\v`, "1", "HKLM", `Software\x`, "v"},
		{`\REGISTRY\MACHINE\Software\x`, "", "HKLM", `Software\x`, ""},
		{`hkey_users\S-1-5\x\v`, "1", "HKU", `S-1-5\x`, "v"},
		{`HKLMX\a\v`, "1", "", `HKLMX\a`, "v"},
		{`HKCU`, "", "HKCU", "", ""},
	} {
		f := fieldsOf(&soar.Alert{Event: map[string]string{"target_name": tt.path, "value_data": tt.data}})
		if f.registry.hive != tt.hive || f.registry.key != tt.key || f.registry.value != tt.value {
			t.Errorf("%s: hive %q, key %q, value %q, want %q, %q, %q", tt.path, f.registry.hive, f.registry.key, f.registry.value, tt.hive, tt.key, tt.value)
		}
	}
}

func TestEventID(t *testing.T) {
	seen := map[string]string{}
	for name, ev := range cases() {
		id := EventID(&ev)
		if other, ok := seen[id]; ok || id == "" {
			t.Errorf("%s and %s have the same id %q", name, other, id)
		}
		seen[id] = name
	}
	if ev := cases()["process"]; EventID(&ev) != "er-1" {
		t.Errorf("a new alert has the id %q, want server-id", EventID(&ev))
	}
}

func TestSummaryIsOneLineOfBoundedText(t *testing.T) {
	for name, ev := range cases() {
		got := Summary(&ev)
		if got == "" || strings.ContainsAny(got, "\r\n\t\x00\x1b") || utf8.RuneCountInString(got) > maxSummaryRunes || !utf8.ValidString(got) {
			t.Errorf("%s: summary %q", name, got)
		}
	}
}

func TestJSONKeepsTheVendorsAnswerOnlyWhenAsked(t *testing.T) {
	ev := cases()["hash_intel"]
	if got := string(JSON(&ev, false)); strings.Contains(got, "EICAR") {
		t.Errorf("the answer is in %s", got)
	}
	if got := string(JSON(&ev, true)); !strings.Contains(got, "EICAR") {
		t.Errorf("the answer is missing in %s", got)
	}
	if ev.Alert.Intel == nil {
		t.Error("the event itself was changed")
	}
}

func TestShortenedDoesNotTouchItsInput(t *testing.T) {
	ev := cases()["hostile"]
	before := len(ev.Alert.Event["cmdline"])
	short := Shortened(ev, 100)
	if n := utf8.RuneCountInString(short.Alert.Event["cmdline"]); n != 100 {
		t.Errorf("the copy has %d characters, want 100", n)
	}
	if len(ev.Alert.Event["cmdline"]) != before || short.ID != ev.ID {
		t.Error("the event itself was changed")
	}
}

func TestECSTemplateIsJSON(t *testing.T) {
	var template struct {
		Patterns []string       `json:"index_patterns"`
		Stream   map[string]any `json:"data_stream"`
	}
	if err := json.Unmarshal(ECSTemplate, &template); err != nil || template.Stream == nil {
		t.Fatalf("template: %v", err)
	}
	for name, ev := range cases() {
		index := "logs-" + ECSDataset(&ev) + "-default"
		if ok, err := filepath.Match(template.Patterns[0], index); err != nil || !ok {
			t.Errorf("%s goes to %s, which is not of the template", name, index)
		}
	}
}
