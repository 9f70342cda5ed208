package connector

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestActionsRefuse: nothing of this reaches the server.
func TestActionsRefuse(t *testing.T) {
	c, calls := recorder(t, http.StatusOK, "application/json", okWith(`null`))
	ctx := t.Context()
	r, d := c.Responses, c.Defender
	on := []string{"H"}
	command := func(_ Command, err error) error { return err }
	for _, tt := range []struct {
		name string
		err  error
		kind error
		want string
	}{
		{"delete without consent", r.Delete(ctx, 1, ""), ErrInvalid, `consent "delete for good"`},
		{"delete with another consent", r.DeleteMany(ctx, []int64{1}, PurgeOldData), ErrInvalid, `consent "delete for good"`},
		{"delete nothing", r.DeleteMany(ctx, nil, DeleteForGood), ErrEmptyTarget, "no target"},
		{"delete 0", r.Delete(ctx, 0, DeleteForGood), ErrInvalid, "openc2 id is 0"},
		{"delete -1", r.DeleteMany(ctx, []int64{3, -1}, DeleteForGood), ErrInvalid, "openc2 id is -1"},
		{"list column", func() error { _, err := r.Page(ctx, ResponseQuery{Column: "id"}); return err }(), ErrInvalid, `column "id" is none of created_at`},
		{"view start", func() error { _, err := r.ViewPage(ctx, ResponseView{OpenC2ID: 1, Start: -1}); return err }(), ErrInvalid, "start is -1"},
		{"status of nobody", func() error { _, err := r.StatusByNode(ctx, 0); return err }(), ErrEmptyTarget, "node id is 0"},
		{"no target", command(r.StopProcess(ctx, StopProcess{PID: "4"})), ErrEmptyTarget, "no target"},
		{"empty tag", command(r.StopProcess(ctx, StopProcess{Hosts: on, Tags: []string{""}, PID: "4"})), ErrEmptyTarget, "is empty"},
		{"system with a comma", command(r.DeleteFile(ctx, DeleteFile{OSNames: []string{"a,b"}, Path: "x"})), ErrInvalid, "holds a comma"},
		{"hash", command(r.DeleteFile(ctx, DeleteFile{Hosts: on, MD5: "abc"})), ErrInvalid, "32 hex digits"},
		{"direction", command(r.Contain(ctx, FirewallRule{Hosts: on, RuleName: "r", Direction: "in"})), ErrInvalid, `direction "in" is none of 1, 2`},
		{"protocol", command(r.Contain(ctx, FirewallRule{Hosts: on, RuleName: "r", Protocol: "tcp"})), ErrInvalid, `protocol "tcp" is none of 2, 6, 17, 256`},
		{"port", command(r.Contain(ctx, FirewallRule{Hosts: on, RuleName: "r", SrcPort: "http"})), ErrInvalid, `source port "http"`},
		{"ports", command(r.Contain(ctx, FirewallRule{Hosts: on, RuleName: "r", DstPort: "9-1"})), ErrInvalid, `destination port "9-1"`},
		{"rule without name", command(r.RemoveRule(ctx, FirewallRelease{Hosts: on})), ErrInvalid, "rule name is needed"},
		{"script without kind", command(r.RunScript(ctx, Script{Hosts: on, Content: "x"})), ErrInvalid, "kind is missing"},
		{"script of kind 3", command(r.RunScript(ctx, Script{Hosts: on, Content: "x", Kind: 3})), ErrInvalid, `kind "3" is none of 1, 2, 4`},
		{"empty script", command(r.RunScript(ctx, Script{Hosts: on, Kind: ScriptBat})), ErrInvalid, "script is empty"},
		{"two scripts", command(r.RunScript(ctx, Script{Hosts: on, Kind: ScriptBat, Content: "x", File: Upload{Name: "y"}})), ErrInvalid, "exclude each other"},
		{"file without content", command(r.RunScript(ctx, Script{Hosts: on, Kind: ScriptBat, File: Upload{Name: "y"}})), ErrInvalid, "empty"},
		{"huge file", command(r.RunScript(ctx, Script{Hosts: on, Kind: ScriptBat, File: Upload{Name: "y", Content: make([]byte, 6<<20)}})), ErrInvalid, "at most"},
		{"live on nobody", command(r.Live(ctx, LiveScript{Kind: ScriptBat, Content: "x"})), ErrEmptyTarget, "is empty"},
		{"live on two", command(r.Live(ctx, LiveScript{Host: "a,b", Kind: ScriptBat, Content: "x"})), ErrInvalid, "holds a comma"},
		{"scan kind", command(d.Scan(ctx, "H", 4, "")), ErrInvalid, "unknown kind 4"},
		{"schedule kind", command(d.ScheduleScan(ctx, "H", ScanSchedule{Kind: ScanCustom})), ErrInvalid, "kind 3 is none of"},
		{"schedule time", command(d.ScheduleScan(ctx, "H", ScanSchedule{Kind: ScanQuick, At: 24 * time.Hour})), ErrInvalid, "24h0m0s is not a time of day"},
		{"schedule seconds", command(d.ScheduleScan(ctx, "H", ScanSchedule{Kind: ScanQuick, At: time.Second})), ErrInvalid, "whole minutes"},
		{"schedule day", command(d.ScheduleScan(ctx, "H", ScanSchedule{Kind: ScanFull, Day: 9})), ErrInvalid, "day 9 is none of"},
		{"day of a quick scan", command(d.ScheduleScan(ctx, "H", ScanSchedule{Kind: ScanQuick, Day: ScanMonday})), ErrInvalid, "only a full scan"},
		{"exclude nothing", command(d.Configure(ctx, "H", AddExclusion, Exclusion{})), ErrInvalid, "are needed"},
		{"exclusion change", command(d.Configure(ctx, "H", "add/remove", Exclusion{Path: "x"})), ErrInvalid, `change "add/remove" is none of add, remove`},
		{"settings of nobody", command(d.CurrentSettings(ctx, " ")), ErrEmptyTarget, "is empty"},
		{"refresh of several", command(d.RefreshStatus(ctx, "a,b")), ErrInvalid, "holds a comma"},
		{"update of nobody", command(d.CheckUpdate(ctx, "")), ErrEmptyTarget, "is empty"},
	} {
		if !errors.Is(tt.err, tt.kind) || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, tt.err, tt.want)
		}
	}
	if len(*calls) != 0 {
		t.Errorf("sent %v", *calls)
	}
}

