package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/erbridge/erbridge/internal/soar"
)

// readObject reads one line that holds one JSON object and nothing else. It is as strict as
// the strictest receiver: no name twice in an object, no number that an int64 or the time
// of an event needs no room for.
func readObject(t testing.TB, data []byte) map[string]any {
	t.Helper()
	if !utf8.Valid(data) || bytes.ContainsFunc(data, soar.IsHidden) {
		t.Fatalf("not one line of visible UTF-8: %q", data)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	v, err := readValue(decoder)
	if err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	if decoder.More() {
		t.Fatalf("more than one value in %s", data)
	}
	doc, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("no object: %s", data)
	}
	return doc
}

// readValue is what Decode does, and looks for names that are there twice, of which most
// readers silently take one.
func readValue(decoder *json.Decoder) (any, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Number:
		if len(token) > len("-9223372036854775808") || strings.ContainsAny(string(token), "eE") {
			return nil, fmt.Errorf("number %s", token)
		}
	case json.Delim:
		doc, list := map[string]any{}, []any{}
		for decoder.More() {
			var key string
			if token == '{' {
				name, err := decoder.Token()
				if err != nil {
					return nil, err
				}
				key = name.(string)
				if _, twice := doc[key]; twice {
					return nil, fmt.Errorf("%q is there twice", key)
				}
			}
			v, err := readValue(decoder)
			if err != nil {
				return nil, err
			}
			if token == '{' {
				doc[key] = v
			} else {
				list = append(list, v)
			}
		}
		if _, err := decoder.Token(); err != nil {
			return nil, err
		}
		if token == '{' {
			return doc, nil
		}
		return list, nil
	}
	return token, nil
}

