package connector

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// FuzzValue reads any text in all the ways there are.
func FuzzValue(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,2.5e3,-0,true,false,null,"\u00e9\ud83d\ude00\ud800x\n"],"b":{}}`, `[]`, `"x"`, `1`, `{"a":1}x`, `{"a":}`, `"\x"`, "\"\xff\"",
		`NaN`, `{"a":NaN,"b":"NaN"}`, `[-Infinity]`, `-NaN`, `"\u12"`, `"\`, `{"\u0061":1,"a":2}`, `"{\"pid\":NaN}"`, `"a, b"`, ` `, ``, `1e999999999`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := parse(text)
		if json.Valid(text) && err != nil {
			t.Fatalf("refused %q: %v", text, err)
		}
		if err == nil && !json.Valid(text) && !json.Valid(v.source) {
			t.Fatalf("accepted %q", text)
		}
		if raw := v.raw(); raw != nil && !json.Valid(raw) {
			t.Fatalf("raw(%q) = %q", text, raw)
		}
		for _, v := range []value{v, v.at("a", "b")} {
			v.text()
			v.integer()
			v.truth()
			v.time()
			v.texts()
			v.columns()
		}
	})
}

// FuzzEnvelope feeds answers to the envelope and to every kind of row.
func FuzzEnvelope(f *testing.F) {
	seedAnswers(f)
	f.Add([]byte(`{"status":"success","data":{"results":[{"id":"7","alerted_entry":"{\"a\":1}","severity":null}, 3, {}]}}`))
	f.Add([]byte(`{"data":[1],"Data":3,"data":{"Results":0,"results":[{"id":NaN},"NaN"],"results":[[{"id":1}],{"id":2,"x":1,"x":2}]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var env envelope
		if env.read(body) != nil {
			return
		}
		data := env.answer.at("data")
		sameCount(t, data, alertRow)
		sameCount(t, data, hostRow)
		sameCount(t, data, actionRow)
		sameCount(t, data, hostCommandRow)
		sameCount(t, data, carveRow)
		sameCount(t, data, eventRow)
		sameCount(t, data, noteRow)
		sameCount(t, data, stateRow)
		sameCount(t, data, sourceRow)
		sameCount(t, data, pointRow)
		sameCount(t, data, hostEventRow)
		sameCount(t, data, statusLogRow)
		sameCount(t, data, packRow)
		sameCount(t, data, channelRow)
		sameCount(t, data, ruleRow)
		sameCount(t, data, scheduledRow)
		sameCount(t, data, columnsRow)
		sameCount(t, data, resultRow)
		sameCount(t, data, tagRow)
		sameCount(t, data, taggedRow)
		sameCount(t, data, userRow)
		sameCount(t, data, platformActivityRow)
		sameCount(t, data, nodeRow)
		readRule(data)
		processGroup(data)
		liveHosts(data)
		new(Command).read(env.answer)
		new(Channel).read(env.answer)
	})
}

// sameCount checks that no row is lost: each is read or kept as it came.
func sameCount[T any](t *testing.T, data value, row func(value) (T, error)) {
	t.Helper()
	list, ok := data.v.([]any)
	if !ok {
		list, _ = data.at("results").v.([]any)
	}
	page := rows(data, row)
	if len(page.Results)+len(page.Malformed) != len(list) {
		t.Fatalf("%d rows and %d malformed of %d in %q", len(page.Results), len(page.Malformed), len(list), data.source)
	}
	for _, bad := range page.Malformed {
		if len(bad.Raw) < maxMalformed && !json.Valid(bad.Raw) {
			t.Fatalf("malformed row %q of %q", bad.Raw, data.source)
		}
	}
}

