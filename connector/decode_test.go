package connector

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

// plain reads any value into what encoding/json would make of it.
func (d *decoder) plain() any {
	switch d.peek() {
	case '{':
		m := map[string]any{}
		d.object(func(key string) { m[key] = d.plain() })
		return m
	case '[':
		l := []any{}
		d.array(func() { l = append(l, d.plain()) })
		return l
	case '"':
		return d.text()
	}
	var v any
	_ = json.Unmarshal(d.literal(), &v)
	return v
}

// FuzzDecoder compares with encoding/json, which accepts the same texts, NaN and
// the infinities aside, and reads the same values.
func FuzzDecoder(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,2.5e3,-0,true,false,null,"\u00e9\ud83d\ude00\ud800x\n"],"b":{}}`, `[]`, `"x"`, `1`, `{"a":1}x`, `{"a":}`, `[1,]`, `{,}`,
		`"\x"`, "\"\xff\"", "\"\x01\"", `01`, `-`, `1.`, `.5`, `1e`, `nul`, `NaN`, `{"a":NaN}`, `"\u12"`, `"\`, `{"a" 1}`, `[1 2]`, ` `, ``,
		`"\ud83d\u0041"`, `"\udc00"`, `{"\u0061":1,"a":2}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d := newDecoder(text)
		got := d.plain()
		err := d.end()
		if d.strange > 0 {
			return
		}
		var want any
		if wantErr := json.Unmarshal(text, &want); wantErr != nil {
			// encoding/json also refuses numbers that a float64 cannot hold.
			if err == nil && json.Valid(text) == false {
				t.Fatalf("accepted %q, which encoding/json refuses: %v", text, wantErr)
			}
			return
		}
		if err != nil {
			t.Fatalf("refused %q: %v", text, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %#v, want %#v", text, got, want)
		}
		skipped := newDecoder(text)
		if raw := skipped.raw(); skipped.end() != nil || raw != nil && !json.Valid(raw) {
			t.Fatalf("raw(%q) = %q", text, raw)
		}
	})
}

// FuzzEnvelope feeds answers to the envelope and to every kind of row.
func FuzzEnvelope(f *testing.F) {
	for _, name := range []string{"alerts_default", "alert_detail_vt", "hosts_detail_enriched", "carves_list_done", "rules_get", "alerts_resolve_missing_ids"} {
		text, err := os.ReadFile(captureDir + "/" + name + ".txt")
		if err != nil {
			f.Fatal(err)
		}
		_, answer, _ := bytes.Cut(text, []byte("### RESPONSE"))
		_, body, _ := bytes.Cut(answer, []byte("\n\n"))
		f.Add(body)
	}
	f.Add([]byte(`{"status":"success","data":{"results":[{"id":"7","alerted_entry":"{\"a\":1}","severity":null}, 3, {}]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		readers := []func(d *decoder){
			func(d *decoder) { rows(d, alertRow) },
			func(d *decoder) { rows(d, hostRow) },
			func(d *decoder) { rows(d, actionRow) },
			func(d *decoder) { decodeCarve(d, new(Carve)) },
			func(d *decoder) { decodeRule(d, new(Rule)) },
			func(d *decoder) { processGroup(d) },
		}
		for _, read := range readers {
			var env envelope
			err := env.read(body, data(read))
			if err == nil && !json.Valid(body) && !bytes.ContainsAny(body, "NI") {
				t.Fatalf("accepted %q", body)
			}
		}
	})
}