// readTime reads a time that receivers take: none is before 1970, where some count from.
func readTime(t testing.TB, name string, v any) {
	t.Helper()
	var at time.Time
	switch v := v.(type) {
	case json.Number:
		n, err := v.Float64()
		if err != nil || n < 0 {
			t.Fatalf("%s is %s", name, v)
		}
		return
	case string:
		var err error
		if at, err = time.Parse(time.RFC3339Nano, v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	default:
		t.Fatalf("%s is %v", name, v)
	}
	if at.Year() < 1970 || at.Year() > 9999 {
		t.Fatalf("%s is %s", name, at)
	}
}

// parseLEEF reads a line by the rules of LEEF 2.0 (IBM, "LEEF event components"): the
// header ends at its sixth pipe, the delimiter is what the last field of it says, and each
// pair ends at the next delimiter.
func parseLEEF(line string) (header []string, pairs map[string]string, err error) {
	parts := strings.SplitN(line, "|", 7)
	if len(parts) != 7 || parts[0] != "LEEF:2.0" {
		return nil, nil, fmt.Errorf("header of %d parts, beginning with %q", len(parts), parts[0])
	}
	code, ok := strings.CutPrefix(parts[5], "x")
	n, err := strconv.ParseUint(code, 16, 16)
	if !ok || err != nil {
		return nil, nil, fmt.Errorf("delimiter %q", parts[5])
	}
	pairs = map[string]string{}
	for _, pair := range strings.Split(parts[6], string(rune(n))) {
		key, value, ok := strings.Cut(pair, "=")
		if _, twice := pairs[key]; !ok || key == "" || twice || strings.Trim(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.") != "" {
			return nil, nil, fmt.Errorf("pair %q", pair)
		}
		pairs[key] = value
	}
	return parts[1:5], pairs, nil
}

// leefKeys are the keys that a line may have; one that is not here was forged.
var leefKeys = strings.Fields(`cat devTime devTimeFormat sev src srcPort dst dstPort proto usrName identSrc identHostName resource policy url
	domain accountName msg erEventId erEvent erAlertId erHostId erRuleId erServer erAction erQuery erUrl erStatus erVerdict
	processPath processId processGuid cmdLine parentPath parentPid targetPath targetPid filePath fileOldPath fileMd5 fileSha256 registryPath registryData
	dnsName mitreTechniques mitreTactics erRun erPlaybook erMode erRunState erResponse erOutcome erState erReason erCommand erTarget erStep erApproval
	erUndoAt erUndoRun erGroupHead erGroupCount erGroupHosts`)

func checkLEEF(t testing.TB, line []byte) (header []string, pairs map[string]string) {
	t.Helper()
	if !utf8.Valid(line) || bytes.ContainsFunc(line, func(r rune) bool { return r != '\t' && soar.IsHidden(r) }) {
		t.Fatalf("not one line of visible UTF-8: %q", line)
	}
	header, pairs, err := parseLEEF(string(line))
	if err != nil {
		t.Fatalf("%v in %q", err, line)
	}
	for i, limit := range []int{63, 63, 31, 255} {
		if header[i] == "" || utf8.RuneCountInString(header[i]) > limit {
			t.Fatalf("header field %d is %q", i, header[i])
		}
	}
	for key, value := range pairs {
		if value == "" || !slices.Contains(leefKeys, key) {
			t.Fatalf("key %q has the value %q in %q", key, value, line)
		}
		switch key {
		case "srcPort", "dstPort":
			if n, err := strconv.Atoi(value); err != nil || n < 0 || n > 65535 {
				t.Fatalf("%s is %q", key, value)
			}
		case "sev":
			if n, err := strconv.Atoi(value); err != nil || n < 1 || n > 10 {
				t.Fatalf("sev is %q", value)
			}
		case "src", "dst", "identSrc":
			if _, err := netip.ParseAddr(value); err != nil {
				t.Fatalf("%s is %q", key, value)
			}
		}
	}
	if pairs["devTimeFormat"] != "MMM dd yyyy HH:mm:ss.SSS z" {
		t.Fatalf("devTimeFormat is %q", pairs["devTimeFormat"])
	}
	if at, err := time.Parse("Jan 02 2006 15:04:05.000 MST", pairs["devTime"]); err != nil || at.Year() < 1970 {
		t.Fatalf("devTime is %q: %v", pairs["devTime"], err)
	}
	if (pairs["identSrc"] == "") != (pairs["identHostName"] == "") {
		t.Fatalf("identSrc %q and identHostName %q belong together", pairs["identSrc"], pairs["identHostName"])
	}
	return header, pairs
}

func TestLEEFOfCases(t *testing.T) {
	for name, ev := range cases() {
		t.Run(name, func(t *testing.T) { checkLEEF(t, LEEF(&ev, options)) })
	}
	ev := cases()["process"]
	header, pairs := checkLEEF(t, LEEF(&ev, options))
	if want := []string{"EclecticIQ", "Endpoint Response", "4.0", "rule:17"}; !slices.Equal(header, want) {
		t.Errorf("header %q, want %q", header, want)
	}
	for key, want := range map[string]string{
		"sev": "8", "cat": "rule", "erAlertId": "1", "cmdLine": `mimikatz.exe "sekurlsa::logonpasswords" a=b|c`, "processId": "4000", "resource": "WIN-FIN-01",
		"usrName": `BUILTIN\Administrators`, "accountName": "Administrators", "domain": "BUILTIN", "identSrc": "10.1.2.3", "devTime": "Nov 22 2026 03:22:00.000 UTC",
	} {
		if pairs[key] != want {
			t.Errorf("%s is %q, want %q", key, pairs[key], want)
		}
	}
}

func FuzzLEEF(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, shape uint8, column, value, name, text string, seconds int64) {
		ev := event(shape, column, value, name, text, seconds)
		_, pairs := checkLEEF(t, LEEF(&ev, options))
		for _, maxText := range []int{256, 16, bare, minimal} {
			checkLEEF(t, leefEvent(&ev, options, maxText))
		}
		if ev.Type == soar.EventAlertReceived && ev.Alert != nil {
			if got, want := pairs["cmdLine"], spaced(ev.Alert.Event["cmdline"]); got != want {
				t.Fatalf("command line %q reads back as %q", want, got)
			}
		}
	})
}