// TestActionsAreSent compares what goes out with the guide and the vendor's console.
func TestActionsAreSent(t *testing.T) {
	const id = `{"status":"success","message":"m","openc2_id":133,"command_id":"2c92"}`
	for _, tt := range []struct {
		name string
		do   func(c *Client) error
		want string // method, path, body as JSON
	}{
		{"delete", func(c *Client) error { return c.Responses.Delete(t.Context(), 7, DeleteForGood) }, `DELETE /response/7/delete `},
		{"delete many", func(c *Client) error { return c.Responses.DeleteMany(t.Context(), []int64{1, 2, 1}, DeleteForGood) },
			`DELETE /response/delete {"openc2_ids":"1,2"}`},
		{"tags and systems", func(c *Client) error {
			_, err := c.Responses.StopProcess(t.Context(), StopProcess{Tags: []string{"b", "a"}, OSNames: []string{"Ubuntu"}, Name: "x"})
			return err
		}, `POST /response/add {"action":"stop","actuator_id":"","os_name":"Ubuntu","process_name":"x","tags":"a,b","target":"process"}`},
		{"status by number", func(c *Client) error { _, err := c.Responses.StatusByNode(t.Context(), 3); return err }, `POST /response/status {"node_id":3}`},
		{"live", func(c *Client) error {
			_, err := c.Responses.Live(t.Context(), LiveScript{Host: "H", Kind: ScriptPowerShell, Content: "dir", Name: "n", Save: true})
			return err
		}, `POST /response/live_response {"content":"dir","file_type":"2","host_identifier":"H","save_script":"true","script_name":"n"}`},
		{"quick schedule", func(c *Client) error {
			_, err := c.Defender.ScheduleScan(t.Context(), "H", ScanSchedule{Kind: ScanQuick, At: 65 * time.Minute})
			return err
		}, `POST /defender-management/schedule-scan {"host_identifier":"H","scan_type":1,"time":"01:05"}`},
		{"full schedule", func(c *Client) error {
			_, err := c.Defender.ScheduleScan(t.Context(), "H", ScanSchedule{Kind: ScanFull, At: 23*time.Hour + 59*time.Minute, Day: ScanNever})
			return err
		}, `POST /defender-management/schedule-scan {"host_identifier":"H","scan_day":8,"scan_type":2,"time":"23:59"}`},
		{"exclusion", func(c *Client) error {
			_, err := c.Defender.Configure(t.Context(), "H", RemoveExclusion, Exclusion{FileType: ".txt"})
			return err
		}, `POST /defender-management/configure {"action":"remove","file_type":".txt","host_identifier":"H"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answer := id
			if strings.Contains(tt.want, "/response/status") {
				answer = `{"status":"success","responseEnabled":true,"endpointOnline":false}`
			}
			c, calls := recorder(t, http.StatusOK, "application/json", answer)
			if err := tt.do(c); err != nil {
				t.Fatal(err)
			}
			got := (*calls)[0]
			body := got.body
			var parsed any
			if json.Unmarshal([]byte(body), &parsed) == nil {
				sorted, _ := json.Marshal(parsed)
				body = string(sorted)
			}
			if text := got.method + " " + got.path + " " + body; text != tt.want {
				t.Errorf("got  %s\nwant %s", text, tt.want)
			}
		})
	}
}

// TestScriptFile is an upload, with the field names of the guide.
func TestScriptFile(t *testing.T) {
	c, calls := recorder(t, http.StatusOK, "application/json", `{"status":"success","openc2_id":5}`)
	cmd, err := c.Responses.RunScript(t.Context(), Script{Tags: []string{"web"}, Kind: ScriptShell, Params: "-x", File: Upload{Name: "a.sh", Content: []byte("id\n")}})
	if err != nil || cmd != (Command{OpenC2ID: 5}) {
		t.Fatalf("got %+v, %v", cmd, err)
	}
	_, params, err := mime.ParseMediaType((*calls)[0].kind)
	if err != nil {
		t.Fatal(err)
	}
	form, err := multipart.NewReader(strings.NewReader((*calls)[0].body), params["boundary"]).ReadForm(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"tags": {"web"}, "file_type": {"4"}, "params": {"-x"}, "save_script": {"false"}}
	if !reflect.DeepEqual(form.Value, want) || form.File["file"][0].Filename != "a.sh" {
		t.Errorf("got %v, %v", form.Value, form.File)
	}
}

// TestLiveWithoutID: it runs, and nothing is left to find it by.
func TestLiveWithoutID(t *testing.T) {
	c, _ := recorder(t, http.StatusOK, "application/json", `{"status":"success","message":"Action is added successfully"}`)
	_, err := c.Responses.Live(t.Context(), LiveScript{Host: "H", Kind: ScriptBat, Content: "x"})
	if !errors.Is(err, ErrUncertain) {
		t.Errorf("got %v", err)
	}
}

func TestResponseAnswers(t *testing.T) {
	ctx := t.Context()
	answering := func(answer string) *Client {
		c, _ := recorder(t, http.StatusOK, "application/json", answer)
		return c
	}
	for name, answer := range map[string]string{"nothing": okWith(`null`), "nulls": okWith(`{"responseEnabled":null}`), "words": okWith(`{"endpointOnline":"maybe"}`)} {
		if _, err := answering(answer).Responses.Status(ctx, "H"); !errors.Is(err, ErrNotJSON) {
			t.Errorf("status with %s: %v", name, err)
		}
	}
	all, err := answering(okWith(`[{"hostIdentifier":"A","endpointOnline":true,"responseEnabled":"false"},{"epName":"no id"},7]`)).Responses.StatusAll(ctx)
	if _, malformed := errors.AsType[*MalformedError](err); !malformed || len(all) != 1 || !all[0].EndpointOnline || all[0].ResponseEnabled {
		t.Errorf("all: %+v, %v", all, err)
	}
	if _, err := answering(okWith(`null`)).Responses.StatusAll(ctx); !errors.Is(err, ErrNotJSON) {
		t.Errorf("no list: %v", err)
	}
	for _, tt := range []struct {
		row             string
		output, message string
		final           bool
	}{
		{`{"id":1,"status":"success","data":"hello","message":""}`, "hello", "hello", true},
		{`{"id":1,"status":"success","data":"NULL","message":"done"}`, "", "done", true},
		{`{"id":1,"status":"Failure","data":"NA","message":"FILE_NOT_FOUND"}`, "", "FILE_NOT_FOUND", true},
		{`{"id":1,"status":"success","message":"output of old"}`, "", "output of old", true},
		{`{"id":1,"status":"cancel_initiated","data":null}`, "", "", false},
		{`{"id":1,"status":"received","data":{"a":1}}`, `{"a":1}`, `{"a":1}`, false},
		{`{"id":1}`, "", "", false},
	} {
		h, err := answering(okWith(tt.row)).Responses.Get(ctx, "c")
		if err != nil || h.Output != tt.output || h.Message != tt.message || h.Final() != tt.final {
			t.Errorf("%s: got %+v, %v", tt.row, h, err)
		}
	}
	page, err := answering(okWith(`{"count":2,"results":[{"status":"success"},{"id":2,"command_id":"c"}]}`)).Responses.ViewPage(ctx, ResponseView{OpenC2ID: 1})
	if err != nil || len(page.Results) != 1 || len(page.Malformed) != 1 {
		t.Errorf("view: %+v, %v", page, err)
	}
}

func TestResponseExport(t *testing.T) {
	c, calls := recorder(t, http.StatusOK, "text/csv", "id,action\r\n1,stop\r\n")
	var out bytes.Buffer
	if n, err := c.Responses.Export(t.Context(), "H", &out); err != nil || n != int64(out.Len()) || out.Len() == 0 {
		t.Errorf("got %d, %v", n, err)
	}
	if got := (*calls)[0]; got.body != `{"host_identifier":"H"}` || got.path != "/response/export" {
		t.Errorf("asked %+v", got)
	}
	c, _ = recorder(t, http.StatusNotFound, "text/html", htmlPage)
	if _, err := c.Responses.Export(t.Context(), "", io.Discard); !errors.Is(err, ErrUnavailable) {
		t.Errorf("community: %v", err)
	}
}
