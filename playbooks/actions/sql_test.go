package actions

import (
	"database/sql"
	"strings"
	"testing"
	"unicode/utf8"

	_ "modernc.org/sqlite" // the oracle: osquery's statements are SQLite's
)

func TestBindSQL(t *testing.T) {
	for _, tt := range []struct {
		name, sql string
		values    map[string]any
		want      string
		err       string
	}{
		{"text", "select :v", map[string]any{"v": "o'brien"}, "select  'o''brien' ", ""},
		{"number", "select * from processes where pid = :pid", map[string]any{"pid": 12.0}, "select * from processes where pid =  12 ", ""},
		{"negative number does not start a comment", "select 7-:n", map[string]any{"n": -1.0}, "select 7- -1 ", ""},
		{"texts do not grow together", "select :a:b", map[string]any{"a": "x", "b": "y"}, "select  'x'  'y' ", ""},
		{"list", "select 1 where 'a' in :l", map[string]any{"l": []any{"a'", 1.5, nil, true}}, "select 1 where 'a' in  ('a''', 1.5e+00, NULL, 1) ", ""},
		{"in text", "select ':v', \":v\", `:v`, [:v] -- :v\n, /* :v */ :w", map[string]any{"w": "x"}, "select ':v', \":v\", `:v`, [:v] -- :v\n, /* :v */  'x' ", ""},
		{"doubled quote", "select 'it''s :v', :v", map[string]any{"v": ""}, "select 'it''s :v',  '' ", ""},
		{"value is never looked at again", "select :a, :b", map[string]any{"a": ":b", "b": "'"}, "select  ':b' ,  '''' ", ""},
		{"no value", "select :v", nil, "", "parameter :v has no value"},
		{"not used", "select 1", map[string]any{"v": 1.0}, "", `value "v" is not used: the statement has no parameter :v`},
		{"not closed", "select 'a", nil, "", "' is not closed in the statement"},
		{"NUL", "select :v", map[string]any{"v": "a\x00b"}, "", "parameter :v: text with a NUL cannot be an SQL value"},
		{"not UTF-8", "select :v", map[string]any{"v": "\xff"}, "", "parameter :v: text that is not UTF-8 cannot be an SQL value"},
		{"object", "select :v", map[string]any{"v": map[string]any{}}, "", "parameter :v: map[string]interface {} cannot be an SQL value"},
		{"list in list", "select :v", map[string]any{"v": []any{[]any{}}}, "", "parameter :v: a list within a list cannot be an SQL value"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := bindSQL(tt.sql, tt.values)
			if got != tt.want || errorText(err) != tt.err {
				t.Errorf("bindSQL(%q)\n got %q, %v\nwant %q, %s", tt.sql, got, err, tt.want, tt.err)
			}
		})
	}
}

func TestOnlyReads(t *testing.T) {
	for _, tt := range []struct{ sql, err string }{
		{"select 1", ""},
		{"SELECT name FROM processes -- delete; nothing\n", ""},
		{"with x as (select 1) select * from x;", ""},
		{"select 'delete from users; drop table x'", ""},
		{"select * from carves", ""},
		{"", "holds no statement"},
		{"-- nothing", "holds no statement"},
		{"select 1; select 2", "holds more than one statement"},
		{"select 1; /* and */ ; -- nothing", ""},
		{"delete from users", `expected a select statement, found "delete"`},
		{"with x as (select 1) delete from users", "DELETE is not for live.query"},
		{"select * from carves where path = '/x' and carve = 1", "this would carve files; use the action carve.file"},
		{`select * from "Carves" where path = '/x' and [carve] = 1`, "this would carve files; use the action carve.file"},
		{"select * from curl where url = 'http://x'", "table curl makes the host send a request"},
		{"select * from `curl_certificate` where hostname = 'x'", "table curl_certificate makes the host open a connection"},
		{"select 'open", "' is not closed in the statement"},
	} {
		if got := errorText(onlyReads(tt.sql)); got != tt.err {
			t.Errorf("onlyReads(%q)\n got %s\nwant %s", tt.sql, got, tt.err)
		}
	}
}

// FuzzQuoteSQL reads quoted text back through SQLite itself.
func FuzzQuoteSQL(f *testing.F) {
	for _, seed := range []string{
		"", "'", "''", "a'b", "'; select 1; --", "\\'", "\r\n\t", "日本語", "\u2028", "/* */", ":v", "?1", `"`, "\x01\x7f", "%'%", "\ufeff", strings.Repeat("'", 100),
	} {
		f.Add(seed, seed)
	}
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = db.Close() })
	f.Fuzz(func(t *testing.T, a, b string) {
		statement, err := bindSQL("select :a, :b, '/*' || :a || ':b' --:a", map[string]any{"a": a, "b": b})
		if bad := strings.ContainsRune(a+b, 0) || !utf8.ValidString(a) || !utf8.ValidString(b); bad != (err != nil) {
			t.Fatalf("bindSQL of %q and %q: %v", a, b, err)
		} else if bad {
			return
		}
		var gotA, gotB, joined string
		if err := db.QueryRowContext(t.Context(), statement).Scan(&gotA, &gotB, &joined); err != nil {
			t.Fatalf("%q: %v", statement, err)
		}
		if gotA != a || gotB != b || joined != "/*"+a+":b" {
			t.Errorf("%q reads back as %q, %q and %q", statement, gotA, gotB, joined)
		}
	})
}

// FuzzBindStatement checks that a hostile value never changes what a statement is
// made of, whatever the statement.
func FuzzBindStatement(f *testing.F) {
	f.Add("select 7-:v", "x")
	f.Add("select :v:v from [a] where \"b\" = ':v'", "'")
	f.Add("select /* :v", "*/")
	f.Fuzz(func(t *testing.T, statement, value string) {
		withValue, err := bindSQL(statement, map[string]any{"v": value})
		if err != nil {
			return
		}
		harmless, err := bindSQL(statement, map[string]any{"v": "x"})
		if err != nil {
			t.Fatalf("%q takes %q and not x: %v", statement, value, err)
		}
		got, gotCount, err1 := sqlWords(withValue)
		want, wantCount, err2 := sqlWords(harmless)
		if (err1 == nil) != (err2 == nil) || gotCount != wantCount || strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%q with %q: words %q (%d statements, %v), with x: %q (%d, %v)", statement, value, got, gotCount, err1, want, wantCount, err2)
		}
	})
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