// spaced is what can be left of a text in a format without escapes.
func spaced(text string) string {
	runes := []rune(strings.ToValidUTF8(text, "\uFFFD"))
	for i, r := range runes {
		if soar.IsHidden(r) || r == '\u2028' || r == '\u2029' {
			runes[i] = ' '
		}
	}
	return strings.TrimSpace(string(runes))
}

// asimTypes are the columns of the two schemas and the types that Log Analytics gives
// them; everything else belongs into AdditionalFields.
var asimTypes = map[string]string{
	"TimeGenerated": "datetime", "EventStartTime": "datetime", "EventEndTime": "datetime", "EventCount": "int", "RuleNumber": "int", "AdditionalFields": "dynamic",
}

var asimTexts = strings.Fields(`EventType EventSchema EventSchemaVersion EventResult EventVendor EventProduct EventProductVersion EventUid EventOriginalUid
	EventOriginalType EventSeverity EventOriginalSeverity EventMessage EventReportUrl EventOriginalResultDetails AlertId AlertName AlertDescription AlertStatus
	AlertOriginalStatus AlertVerdict DetectionMethod IndicatorType RuleName RuleDescription AttackTactics AttackTechniques Dvc DvcHostname DvcId DvcIdType
	DvcIpAddr DvcOs DvcOsVersion ProcessId ProcessName ProcessCommandLine Username UsernameType UserId UserIdType FileName FilePath FileMD5 FileSHA1 FileSHA256
	IpAddr Url RegistryKey RegistryValue RegistryValueData RegistryValueType Operation Object ObjectType OriginalObjectType ActingAppName ActingAppType
	ActorUsername ActorUsernameType`)

// asimWords are the columns of which the schema lists the values.
var asimWords = map[string]string{
	"EventSchema": "AlertEvent AuditEvent", "EventResult": "Success,Partial,Failure,NA", "EventSeverity": "Informational,Low,Medium,High",
	"AlertStatus": "Active,Closed", "AlertVerdict": "True Positive,False Positive,Benign Positive,Unknown",
	"IndicatorType": "Ip,User,Process,Registry,Url,Host,CloudResource,Application,File,Email,Mailbox,LogonSession",
	"ObjectType":    "Configuration Atom,Policy Rule,Other", "DvcIdType": "Other", "DetectionMethod": "EDR,Threat Intelligence",
	"EventType": "Alert,Set,Read,Create,Delete,Execute,Install,Clear,Enable,Disable,Initialize,Start,Stop,Other",
}

