package connector

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func nested(levels int) Condition {
	c := Where("md5", OpEqual, "aa")
	for range levels {
		c = And(c)
	}
	return c
}

func TestConditionForSearch(t *testing.T) {
	const leaf = `{"field":"path","id":"path","input":"text","operator":"contains","type":"string","value":"C:\\\\a\\_1\\%"}`
	for _, tt := range []struct {
		name    string
		c       Condition
		columns []string
		want    string // JSON, or a part of the error
	}{
		{"lone comparison", Where("path", OpContains, `C:\a_1%`), nil, `{"condition":"AND","rules":[` + leaf + `],"valid":true}`},
		{"no value", Or(Where("md5", OpIsEmpty, "")), nil,
			`{"condition":"OR","rules":[{"field":"md5","id":"md5","input":"text","operator":"is_empty","type":"string","value":null}],"valid":true}`},
		{"a path is no number", Where("remote_address", OpEqual, "203.0.113.66"), nil, `"203.0.113.66"`},
		{"a number as Python prints it", Where("pid", OpEqual, "4000"), nil, `"4000"`},
		{"zeros before", Where("eid", OpEqual, "0000023296"), nil, `would compare "0000023296" as 23296`},
		{"zeros behind", Where("version", OpNotEqual, "1.10"), nil, `would compare "1.10" as 1.1`},
		{"a point at the end", Where("version", OpEqual, "12."), nil, "as 12.0"},
		{"zeros in contains find more", Where("eid", OpContains, "0042"), nil, `"0042"`},
		{"begins with", Where("path", OpBeginsWith, "C:"), nil, `operator "begins_with", which works in rules only`},
		{"less", Where("pid", OpLess, "4"), nil, `operator "less", which works in rules only`},
		{"unknown operator", Where("pid", "like", "4"), nil, `operator "like": a search knows equal, not_equal`},
		{"field", WhereField(FieldQuery, OpEqual, "x"), nil, "event columns only"},
		{"no column", Where("", OpEqual, "x"), nil, "needs the name of a column"},
		{"empty value", Where("md5", OpEqual, ""), nil, "needs a value"},
		{"value too many", Where("md5", OpIsEmpty, "x"), nil, "takes no value"},
		{"column without an index", Where("cmdline", OpEqual, "x"), IndicatorColumns, `column "cmdline" is none of md5, sha256`},
		{"empty group", And(), nil, "a group is empty"},
		{"empty group within", And(Where("md5", OpEqual, "x"), Or()), nil, "a group is empty"},
		{"unknown group", Condition{Group: "XOR", Of: []Condition{{}}}, nil, `group "XOR"`},
		{"group and comparison", Condition{Group: "AND", Column: "md5", Of: []Condition{Where("md5", OpEqual, "x")}}, nil, "a group is no comparison"},
		{"too deep", nested(maxConditionDepth + 1), nil, "nested deeper than 20"},
		{"deep enough", nested(maxConditionDepth), nil, `"aa"`},
		{"too many", And(make([]Condition, maxConditions+1)...), nil, "needs the name of a column"},
		{"nothing", Condition{}, nil, "needs the name of a column"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := tt.c.forSearch(tt.columns)
			checkWritten(t, out, err, tt.want)
		})
	}
	many := make([]Condition, maxConditions+1)
	for i := range many {
		many[i] = Where("md5", OpEqual, "x")
	}
	if _, err := Or(many...).forSearch(nil); err == nil || !strings.Contains(err.Error(), "more than 1000") {
		t.Errorf("too many comparisons: %v", err)
	}
}