func TestWanderingTypes(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		read     func(v value) any
		want     any
	}{
		{"integer", `7`, func(v value) any { return v.id() }, int64(7)},
		{"integer as text", `" 7 "`, func(v value) any { return v.id() }, int64(7)},
		{"integer with fraction", `7.0`, func(v value) any { return v.id() }, int64(7)},
		{"no integer", `7.5`, func(v value) any { return v.id() }, int64(0)},
		{"integer null", `null`, func(v value) any { return v.id() }, int64(0)},
		{"integer object", `{"a":1}`, func(v value) any { return v.id() }, int64(0)},
		{"integer too large", `99999999999999999999`, func(v value) any { return v.id() }, int64(0)},
		{"largest integer", `9223372036854775807`, func(v value) any { return v.id() }, int64(9223372036854775807)},
		{"text", `"a\u00e9"`, func(v value) any { return v.text() }, "aé"},
		{"text number", `12.50`, func(v value) any { return v.text() }, "12.50"},
		{"text null", `null`, func(v value) any { return v.text() }, ""},
		{"text object", `{"a": "<&>"}`, func(v value) any { return v.text() }, `{"a":"<&>"}`},
		{"truth text", `"True"`, func(v value) any { return v.truth() }, true},
		{"truth number", `0`, func(v value) any { return v.truth() }, false},
		{"truth array", `[]`, func(v value) any { return v.truth() }, false},
		{"texts", `["a","",2]`, func(v value) any { return v.texts() }, []string{"a", "2"}},
		{"texts comma", `"T1003, T1059"`, func(v value) any { return v.texts() }, []string{"T1003", "T1059"}},
		{"texts object", `{}`, func(v value) any { return v.texts() }, []string(nil)},
		{"columns", `{"a":1,"b":null,"c":{"d":[]},"e":true}`, func(v value) any { return v.columns() },
			map[string]string{"a": "1", "b": "", "c": `{"d":[]}`, "e": "true"}},
		{"columns in text", `"{\"pid\": \"7\"}"`, func(v value) any { return v.columns() }, map[string]string{"pid": "7"}},
		{"columns broken text", `"{\"pid"`, func(v value) any { return v.columns() }, map[string]string(nil)},
		{"columns null", `null`, func(v value) any { return v.columns() }, map[string]string(nil)},
		{"raw null", `null`, func(v value) any { return string(v.raw()) }, ""},
		{"raw with NaN", `{"s":[NaN, -Infinity,"NaN \" NaN"], "n":Infinity}`, func(v value) any { return string(v.raw()) },
			`{"n":null,"s":[null,null,"NaN \" NaN"]}`},
		{"raw number", `[10000000000000000000001, 1.50]`, func(v value) any { return string(v.raw()) }, `[10000000000000000000001,1.50]`},
		{"raw nothing", `{"a":{},"b":"null"}`, func(v value) any { return string(v.at("a").raw()) + string(v.at("b").raw()) }, ""},
		{"key twice", `{"a":1,"a":2}`, func(v value) any { return v.at("a").id() }, int64(2)},
		{"key of another case", `{"A":1}`, func(v value) any { return v.at("a").id() }, int64(0)},
		{"second key", `{"a":null,"b":2}`, func(v value) any { return v.at("a", "b").id() }, int64(2)},
		{"key of text", `"a"`, func(v value) any { return v.at("a").at("b").text() }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.read(parsed(t, tt.in)); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %#v, want %#v", got, tt.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", ``, "EOF"},
		{"cut short", `{"a":[1`, "unexpected EOF"},
		{"more text", `{} {}`, "text after the end of the value"},
		{"more garbage", `{}x`, "text after the end of the value"},
		{"unknown word", `[nan]`, "invalid character 'a' in literal null (expecting 'u')"},
		{"word in a word", `[xNaN]`, "invalid character 'x' looking for beginning of value"},
		{"NaN and a mistake", `[NaN,]`, "invalid character ']' looking for beginning of value"},
		{"too deep", strings.Repeat(`[`, 1<<20), "exceeded max depth"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if v, err := parse([]byte(tt.in)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v; want %s", v.v, err, tt.want)
			}
		})
	}
}

// TestDeepValueIsLeftOut: what is nested absurdly is not handed on, for others to
// choke on, and costs nothing else of its row.
func TestDeepValueIsLeftOut(t *testing.T) {
	alert := func(depth int) Alert {
		deep := strings.Repeat(`{"a":`, depth-1) + `{}` + strings.Repeat(`}`, depth-1)
		return readAlert(parsed(t, `{"id":1,"alerted_entry":{"x":`+deep+`,"pid":"7"},"intel_data":`+deep+`}`))
	}
	if a := alert(maxDepth); len(a.Intel) == 0 || a.Columns["x"] != string(a.Intel) {
		t.Errorf("just deep enough: got %+v", a)
	}
	if a := alert(maxDepth + 1); a.ID != 1 || a.Intel != nil || a.Columns["x"] != "" || a.Columns["pid"] != "7" {
		t.Errorf("too deep: got %+v", a)
	}
}

func TestOddRowCostsNoPage(t *testing.T) {
	body := `{"status":"success","data":{"count":4,"results":[{"id":1},"x",{"severity": "\u004cOW", "a":1},{"id":"2","created_at":"yesterday"}]}}`
	page := rows(parsed(t, body).at("data"), alertRow)
	if len(page.Results) != 2 || page.Results[0].ID != 1 || page.Results[1].ID != 2 || !page.Results[1].CreatedAt.IsZero() {
		t.Errorf("results: %+v", page.Results)
	}
	if len(page.Malformed) != 2 || string(page.Malformed[0].Raw) != `"x"` || string(page.Malformed[1].Raw) != `{"severity": "\u004cOW", "a":1}` {
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
		var env envelope
		if err := env.read(body); err != nil {
			b.Fatal(err)
		}
		if page := rows(env.answer.at("data"), alertRow); len(page.Results) != 1000 {
			b.Fatal(len(page.Results))
		}
	}
}