func checkASIM(t testing.TB, ev *soar.Event) map[string]any {
	t.Helper()
	data, err := ASIM(ev, options)
	if ev.Type == soar.EventTelemetry {
		if !errors.Is(err, ErrUnsupported) || data != nil {
			t.Fatalf("a row of telemetry gives %s, %v", data, err)
		}
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	doc := readObject(t, data)
	noEmpty(t, doc, "")
	for _, name := range []string{"TimeGenerated", "EventCount", "EventStartTime", "EventEndTime", "EventType", "EventResult", "EventProduct", "EventVendor", "EventSchema", "EventSchemaVersion", "Dvc"} {
		if doc[name] == nil {
			t.Fatalf("no %s, which is mandatory, in %s", name, data)
		}
	}
	if doc["EventSchema"] == "AuditEvent" && (doc["Operation"] == nil || doc["Object"] == nil) {
		t.Fatalf("no Operation or Object in %s", data)
	}
	for name, value := range doc {
		text, isText := value.(string)
		switch kind := asimTypes[name]; {
		case kind == "datetime":
			readTime(t, name, text)
		case kind == "int":
			n, _ := value.(json.Number)
			if _, err := strconv.ParseInt(string(n), 10, 32); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		case kind == "dynamic":
			if whole := marshal(value); len(whole) > 64<<10 {
				t.Fatalf("%s has %d bytes", name, len(whole))
			}
			for key, inner := range value.(map[string]any) {
				if _, ok := inner.(string); !ok || key == "" {
					t.Fatalf("%s has %q: %v", name, key, inner)
				}
			}
		case !slices.Contains(asimTexts, name):
			t.Fatalf("column %q is of no schema in %s", name, data)
		case !isText || text == "":
			t.Fatalf("%s is %v", name, value)
		}
		words := strings.Split(strings.ReplaceAll(asimWords[name], "AlertEvent AuditEvent", "AlertEvent,AuditEvent"), ",")
		if asimWords[name] != "" && !slices.Contains(words, text) {
			t.Fatalf("%s is %q, expected one of %q", name, text, words)
		}
	}
	return doc
}

func TestASIMOfCases(t *testing.T) {
	for name, ev := range cases() {
		t.Run(name, func(t *testing.T) { checkASIM(t, &ev) })
	}
	outcome := cases()["outcome_failed"]
	doc := checkASIM(t, &outcome)
	for name, want := range map[string]string{
		"EventSchema": "AuditEvent", "EventType": "Stop", "EventResult": "Failure", "Operation": "kill_process", "Object": "WIN-FIN-01",
		"EventOriginalResultDetails": "not executed in 5m0s",
	} {
		if doc[name] != want {
			t.Errorf("%s is %v, want %s", name, doc[name], want)
		}
	}
}

func FuzzASIM(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, shape uint8, column, value, name, text string, seconds int64) {
		ev := event(shape, column, value, name, text, seconds)
		checkASIM(t, &ev)
	})
}

// udmFields are the fields that documents may have, with the type of each ("Unified Data
// Model field list"): s text, n number, S list of texts, t time, e:… one of these words,
// E:… a list of them, {…} a message in {}, [{…}] a list of them, any a Struct.
var udmFields = func() map[string]any {
	file := map[string]any{"full_path": "s", "md5": "s", "sha1": "s", "sha256": "s"}
	process := map[string]any{"pid": "s", "command_line": "s", "product_specific_process_id": "s", "file": file}
	process["parent_process"] = map[string]any{"pid": "s", "command_line": "s", "product_specific_process_id": "s", "file": file}
	noun := map[string]any{
		"hostname": "s", "asset_id": "s", "ip": "S", "mac": "S", "port": "n", "platform": "e:WINDOWS,MAC,LINUX", "platform_version": "s",
		"administrative_domain": "s", "process": process, "user": map[string]any{"userid": "s"}, "file": file, "url": "s",
		"registry": map[string]any{"registry_key": "s", "registry_value_name": "s", "registry_value_data": "s"},
	}
	return map[string]any{
		"metadata": map[string]any{
			"event_timestamp": "t", "vendor_name": "s", "product_name": "s", "product_version": "s", "product_log_id": "s", "product_event_type": "s",
			"description": "s", "url_back_to_product": "s",
			"event_type": "e:GENERIC_EVENT,PROCESS_LAUNCH,PROCESS_TERMINATION,PROCESS_OPEN,PROCESS_INJECTION,FILE_CREATION,FILE_MODIFICATION,FILE_MOVE,FILE_DELETION," +
				"REGISTRY_CREATION,REGISTRY_MODIFICATION,REGISTRY_DELETION,REGISTRY_UNCATEGORIZED,NETWORK_CONNECTION,NETWORK_DNS",
		},
		"principal": noun, "target": noun, "src": noun, "additional": "any",
		"network": map[string]any{
			"ip_protocol": "e:TCP,UDP,ICMP,IGMP,GRE,ESP,SCTP", "direction": "e:INBOUND,OUTBOUND",
			"dns": map[string]any{"questions": []any{map[string]any{"name": "s"}}, "answers": []any{map[string]any{"data": "s"}}},
		},
		"security_result": []any{map[string]any{
			"severity": "e:INFORMATIONAL,LOW,MEDIUM,HIGH,CRITICAL,UNKNOWN_SEVERITY", "severity_details": "s", "summary": "s", "description": "s",
			"url_back_to_product": "s", "rule_name": "s", "rule_id": "s", "alert_state": "e:ALERTING,NOT_ALERTING", "threat_name": "s", "threat_feed_name": "s",
			"category": "E:NETWORK_MALICIOUS,SOFTWARE_MALICIOUS", "action": "E:FAIL,QUARANTINE,BLOCK", "action_details": "s",
			"attack_details": map[string]any{"tactics": []any{map[string]any{"id": "s", "name": "s"}}, "techniques": []any{map[string]any{"id": "s", "subtechnique_id": "s"}}},
		}},
	}
}()

