package scripts

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// folder writes scripts, each with its text and what is said of it. HASH stands for the
// hash of the text.
func folder(t *testing.T, scripts map[string][2]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, script := range scripts {
		sum := sha256.Sum256([]byte(script[0]))
		said := strings.ReplaceAll(script[1], "HASH", hex.EncodeToString(sum[:]))
		for file, content := range map[string]string{name + ".txt": script[0], name + ".yaml": said} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

const head = "description: Says a word.\nplatform: any\nkind: shell\nfile: say.txt\nsha256: HASH\n"

func TestLoad(t *testing.T) {
	dir := folder(t, map[string][2]string{"say": {"echo hello\n", head + "arguments:\n  word: {required: true, max: 20}\n"}})
	set, problems := Load(dir)
	if problems != nil || !slices.Equal(set.Names(), []string{"say"}) {
		t.Fatalf("%q: %v", set.Names(), problems)
	}
	script, err := set.Get("say")
	if err != nil || script.Name != "say" || script.Kind != Shell || len(script.SHA256) != 64 {
		t.Errorf("%+v: %v", script, err)
	}
	if text, err := script.Text(map[string]any{"word": "hi"}); err != nil || text != "arg_word='hi'\necho hello\n" {
		t.Errorf("text %q: %v", text, err)
	}
	for name, want := range map[string]string{"sai": `did you mean "say"?`, "something-else": "among the 1 in " + dir} {
		if _, err := set.Get(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	none, problems := Load("")
	if _, err := none.Get("say"); problems != nil || !errors.Is(err, ErrNoFolder) {
		t.Errorf("no folder: %v, %v", problems, err)
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, tt := range []struct{ name, text, said, want string }{
		{"another text than was reviewed", "echo a", strings.Replace(head, "HASH", strings.Repeat("a", 64), 1), "review it, and write down its hash when it is good"},
		{"no hash", "echo a", strings.Replace(head, "sha256: HASH\n", "", 1), `setting "sha256" is required`},
		{"a file elsewhere", "echo a", strings.Replace(head, "say.txt", "../say.txt", 1), "name a file in the same folder"},
		{"a file that is not there", "echo a", strings.Replace(head, "say.txt", "gone.txt", 1), "no such file"},
		{"an unknown language", "echo a", strings.Replace(head, "shell", "perl", 1), `unknown value "perl"`},
		{"an unknown setting", "echo a", head + "run_as: root\n", "run_as"},
		{"not ASCII", "echo 1\necho \u2019", head, "line 2: holds a character outside ASCII"},
		{"a mark of the encoding", "\ufeffecho a", head, "line 1: holds a character outside ASCII"},
		{"nothing", " \n", head, "is empty"},
		{"an argument of a strange name", "echo a", head + "arguments: {PATH: {}}\n", `"PATH" is no name of an argument`},
		{"a broken pattern", "echo a", head + "arguments: {a: {pattern: '['}}\n", "argument a: pattern"},
		{"a pattern that closes its group", "echo a", head + "arguments: {a: {pattern: 'a)|(.*'}}\n", "argument a: pattern"},
		{"a pattern of a number", "echo a", head + "arguments: {a: {type: integer, pattern: a}}\n", "enum and pattern are for texts"},
		{"min of a text", "echo a", head + "arguments: {a: {min: 1}}\n", "min is for integers"},
		{"min above max", "echo a", head + "arguments: {a: {type: integer, min: 2, max: 1}}\n", "min is above max"},
		{"a text without an end", "echo a", head + "arguments: {a: {max: 100000}}\n", "from 1 to 8192 characters"},
		{"a line end in enum", "echo a", head + "arguments: {a: {enum: [\"a\\nb\"]}}\n", "which no argument may hold"},
		{"param", "# comment\n<# more\n#>\nParam (\n$x)", strings.Replace(head, "kind: shell", "kind: powershell", 1) + "arguments: {a: {}}\n", "arguments come as variables"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, problems := Load(folder(t, map[string][2]string{"say": {tt.text, tt.said}, "other": {"echo b", strings.Replace(head, "say.txt", "other.txt", 1)}}))
			if len(problems) != 1 || !strings.Contains(problems[0].Message+problems[0].Hint, tt.want) || !strings.HasSuffix(problems[0].Position.File, "say.yaml") {
				t.Errorf("problems %v", problems)
			}
			if _, err := set.Get("say"); err == nil || !strings.Contains(err.Error(), `the reviewed script "say" cannot be used`) {
				t.Errorf("get: %v", err)
			}
			if _, err := set.Get("other"); err != nil {
				t.Errorf("the other: %v", err)
			}
		})
	}
	if _, problems := Load(filepath.Join(t.TempDir(), "nowhere")); len(problems) != 1 {
		t.Errorf("a folder that is not there: %v", problems)
	}
	// A link that leads out of the folder.
	dir := folder(t, map[string][2]string{"say": {"echo a", head}})
	outside := filepath.Join(t.TempDir(), "say.txt")
	if err := os.WriteFile(outside, []byte("echo a"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "say.txt")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "say.txt")); err != nil {
		t.Fatal(err)
	}
	if _, problems := Load(dir); len(problems) != 1 {
		t.Errorf("a link out of the folder: %v", problems)
	}
}

func TestParamWithoutArguments(t *testing.T) {
	text := "param([string]$Path = 'x')\nWrite-Output $Path"
	set, problems := Load(folder(t, map[string][2]string{"say": {text, strings.Replace(head, "kind: shell", "kind: powershell", 1)}}))
	if problems != nil {
		t.Fatal(problems)
	}
	script, err := set.Get("say")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := script.Text(nil); err != nil || got != text {
		t.Errorf("text %q: %v", got, err)
	}
}