func checkWritten(t *testing.T, out map[string]any, err error, want string) {
	t.Helper()
	if err != nil {
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Fatalf("error %q, want %q", err, want)
		}
		return
	}
	text, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), want) {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

func TestConditionForRule(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    Condition
		want string
	}{
		{"column", Where("cmdline", OpContains, "mimikatz"),
			`{"field":"column","id":"column","input":"text","operator":"column_contains","type":"string","value":["cmdline","mimikatz"]}`},
		{"field", WhereField(FieldQuery, OpEqual, "win_process_events"),
			`{"field":"query_name","id":"query_name","input":"text","operator":"equal","type":"string","value":"win_process_events"}`},
		{"empty column", Where("cmdline", OpIsEmpty, ""), `"value":["cmdline",""]`},
		{"number", Where("pid", OpGreaterOrEqual, "4"), `"value":["pid","4"]`},
		{"no backslash is added", Where("path", OpContains, `C:\a_b`), `"value":["path","C:\\a_b"]`},
		{"a number is equal to nothing", Where("pid", OpEqual, "4000"), "the rule would never fire"},
		{"nor does it contain", Where("cmdline", OpContains, "443"), "the rule would never fire"},
		{"less than a text", Where("pid", OpLess, "many"), "needs a number"},
		{"field of another table", WhereField("md5", OpEqual, "x"), `field "md5" is none of query_name`},
		{"field without value", WhereField(FieldAction, OpIsEmpty, ""), "works on columns only"},
		{"both", Condition{Column: "a", Field: FieldHost, Operator: OpEqual, Value: "x"}, "either a column or a field"},
		{"neither", Condition{Operator: OpEqual, Value: "x"}, "either a column or a field"},
		{"unknown operator", Where("a", "column_equal", "x"), `operator "column_equal": a rule knows`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := tt.c.forRule()
			checkWritten(t, out, err, tt.want)
		})
	}
}

func TestReadCondition(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       Condition
		err        string
	}{
		{"captured", `{"rules":[{"id":"query_name","field":"query_name","value":"q","operator":"equal"},
			{"field":"column","value":["cmdline","mimikatz"],"operator":"column_contains"}],"valid":true,"condition":"AND"}`,
			And(WhereField(FieldQuery, OpEqual, "q"), Where("cmdline", OpContains, "mimikatz")), ""},
		{"lower case and numbers", `{"condition":"or","rules":[{"field":"column","operator":"column_less","value":["pid",5]}]}`,
			Or(Where("pid", OpLess, "5")), ""},
		{"column alone", `{"condition":"AND","rules":[{"field":"column","operator":"column_is_empty","value":"cmdline"}]}`,
			And(Where("cmdline", OpIsEmpty, "")), ""},
		{"operator without prefix", `{"condition":"AND","rules":[{"field":"column","operator":"equal","value":["a","b"]}]}`,
			And(Where("a", OpEqual, "b")), ""},
		{"unknown words stay", `{"condition":"AND","rules":[{"field":"severity","operator":"sounds_like","value":"b"}]}`,
			And(WhereField("severity", "sounds_like", "b")), ""},
		{"nested", `{"condition":"AND","rules":[{"condition":"OR","rules":[{"field":"action","operator":"equal","value":"added"}]}]}`,
			And(Or(WhereField(FieldAction, OpEqual, "added"))), ""},
		{"no object", `[]`, Condition{}, "not a tree"},
		{"null", `null`, Condition{}, "not a tree"},
		{"empty group", `{"condition":"AND","rules":[]}`, Condition{}, "a group is empty"},
		{"unknown group", `{"condition":"NAND","rules":[{}]}`, Condition{}, `group "NAND"`},
		{"no operator", `{"condition":"AND","rules":[{"field":"action","value":"x"}]}`, Condition{}, "lacks its column or operator"},
		{"value too long", `{"condition":"AND","rules":[{"field":"column","operator":"equal","value":["a","b","c"]}]}`, Condition{}, "lacks its column"},
		{"too deep", strings.Repeat(`{"condition":"AND","rules":[`, 50) + strings.Repeat(`]}`, 50), Condition{}, "not a tree"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := parse([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			got, err := readCondition(v)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}

// What is written for a rule is read back as it was.
func FuzzCondition(f *testing.F) {
	for _, seed := range []string{
		`{"condition":"AND","rules":[{"field":"column","operator":"column_equal","value":["a","b"]}]}`,
		`{"condition":"OR","rules":[{"condition":"AND","rules":[{"field":"query_name","operator":"equal","value":"q"}]}]}`,
		`{"condition":"AND","rules":[{"field":"column","operator":"column_is_empty","value":"cmdline"}]}`, `{"condition":1}`, `{}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := parse(text)
		if err != nil {
			return
		}
		c, err := readCondition(v)
		if err != nil {
			return
		}
		out, err := c.forRule()
		if err != nil {
			return
		}
		written, err := json.Marshal(out)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parse(written)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := readCondition(again); err != nil || !back.equal(c.root()) {
			t.Errorf("%s came back as %+v, %v", written, back, err)
		}
	})
}