func checkUDM(t testing.TB, data []byte) map[string]any {
	t.Helper()
	doc := readObject(t, data)
	noEmpty(t, doc, "")
	udmHolds(t, doc, udmFields, "")
	meta := doc["metadata"].(map[string]any)
	for _, name := range []string{"event_timestamp", "event_type", "vendor_name", "product_name"} {
		if meta[name] == nil {
			t.Fatalf("no metadata.%s in %s", name, data)
		}
	}
	// "UDM usage guide", required fields by type.
	kind := meta["event_type"].(string)
	family, _, _ := strings.Cut(kind, "_")
	at := func(path ...string) any {
		var v any = doc
		for _, key := range path {
			inner, _ := v.(map[string]any)
			v = inner[key]
		}
		return v
	}
	machine := func(noun string) bool {
		return at(noun, "hostname") != nil || at(noun, "ip") != nil || at(noun, "asset_id") != nil || at(noun, "mac") != nil
	}
	var ok bool
	switch family {
	case "GENERIC":
		ok = true
	case "PROCESS":
		ok = machine("principal") && at("target", "process") != nil
	case "FILE":
		ok = machine("principal") && at("target", "file") != nil && (kind != "FILE_MOVE" || at("src", "file") != nil)
	case "REGISTRY":
		ok = machine("principal") && at("target", "registry", "registry_key") != nil
	case "NETWORK":
		ok = machine("principal") && (machine("target") || at("network", "dns", "questions") != nil)
	}
	if !ok {
		t.Fatalf("an event of type %s lacks what it requires: %s", kind, data)
	}
	return doc
}

func udmHolds(t testing.TB, v, want any, path string) {
	t.Helper()
	text, isText := v.(string)
	switch want := want.(type) {
	case map[string]any:
		doc, ok := v.(map[string]any)
		if !ok {
			t.Fatalf("%s is %v, expected a message", path, v)
		}
		for key, inner := range doc {
			if want[key] == nil {
				t.Fatalf("there is no field %s.%s", path, key)
			}
			udmHolds(t, inner, want[key], path+"."+key)
		}
	case []any:
		list, ok := v.([]any)
		if !ok {
			t.Fatalf("%s is %v, expected a list", path, v)
		}
		for _, item := range list {
			udmHolds(t, item, want[0], path)
		}
	case string:
		kind, words, _ := strings.Cut(want, ":")
		switch list, isList := v.([]any); {
		case kind == "any":
		case kind == "S" || kind == "E":
			if !isList {
				t.Fatalf("%s is %v, expected a list", path, v)
			}
			for _, item := range list {
				udmHolds(t, item, strings.ToLower(kind)+":"+words, path)
			}
		case kind == "n":
			if n, ok := v.(json.Number); !ok || strings.ContainsAny(string(n), ".eE") {
				t.Fatalf("%s is %v, expected a whole number", path, v)
			}
		case !isText:
			t.Fatalf("%s is %v, expected a text", path, v)
		case kind == "t":
			readTime(t, path, text)
		case kind == "e" && !slices.Contains(strings.Split(words, ","), text):
			t.Fatalf("%s is %q, expected one of %s", path, text, words)
		}
	}
}