func TestDecoderWanderingTypes(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		read     func(d *decoder) any
		want     any
	}{
		{"integer", `7`, func(d *decoder) any { return d.id() }, int64(7)},
		{"integer as text", `" 7 "`, func(d *decoder) any { return d.id() }, int64(7)},
		{"integer with fraction", `7.0`, func(d *decoder) any { return d.id() }, int64(7)},
		{"no integer", `7.5`, func(d *decoder) any { return d.id() }, int64(0)},
		{"integer null", `null`, func(d *decoder) any { return d.id() }, int64(0)},
		{"integer object", `{"a":1}`, func(d *decoder) any { return d.id() }, int64(0)},
		{"integer too large", `99999999999999999999`, func(d *decoder) any { return d.id() }, int64(0)},
		{"largest integer", `9223372036854775807`, func(d *decoder) any { return d.id() }, int64(9223372036854775807)},
		{"text", `"a\u00e9"`, func(d *decoder) any { return d.text() }, "aé"},
		{"text number", `12.50`, func(d *decoder) any { return d.text() }, "12.50"},
		{"text null", `null`, func(d *decoder) any { return d.text() }, ""},
		{"text object", `{"a": 1}`, func(d *decoder) any { return d.text() }, `{"a": 1}`},
		{"truth text", `"True"`, func(d *decoder) any { return d.truth() }, true},
		{"truth number", `0`, func(d *decoder) any { return d.truth() }, false},
		{"truth array", `[]`, func(d *decoder) any { return d.truth() }, false},
		{"texts", `["a","",2]`, func(d *decoder) any { return d.texts() }, []string{"a", "2"}},
		{"texts comma", `"T1003, T1059"`, func(d *decoder) any { return d.texts() }, []string{"T1003", "T1059"}},
		{"texts object", `{}`, func(d *decoder) any { return d.texts() }, []string(nil)},
		{"columns", `{"a":1,"b":null,"c":{"d":[]},"e":true}`, func(d *decoder) any { return d.columns() },
			map[string]string{"a": "1", "b": "", "c": `{"d":[]}`, "e": "true"}},
		{"columns in text", `"{\"pid\": \"7\"}"`, func(d *decoder) any { return d.columns() }, map[string]string{"pid": "7"}},
		{"columns broken text", `"{\"pid"`, func(d *decoder) any { return d.columns() }, map[string]string(nil)},
		{"columns null", `null`, func(d *decoder) any { return d.columns() }, map[string]string(nil)},
		{"raw null", `null`, func(d *decoder) any { return string(d.raw()) }, ""},
		{"raw with NaN", `{"s":[NaN, -Infinity,"NaN"], "n":1}`, func(d *decoder) any { return string(d.raw()) }, `{"s":[null, null,"NaN"], "n":1}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDecoder([]byte(tt.in))
			got := tt.read(d)
			if err := d.end(); err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %#v, %v; want %#v", got, err, tt.want)
			}
		})
	}
}

func TestDecoderDepth(t *testing.T) {
	d := newDecoder([]byte(strings.Repeat(`[`, 1<<20)))
	d.skip()
	if err := d.end(); err == nil || !strings.Contains(err.Error(), "nested deeper") {
		t.Errorf("got %v", err)
	}
}

func TestOddRowCostsNoPage(t *testing.T) {
	body := `{"status":"success","data":{"count":4,"results":[{"id":1},"x",{"severity":"LOW"},{"id":"2","created_at":"yesterday"}]}}`
	var page Page[Alert]
	var env envelope
	if err := env.read([]byte(body), data(func(d *decoder) { page = rows(d, alertRow) })); err != nil {
		t.Fatal(err)
	}
	if len(page.Results) != 2 || page.Results[0].ID != 1 || page.Results[1].ID != 2 || !page.Results[1].CreatedAt.IsZero() {
		t.Errorf("results: %+v", page.Results)
	}
	if len(page.Malformed) != 2 || string(page.Malformed[0].Raw) != `"x"` || string(page.Malformed[1].Raw) != `{"severity":"LOW"}` {
		t.Errorf("malformed: %+v", page.Malformed)
	}
}

// alertPage is a page of the size and shape that a poll reads.
func alertPage(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"status": "success", "message": "Data is fetched successfully", "data": {"count": 1000, "total_count": 1000, "results": [`)
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, `{"id": %d, "query_name": "win_process_events", "node_id": %d, "rule_id": 1, "severity": "CRITICAL", "type": "rule",
 "created_at": "22-11-2026 03:09:18", "updated_at": "22-11-2026 03:09:18", "recon_queries": {}, "result_log_uid": "8fa5ff59-4993-4539-8240-0ffe77d3%04d",
 "source": "rule", "status": "OPEN", "aggregated_events_count": 0, "verdict": null, "comment": null, "hostname": "WIN-FIN-%02d",
 "alerted_entry": {"eid": "E%d", "md5": "44d88612fea8a8f36de82e1278abb02f", "pid": "%d", "path": "C:\\Users\\bob\\m.exe", "time": "1795317750",
 "action": "PROC_CREATE", "cmdline": "mimikatz.exe sekurlsa::logonpasswords %d", "utc_time": "Sun Nov 22 03:22:00 2026 UTC",
 "owner_uid": "BUILTIN\\Administrators", "parent_pid": "1", "parent_path": "C:\\Windows\\explorer.exe", "process_guid": "G%d", "parent_process_guid": "P"},
 "rule": {"name": "Credential dumping", "id": 1, "status": "ACTIVE"}}`, n-i, i%50, i, i%50, i, 4000+i, i, i)
	}
	b.WriteString(`]}}`)
	return b.Bytes()
}

func BenchmarkAlertPage(b *testing.B) {
	body := alertPage(1000)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var page Page[Alert]
		var env envelope
		if err := env.read(body, data(func(d *decoder) { page = rows(d, alertRow) })); err != nil || len(page.Results) != 1000 {
			b.Fatal(err, len(page.Results))
		}
	}
}

// BenchmarkAlertPageStandard is encoding/json on the same page, for comparison.
func BenchmarkAlertPageStandard(b *testing.B) {
	type row struct {
		ID        int64             `json:"id"`
		QueryName string            `json:"query_name"`
		Severity  *string           `json:"severity"`
		Status    *string           `json:"status"`
		Hostname  string            `json:"hostname"`
		CreatedAt string            `json:"created_at"`
		Columns   map[string]string `json:"alerted_entry"`
	}
	body := alertPage(1000)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var env struct {
			Status string
			Data   struct{ Results []row }
		}
		if err := json.Unmarshal(body, &env); err != nil || len(env.Data.Results) != 1000 {
			b.Fatal(err)
		}
	}
}
