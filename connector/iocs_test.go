package connector

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// iocServer keeps a set as release 2.1.2 does. before and after may meddle with a
// write.
type iocServer struct {
	mu     sync.Mutex
	lists  map[string]map[string]string
	writes int
	before func(w http.ResponseWriter) bool // true: answered already
	after  func(lists map[string]map[string]string)
}

func (s *iocServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method == http.MethodGet {
		text, err := json.Marshal(s.lists)
		if err != nil {
			panic(err)
		}
		answerJSON(w, http.StatusOK, dataAnswer(string(text)))
		return
	}
	s.writes++
	var in struct {
		Data map[string]map[string]string `json:"data"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if s.before != nil && s.before(w) {
		return
	}
	for _, list := range in.Data {
		list["intel_type"] = "self"
	}
	if len(in.Data) > 0 {
		s.lists = in.Data
	}
	if s.after != nil {
		s.after(s.lists)
	}
	answerJSON(w, http.StatusOK, `{"status":"success"}`)
}

func (s *iocServer) values(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists[name]["values"]
}

func stored(kind, severity, values string) map[string]string {
	return map[string]string{"type": kind, "severity": severity, "values": values, "intel_type": "self"}
}

func newIOCServer(t *testing.T) (*iocServer, *Client) {
	t.Helper()
	s := &iocServer{lists: map[string]map[string]string{
		"ips": stored("remote_address", "WARNING", "203.0.113.1,203.0.113.2"), "old": stored("ja3_md5", "odd", "x"),
	}}
	return s, newClient(t, newServer(t, s.ServeHTTP).URL)
}

var oneMD5 = map[string]IOC{"hashes": {Type: "md5", Severity: "CRITICAL", Values: []string{" aa "}}}

func TestMergeKeepsEverything(t *testing.T) {
	s, c := newIOCServer(t)
	add := map[string]IOC{"ips": {Type: "remote_address", Severity: "CRITICAL", Values: []string{"203.0.113.3", "203.0.113.1"}}}
	if err := errors.Join(c.IOCs.Merge(t.Context(), add), c.IOCs.Merge(t.Context(), oneMD5)); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(s.lists); got != fmt.Sprint(map[string]map[string]string{
		"ips": stored("remote_address", "CRITICAL", "203.0.113.1,203.0.113.2,203.0.113.3"), "old": stored("ja3_md5", "ODD", "x"),
		"hashes": stored("md5", "CRITICAL", "aa"),
	}) {
		t.Errorf("the set is %s", got)
	}
}

func TestMergesOfOneClientWaitForEachOther(t *testing.T) {
	s, c := newIOCServer(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			name := fmt.Sprint("list", i)
			if err := c.IOCs.Merge(t.Context(), map[string]IOC{name: {Type: "md5", Severity: "INFO", Values: []string{name}}}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(s.lists) != 10 {
		t.Errorf("the set is %v", s.lists)
	}
}

func TestMergeNoticesAnotherWriter(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after func(map[string]map[string]string)
		is    error
		says  string
	}{
		{"replaced by somebody", func(lists map[string]map[string]string) { delete(lists, "hashes") }, ErrConflict, "lists hashes"},
		{"values lost", func(lists map[string]map[string]string) { lists["ips"]["values"] = "203.0.113.1" }, ErrConflict, "lists ips"},
		{"another type", func(lists map[string]map[string]string) { lists["ips"]["type"] = "md5" }, ErrConflict, "lists ips"},
		{"added to", func(lists map[string]map[string]string) { lists["more"] = stored("md5", "INFO", "x") }, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := newIOCServer(t)
			s.after = tt.after
			err := c.IOCs.Merge(t.Context(), oneMD5)
			if !errors.Is(err, tt.is) || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestMergeWithoutAnswer(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after bool // the connection breaks after the write
		is    error
	}{{"written", true, nil}, {"not written", false, ErrUncertain}} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := newIOCServer(t)
			if tt.after {
				s.after = func(map[string]map[string]string) { panic(http.ErrAbortHandler) }
			} else {
				s.before = func(http.ResponseWriter) bool { panic(http.ErrAbortHandler) }
			}
			if err := c.IOCs.Merge(t.Context(), oneMD5); !errors.Is(err, tt.is) {
				t.Errorf("got %v", err)
			}
			if s.writes != 1 {
				t.Errorf("%d writes", s.writes)
			}
		})
	}
}

// The server deletes before it writes, so that its failure is not a refusal.
func TestReplaceThatFailsHalfway(t *testing.T) {
	s, c := newIOCServer(t)
	s.before = func(w http.ResponseWriter) bool {
		s.lists = nil
		answerJSON(w, http.StatusOK, `{"status":"failure","message":"'values'"}`)
		return true
	}
	err := c.IOCs.Replace(t.Context(), oneMD5, ReplaceEverything)
	if !errors.Is(err, ErrUncertain) || errors.Is(err, ErrRefused) || !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "'values'") {
		t.Errorf("got %v", err)
	}
}

func TestReplaceAndRemove(t *testing.T) {
	s, c := newIOCServer(t)
	ctx := t.Context()
	if err := c.IOCs.Remove(ctx, DeleteForGood, "ips", "nothing"); !errors.Is(err, ErrNotFound) || s.writes != 0 {
		t.Errorf("unknown name: %v after %d writes", err, s.writes)
	}
	if err := c.IOCs.Remove(ctx, DeleteForGood, "old"); err != nil {
		t.Fatal(err)
	}
	// This server keeps its set when it gets an empty one.
	if err := c.IOCs.Remove(ctx, DeleteForGood, "ips"); !errors.Is(err, ErrUnavailable) || s.values("ips") == "" {
		t.Errorf("last list: %v, %v", err, s.lists)
	}
	if err := c.IOCs.Replace(ctx, oneMD5, ReplaceEverything); err != nil || s.values("hashes") != "aa" || s.values("ips") != "" {
		t.Errorf("replaced: %v, %v", err, s.lists)
	}
	s.after = func(lists map[string]map[string]string) { lists["more"] = stored("md5", "INFO", "x") }
	if err := c.IOCs.Replace(ctx, oneMD5, ReplaceEverything); !errors.Is(err, ErrConflict) {
		t.Errorf("somebody added: %v", err)
	}
}

func TestIOCsBadInput(t *testing.T) {
	s, c := newIOCServer(t)
	ctx := t.Context()
	one := func(name, kind, severity string, values ...string) map[string]IOC {
		return map[string]IOC{name: {Type: kind, Severity: severity, Values: values}}
	}
	for _, tt := range []struct {
		name, says string
		set        map[string]IOC
	}{
		{"empty set", "", nil},
		{"no name", "no name", one(" ", "md5", "INFO", "x")},
		{"type", `type "sha512" is none of md5, sha1`, one("a", "sha512", "INFO", "x")},
		{"severity", `severity "" is none of INFO`, one("a", "md5", "", "x")},
		{"no values", "no values", one("a", "md5", "INFO")},
		{"empty value", `value ""`, one("a", "md5", "INFO", "")},
		{"comma", `value "x,y"`, one("a", "md5", "INFO", "x,y")},
		{"line end", "line end", one("a", "md5", "INFO", "x\ny")},
	} {
		for call, err := range map[string]error{
			"replace": c.IOCs.Replace(ctx, tt.set, ReplaceEverything), "merge": c.IOCs.Merge(ctx, tt.set),
		} {
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s, %s: %v", call, tt.name, err)
			}
		}
	}
	for name, err := range map[string]error{
		"consent of replace": c.IOCs.Replace(ctx, oneMD5, ""),
		"consent of remove":  c.IOCs.Remove(ctx, ReplaceEverything, "ips"),
		"nothing to remove":  c.IOCs.Remove(ctx, DeleteForGood),
		"another type":       c.IOCs.Merge(ctx, one("ips", "md5", "INFO", "x")),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s.writes != 0 {
		t.Errorf("%d writes", s.writes)
	}
}

func TestIOCsOddAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, data string
		want       int
		malformed  bool
		is         error
	}{
		{"examples", `{"test-intel_md5":{"type":"md5","values":"a","severity":"INFO"}}`, 0, false, nil},
		{"a real list of that name", `{"test-intel_md5":{"type":"md5","values":"a","severity":"INFO","intel_type":"self"}}`, 1, false, nil},
		{"a real list without source", `{"mine":{"type":"md5","values":"a","severity":"INFO"}}`, 1, false, nil},
		{"values as a list", `{"mine":{"type":"md5","values":["a","b"],"severity":"INFO","intel_type":"self"}}`, 1, false, nil},
		{"a list without type", `{"mine":{"values":"a","severity":"INFO"},"ok":{"type":"md5","values":"a","severity":"INFO"}}`, 1, true, nil},
		{"null", `null`, 0, false, nil},
		{"text", `"none"`, 0, false, ErrNotJSON},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := answers(t, map[string]any{"/iocs": dataAnswer(tt.data)})
			set, err := c.IOCs.Get(t.Context())
			_, malformed := errors.AsType[*MalformedError](err)
			if len(set) != tt.want || malformed != tt.malformed || !malformed && !errors.Is(err, tt.is) {
				t.Errorf("got %v, %v", set, err)
			}
			// A set that cannot be read as a whole is not written back.
			if err := c.IOCs.Merge(t.Context(), oneMD5); malformed && err == nil {
				t.Error("merged into a set that was not understood")
			}
		})
	}
}

func TestModifyChangesWhatItIsToldTo(t *testing.T) {
	s, c := newIOCServer(t)
	ctx := t.Context()
	broken := errors.New("broken")
	for _, tt := range []struct {
		name    string
		consent Consent
		change  func(set map[string]IOC) error
		is      error
	}{
		{"without consent", DeleteForGood, func(map[string]IOC) error { return broken }, ErrInvalid},
		{"called off", ReplaceEverything, func(set map[string]IOC) error { delete(set, "ips"); return broken }, broken},
		{"nothing changed", ReplaceEverything, func(map[string]IOC) error { return nil }, nil},
		{"a value with a comma", ReplaceEverything, func(set map[string]IOC) error { set["ips"].Values[0] = "203.0.113.9,203.0.113.10"; return nil }, ErrInvalid},
		{"a list of no type", ReplaceEverything, func(set map[string]IOC) error {
			set["x"] = IOC{Severity: "INFO", Values: []string{"x"}}
			return nil
		}, ErrInvalid},
	} {
		if err := c.IOCs.Modify(ctx, tt.consent, tt.change); !errors.Is(err, tt.is) || s.writes != 0 {
			t.Errorf("%s: %v after %d writes", tt.name, err, s.writes)
		}
	}
	if err := c.IOCs.Modify(ctx, ReplaceEverything, func(set map[string]IOC) error {
		list := set["ips"]
		list.Values = list.Values[1:]
		set["ips"], set["hashes"] = list, oneMD5["hashes"]
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if s.values("ips") != "203.0.113.2" || s.values("old") != "x" || s.values("hashes") == "" {
		t.Errorf("the set is %v", s.lists)
	}
	s.after = func(lists map[string]map[string]string) { delete(lists, "old") }
	if err := c.IOCs.Modify(ctx, ReplaceEverything, func(set map[string]IOC) error { delete(set, "hashes"); return nil }); !errors.Is(err, ErrConflict) {
		t.Errorf("somebody took a list away: %v", err)
	}
	s.after = nil
	// This server keeps its set when it gets an empty one.
	if err := c.IOCs.Modify(ctx, ReplaceEverything, func(set map[string]IOC) error { clear(set); return nil }); !errors.Is(err, ErrUnavailable) {
		t.Errorf("last list: %v", err)
	}
}

func TestModificationsOfOneClientWaitForEachOther(t *testing.T) {
	s, c := newIOCServer(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if err := c.IOCs.Modify(t.Context(), ReplaceEverything, func(set map[string]IOC) error {
				list := set["ips"]
				list.Values = append(list.Values, fmt.Sprintf("198.51.100.%d", i))
				set["ips"] = list
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := strings.Count(s.values("ips"), ",") + 1; n != 10 {
		t.Errorf("the set is %v", s.lists)
	}
}