func TestUDMOfCases(t *testing.T) {
	for name, want := range map[string]string{
		"process": "PROCESS_LAUNCH", "file": "FILE_MOVE", "dns": "NETWORK_DNS", "socket_intel": "NETWORK_CONNECTION", "registry": "REGISTRY_MODIFICATION",
		"process_open": "PROCESS_OPEN", "hash_intel": "FILE_CREATION", "outcome": "GENERIC_EVENT", "row_other": "GENERIC_EVENT", "row_process": "PROCESS_LAUNCH",
	} {
		ev := cases()[name]
		doc := checkUDM(t, UDM(&ev, options))
		if got := doc["metadata"].(map[string]any)["event_type"]; got != want {
			t.Errorf("%s is of type %v, want %s", name, got, want)
		}
	}
	for name, ev := range cases() {
		t.Run(name, func(t *testing.T) { checkUDM(t, UDM(&ev, options)) })
	}
}

func FuzzUDM(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, shape uint8, column, value, name, text string, seconds int64) {
		ev := event(shape, column, value, name, text, seconds)
		checkUDM(t, UDM(&ev, options))
	})
}

func FuzzOCSF(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, shape uint8, column, value, name, text string, seconds int64) {
		ev := event(shape, column, value, name, text, seconds)
		doc := checkOCSF(t, OCSF(&ev, options))
		if ev.Type == soar.EventAlertReceived && ev.Alert != nil && ev.Alert.Host.Name != "" {
			if got, want := doc["device"].(map[string]any)["hostname"], string([]rune(ev.Alert.Host.Name)); got != want {
				t.Fatalf("host %q reads back as %q", want, got)
			}
		}
	})
}

// readPID reads a number that fits where receivers keep pids.
func readPID(t testing.TB, name string, v any) {
	t.Helper()
	if n, err := strconv.ParseInt(fmt.Sprint(v), 10, 32); err != nil || n < 0 {
		t.Fatalf("%s is %v", name, v)
	}
}

func checkCIM(t testing.TB, data []byte) {
	t.Helper()
	doc := readObject(t, data)
	for _, name := range []string{"app", "severity", "type", "vendor_product", "event_id", "sourcetype", "source"} {
		if text, _ := doc[name].(string); text == "" {
			t.Fatalf("no %s in %s", name, data)
		}
	}
	readTime(t, "time", doc["time"])
	if id, ok := doc["process_id"]; ok {
		readPID(t, "process_id", id)
	}
	for name, value := range doc {
		if name == "tag" || strings.HasSuffix(name, "_bunit") || strings.HasSuffix(name, "_category") || strings.HasSuffix(name, "_priority") {
			t.Fatalf("%s belongs to Splunk's asset look-up", name)
		}
		if _, nested := value.(map[string]any); nested && name != "columns" {
			t.Fatalf("%s is an object, and the model is flat", name)
		}
	}
	noEmpty(t, doc, "")
}

func TestCIMOfCases(t *testing.T) {
	for name, ev := range cases() {
		t.Run(name, func(t *testing.T) { checkCIM(t, CIM(&ev, options)) })
	}
}

func FuzzCIM(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, shape uint8, column, value, name, text string, seconds int64) {
		ev := event(shape, column, value, name, text, seconds)
		checkCIM(t, CIM(&ev, options))
	})
}

// FuzzJSON reads the event back as an event, and FuzzText sees one line.
func FuzzJSON(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, shape uint8, column, value, name, text string, seconds int64) {
		ev := event(shape, column, value, name, text, seconds)
		for _, maxText := range caps {
			data := jsonEvent(&ev, true, maxText)
			readObject(t, data)
			var back soar.Event
			if err := json.Unmarshal(data, &back); maxText != minimal && (err != nil || back.Type != ev.Type) {
				t.Fatalf("%v, type %q in %s", err, back.Type, data)
			}
		}
		summary := Summary(&ev)
		if summary == "" || strings.ContainsFunc(summary, soar.IsHidden) || strings.ContainsAny(summary, "\u2028\u2029") {
			t.Fatalf("summary %q", summary)
		}
	})
}

// bareEvents are events of a kind of which nothing else is known, alone and about things
// that have no values.
func bareEvents(kind soar.EventType) []soar.Event {
	return []soar.Event{
		{ID: "x", Type: kind}, {ID: "x", Type: kind, Alert: &soar.Alert{}}, {ID: "x", Type: kind, Row: &soar.Row{}},
		{ID: "x", Type: kind, Run: &soar.RunSummary{}, Outcome: &soar.Outcome{}}, {ID: "x", Type: kind, Approval: &soar.Approval{}},
		{
			ID: "x", Type: kind, Alert: &soar.Alert{Rule: &soar.Rule{Techniques: []string{"-"}, Tactics: []string{"-", " "}}}, Run: &soar.RunSummary{},
			Outcome: &soar.Outcome{}, Undo: &soar.Undo{}, Group: &soar.Group{}, Change: &soar.AlertChange{},
		},
	}
}

// TestBareEvents holds every format against its judge for events that say next to nothing.
func TestBareEvents(t *testing.T) {
	for _, kind := range []soar.EventType{
		soar.EventAlertReceived, soar.EventAlertUpdated, soar.EventRunStarted, soar.EventStepFinished, soar.EventRunFinished, soar.EventNotification,
		soar.EventTrouble, soar.EventTest, soar.EventApprovalRequested, soar.EventApprovalDecided, soar.EventUndoSoon, soar.EventAlertGrouped,
		soar.EventDigest, soar.EventHeartbeat, soar.EventTelemetry, "of.tomorrow",
	} {
		for i, ev := range bareEvents(kind) {
			t.Run(fmt.Sprintf("%s %d", kind, i), func(t *testing.T) {
				checkECS(t, ECS(&ev, ECSOptions{Options: options}))
				checkOCSF(t, OCSF(&ev, options))
				checkUDM(t, UDM(&ev, options))
				checkCIM(t, CIM(&ev, options))
				checkHEC(t, HEC(&ev, HECOptions{Options: options}))
				checkCEF(t, string(CEF(&ev, options)))
				checkLEEF(t, LEEF(&ev, options))
				if ev.Row == nil {
					checkASIM(t, &ev)
				}
			})
		}
	}
}

// TestFormatsTakeEveryEvent finds a type of event that a format panics at or leaves empty.
func TestFormatsTakeEveryEvent(t *testing.T) {
	for _, name := range Names() {
		f, err := New(name, options)
		if err != nil || About(name) == "" {
			t.Fatalf("%s: %q, %v", name, About(name), err)
		}
		for _, kind := range []soar.EventType{
			soar.EventAlertReceived, soar.EventAlertUpdated, soar.EventRunStarted, soar.EventStepFinished, soar.EventRunFinished, soar.EventNotification,
			soar.EventTrouble, soar.EventTest, soar.EventApprovalRequested, soar.EventApprovalDecided, soar.EventUndoSoon, soar.EventAlertGrouped,
			soar.EventDigest, soar.EventHeartbeat, soar.EventTelemetry, "of.tomorrow",
		} {
			for _, ev := range bareEvents(kind) {
				data, err := f(&ev)
				if errors.Is(err, ErrUnsupported) {
					continue
				}
				if err != nil || len(data) == 0 || bytes.ContainsAny(data, "\r\n") {
					t.Errorf("%s of %s: %q, %v", name, kind, data, err)
				}
			}
		}
	}
}
