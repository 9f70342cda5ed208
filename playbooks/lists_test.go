package playbooks

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/erbridge/erbridge/internal/registry"
)

// A list asked by its name has what the same list has when it is written out.
func TestNamedListsAgreeWithWrittenOnes(t *testing.T) {
	items := []any{"PowerShell.exe", "Straße", "ΣΊΣΥΦΟΣ", "K", "10.0.0.0/8", "4624", 4624.0, 1.5, true, nil, "", "ſ"}
	lists := new(namedLists)
	lists.add("l", newNamedList(items))
	e, err := compileExpr(`in_list("l") == in_list($vars)`, world{time.Now, lists})
	if err != nil {
		t.Fatal(err)
	}
	named, err := compileExpr(`in_list("l")`, world{time.Now, lists})
	if err != nil {
		t.Fatal(err)
	}
	hits := 0
	for _, v := range []any{
		"POWERSHELL.EXE", "powershell", "STRASSE", "straße", "STRAßE", "σίσυφος", "ΣίσυφοΣ", "k", "\u212a", "10.1.2.3", "10.0.0.0/8", "4624", 4624.0, 1.5, 1.0,
		true, false, nil, "", " ", "S", "s", "\ufffd", []any{}, map[string]any{},
	} {
		got, err := e.Value(t.Context(), v, items, nil)
		if err != nil || got != true {
			t.Errorf("%#v: %v, %v", v, got, err)
		}
		if found, err := named.Value(t.Context(), v, nil, nil); err != nil {
			t.Error(err)
		} else if found == true {
			hits++
		}
	}
	if hits != 16 {
		t.Errorf("%d values are in the list", hits)
	}
}

// Two letters fold to the same when strings.EqualFold takes them for equal.
func TestFolding(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		text := string(r)
		for _, other := range []string{strings.ToUpper(text), strings.ToLower(text), strings.ToTitle(text), string(unicode.SimpleFold(r)), "k", "\ufffd"} {
			if got, want := folded(text) == folded(other), strings.EqualFold(text, other); got != want {
				t.Fatalf("%q and %q: folded equal is %v, want %v", text, other, got, want)
			}
		}
	}
	if folded("a\xff") != folded("A\xfe") || !strings.EqualFold("a\xff", "A\xfe") {
		t.Error("what is no UTF-8 folds in another way than EqualFold")
	}
}

func TestLintOfLists(t *testing.T) {
	const end = "\nsteps: [{do: fake.read}]"
	cond := func(lists, expr string) string {
		return "playbook: p\nlists: " + lists + "\nmatch: {all: [{c: '" + expr + "'}]}" + end
	}
	for _, tt := range []struct{ name, in, want string }{
		{"well", cond(`{a: [x, 1, true, null], b: []}`, `.alert.id | in_list("a") or in_list(("b"))`), ""},
		{"as a field", cond(`{a: [x]}`, `(.alert.id | cidr($lists.a)) or .lists.a[0] == "x"`), ""},
		{"none", cond(`null`, `true`), ""},
		{"unknown", cond(`{vips: [x]}`, `.alert.id | in_list("vipps")`), `p.yaml:3:40: there is no list "vipps" under lists [unknown-list]; did you mean "vips"?`},
		{"unknown in an argument", "playbook: p\nlists: {vips: [x]}\nsteps:\n  - do: fake.read\n    with: {a: \"x ${{ .alert.id | in_list( \\\"b\\\" ) }}\"}",
			`p.yaml:5:43: there is no list "b" under lists [unknown-list]; known: vips`},
		{"no lists at all", "playbook: p\nmatch: {all: [{c: '.alert.id | in_list(\"a\")'}]}" + end,
			`p.yaml:2:40: there is no list "a" under lists [unknown-list]; write it under lists, or the items themselves: in_list([...])`},
		{"no such field", cond(`{vips: [x]}`, `.lists.vipps == 1`), `p.yaml:3:26: there is no list "vipps" under lists [unknown-list]; did you mean "vips"?`},
		{"no field", "playbook: p\nmatch: {all: [{c: '.lists.a == 1'}]}" + end, `p.yaml:2:20: there is no .lists here [unknown-root]; it is there with lists: {name: [...]}`},
		{"a function of its own", cond(`{a: [x]}`, `def in_list($x): $x; in_list("b") == "b"`), ""},
		{"a name within a text", cond(`{a: [x]}`, `"in_list(\"b\")" == .alert.id`), ""},
		{"a list", cond(`[a]`, `true`), "p.yaml:2:8: expected a mapping of names to lists, or to {file: name} [wrong-type]"},
		{"a text", cond(`{a: x.txt}`, `true`), "p.yaml:2:12: expected a list, or {file: name} [wrong-type]"},
		{"a list of lists", cond(`{a: [x, [y], {z: 1}]}`, `true`),
			"p.yaml:2:16: an item of a list is a text, a number, true, false or null [list]\np.yaml:2:21: an item of a list is a text, a number, true, false or null [list]"},
		{"an expression", cond(`{a: ["${{ .alert.id }}"]}`, `true`),
			"p.yaml:2:13: expressions are not evaluated in a list [list]; a list is the same for every alert; take enrich for what is not"},
		{"a name", cond(`{VIP-hosts: [x]}`, `.alert.id | in_list("VIP-hosts")`), `p.yaml:2:9: "VIP-hosts" is no name for a list [name]; small letters, digits and _, a letter first`},
		{"twice", cond(`{a: [x], a: [y]}`, `true`), `p.yaml:2:17: "a" stands here twice [repeated-key]`},
		{"too many", cond("{a"+strings.Repeat(": [], a", 20)+": []}", `true`), "p.yaml:2:8: 21 lists, the limit is 20 [too-many]"},
		{"another key", cond(`{a: {file: a.txt, url: x}}`, `true`), `p.yaml:2:26: unknown setting "url" [unknown-key]; known: file`},
		{"no file named", cond(`{a: {}}`, `true`), `p.yaml:2:12: setting "file" is required [missing]`},
		{"without a folder", cond(`{a: {file: a.txt}}`, `.alert.id | in_list("a")`),
			`p.yaml:2:19: list file "a.txt": a list can stand in a file only where the playbook does [list-file]; write the items into the playbook`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := lintText(tt.in); got != tt.want {
				t.Errorf("lint of\n%s\n got %s\nwant %s", tt.in, got, tt.want)
			}
		})
	}
}

// A name that is computed is looked for when the condition is evaluated.
func TestComputedNameOfAList(t *testing.T) {
	pb := loadText(t, newFakeServer().actions(), `
playbook: p
vars: {which: hosts, other: hsots}
lists: {hosts: [PC-1], nets: [10.0.0.0/8]}
match:
  all:
    - known: .alert.host.name | in_list($vars.which)
    - unknown: .alert.host.name | in_list($vars.other)
    - no list: .alert.host.name | in_list(7)
    - a network is a text: '"10.1.2.3" | in_list("nets") | not'
    - or a network: '"10.1.2.3" | cidr($lists.nets)'
    - counted: '.lists.hosts | length == 1'
steps: [{do: fake.repeat}]
`).Get("p")
	x, err := Explain(t.Context(), pb, testAlert("1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range x.Conditions {
		got = append(got, strings.TrimSuffix(string(c.Verdict)+" "+c.Error, " "))
	}
	want := `match|error in_list: the playbook has no list "hsots"|error in_list: expected a list or the name of one, found 7|match|match|match`
	if strings.Join(got, "|") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "|"), want)
	}
}

const listBook = "playbook: p\nlists: {hosts: {file: lists/hosts.txt}}\n" +
	"match: {all: [{'the host is listed': '.alert.host.name | in_list(\"hosts\")'}]}\n" +
	"steps: [{id: hit, do: fake.once}, {do: fake.repeat, with: {text: '${{ .lists.hosts | join(\" \") }} ${{ .alert.host.name | in_list(\"hosts\") }}'}}]\n"

func TestListFiles(t *testing.T) {
	long := strings.Repeat("x", maxListBytes-10)
	for _, tt := range []struct{ name, file, want string }{
		{"lines", "pc-1\nPC-2\n", "pc-1 PC-2"},
		{"comments", "# hosts\n\n  pc-1 # the chief's\n\tpc-2\t# x\n#pc-3\npc#4\n", "pc-1 pc-2 pc#4"},
		{"from Windows", "\ufeffpc-1\r\n\r\n# x\r\npc-2", "pc-1 pc-2"},
		{"blanks inside", "big pc\n", "big pc"},
		{"no items", "# none\n", ""},
		{"nothing", "", ""},
		{"what looks like YAML and expressions", "--- # what the files of lists held\n${{ .alert.id }}\n{\"files\": {}}\n<a>&", `--- ${{ .alert.id }} {"files": {}} <a>&`},
		{"not UTF-8", "pc-1\ncaf\xe9\n", `error p.yaml:2:23: list file "lists/hosts.txt": line 2 is not UTF-8 text [list-file]`},
		{"UTF-16", "\xff\xfep\x00c\x00", `error p.yaml:2:23: list file "lists/hosts.txt": line 1 is not UTF-8 text [list-file]`},
		{"control characters", "pc-1\n\npc\x1b[2J\n", `error p.yaml:2:23: list file "lists/hosts.txt": line 3 holds a control character [list-file]`},
		{"a table", "pc-1\tberlin\n", `error p.yaml:2:23: list file "lists/hosts.txt": line 1 holds a control character [list-file]`},
		{"the largest", "# " + long + "\npc-1\n", "pc-1"},
		{"too large", long + "12345678901", `error p.yaml:2:23: list file "lists/hosts.txt": the lists of a playbook may have 4 MiB in all [list-file]`},
		{"too many", strings.Repeat("x\n", maxListItems+1), `error p.yaml:2:23: list file "lists/hosts.txt": the lists of a playbook may have 100000 lines in all [list-file]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fsys := fstest.MapFS{"lists/hosts.txt": {Data: []byte(tt.file)}}
			if got := hostsOf(ParseIn(fsys, "p.yaml", []byte(listBook), newFakeServer().actions())); got != tt.want {
				t.Errorf("got %q\nwant %q", got, tt.want)
			}
		})
	}
}

// hostsOf are the items of the list hosts, or the problems.
func hostsOf(pb *Playbook, problems registry.Problems) string {
	if pb == nil {
		return "error " + problems.Error()
	}
	var texts []string
	for _, item := range pb.lists.byName["hosts"].items {
		texts = append(texts, fmt.Sprint(item))
	}
	return strings.Join(texts, " ")
}

// The bounds are those of all lists of a playbook together.
func TestListFilesTogether(t *testing.T) {
	half := fstest.MapFS{"a.txt": {Data: []byte(strings.Repeat("x\n", maxListItems/2+1))}, "b.txt": {Data: []byte(strings.Repeat("y\n", maxListItems/2))}}
	text := "playbook: p\nlists: {a: {file: a.txt}, b: {file: b.txt}, again: {file: ./a.txt}, once_more: {file: a.txt}}\nsteps: [{do: fake.read}]\n"
	_, problems := ParseIn(half, "p.yaml", []byte(text), newFakeServer().actions())
	want := `p.yaml:2:37: list file "b.txt": the lists of a playbook may have 100000 lines in all [list-file]` + "\n" +
		`p.yaml:2:59: list file "./a.txt": the lists of a playbook may have 100000 lines in all [list-file]`
	if got := problems.Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A list is read from the folder of its playbook and from below, whatever links say.
func TestListFilesStayInTheFolder(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"secret.txt": "root:x:0", "books/plain.txt": "plain", "books/sub/deep.txt": "deep", "books/.hidden.txt": "hidden", "books/old.txt~": "old",
		"books/..2026/mounted.txt": "mounted",
	})
	for at, to := range map[string]string{
		"..data": "..2026", "mounted.txt": "..data/mounted.txt", "out.txt": "../secret.txt", "absolute.txt": filepath.Join(dir, "books/plain.txt"),
		"out": "..", "round.txt": "round2.txt", "round2.txt": "round.txt", "sub/up.txt": "../plain.txt", "about.txt": "../books/plain.txt", "gone.txt": "nowhere.txt",
		"below": "sub",
	} {
		link(t, to, filepath.Join(dir, "books", at))
	}
	const outside, no = "the file lies outside of the playbook's folder", "no such file or directory"
	for name, want := range map[string]string{
		"plain.txt": "plain", "./plain.txt": "plain", "sub/deep.txt": "deep", "sub/../plain.txt": "plain", "sub//deep.txt": "deep", "mounted.txt": "mounted",
		"sub/up.txt": "plain", "below/deep.txt": "deep", "below/../plain.txt": "plain",
		"../secret.txt": outside, "sub/../../secret.txt": outside, filepath.Join(dir, "books/plain.txt"): outside, `..\\secret.txt`: outside,
		"out.txt": outside, "out/secret.txt": outside, "absolute.txt": outside, "about.txt": outside,
		"round.txt": "too many links", "gone.txt": no, "plain.txt/x": "not a directory", "": "not a plain file", "sub": "not a plain file", ".": "not a plain file",
		".hidden.txt": "hidden files are left out", "old.txt~": "hidden files are left out", "..data/mounted.txt": "hidden files are left out",
	} {
		text := strings.Replace(listBook, "lists/hosts.txt", `"`+name+`"`, 1)
		pb, problems := ParseIn(os.DirFS(filepath.Join(dir, "books")), "p.yaml", []byte(text), newFakeServer().actions())
		if got := hostsOf(pb, problems); got != want && (pb != nil || !strings.Contains(got, `": `+want+" [list-file]")) {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

// The lists of a playbook in a folder below are looked for there.
func TestListsOfFolders(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"p.yaml": listBook, "lists/hosts.txt": "above", "sub/q.yaml": strings.Replace(listBook, "playbook: p", "playbook: q", 1), "sub/lists/hosts.txt": "below",
	})
	set, problems := LoadDir(dir, newFakeServer().actions())
	if problems != nil {
		t.Fatal(problems)
	}
	if got := hostsOf(set.Get("p"), problems) + " " + hostsOf(set.Get("q"), problems); got != "above below" {
		t.Error(got)
	}
}

// A version holds its lists: it can be read anew without the files, and is the same.
func TestVersionHoldsItsLists(t *testing.T) {
	actions := newFakeServer().actions()
	read := func(book, list string) *Playbook {
		pb, problems := ParseIn(fstest.MapFS{"lists/hosts.txt": {Data: []byte(list)}}, "p.yaml", []byte(book), actions)
		if problems != nil {
			t.Fatal(problems)
		}
		return pb
	}
	first := read(listBook, "pc-1\n")
	for name, book := range map[string]string{
		"as it is": listBook, "without a last line's end": strings.TrimSpace(listBook), "from Windows": strings.ReplaceAll(listBook, "\n", "\r\n"),
		"with the mark in a comment": "# x" + listsMark + listBook,
	} {
		pb := read(book, "pc-1\npc-2\n")
		again, problems := ParseWithClock("p.yaml", pb.Source, actions, time.Now)
		if problems != nil {
			t.Fatalf("%s: %v", name, problems)
		}
		if again.Hash != pb.Hash || string(again.Source) != string(pb.Source) || hostsOf(again, problems) != "pc-1 pc-2" {
			t.Errorf("%s: read anew, it is\n%s", name, again.Source)
		}
		if pb.Hash == first.Hash {
			t.Errorf("%s: another list, and the same version", name)
		}
	}
	if read(listBook, "# of pc-1\npc-1").Hash != first.Hash {
		t.Error("a comment in a list makes another version")
	}
	if plain := read(threeSteps, ""); string(plain.Source) != threeSteps {
		t.Error("a playbook without list files is stored as another text than its file")
	}
	for _, text := range []string{string(first.Source), threeSteps + listsMark + `{"files":{"lists/hosts.txt":["x"]}}`} {
		if pb, problems := Parse("p.yaml", []byte(text), actions); pb != nil || !strings.Contains(problems.Error(), "more than one YAML document") {
			t.Errorf("a file that brings its own second document loads: %v", problems)
		}
	}
	if pb, _ := ParseWithClock("p.yaml", []byte(listBook+listsMark+"{}"), actions, time.Now); pb != nil {
		t.Error("a version without its lists loads")
	}
}

// A run keeps the list that it began with, also when the daemon was down, and the file
// has changed or gone since; what comes later finds the new one.
func TestRunsKeepTheirLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		writeFiles(t, dir, map[string]string{"p.yaml": listBook, "lists/hosts.txt": "PC-1\nold\n"})
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		load := func() *Set {
			set, problems := LoadDir(dir, actions)
			if problems != nil {
				t.Fatal(problems)
			}
			return set
		}
		e, stop := running(t, j, actions, load(), EngineOptions{})
		j.put(t, testAlert("1"))
		synctest.Wait() // accepted, waiting
		writeFiles(t, dir, map[string]string{"lists/hosts.txt": "new\npc-1\n"})
		e.Reload(load())
		j.put(t, testAlert("2"))
		synctest.Wait()
		writeFiles(t, dir, map[string]string{"lists/hosts.txt": "another\n"})
		e.Reload(load())
		j.put(t, testAlert("3"))
		synctest.Wait()
		stop()
		if err := os.Remove(filepath.Join(dir, "lists/hosts.txt")); err != nil {
			t.Fatal(err)
		}
		_, stop = running(t, j, actions, nil, EngineOptions{}) // knows no version
		time.Sleep(time.Minute)
		stop()
		var texts []string
		for _, c := range server.done("fake.repeat") {
			texts = append(texts, c.with["text"].(string))
		}
		slices.Sort(texts)
		if got := strings.Join(texts, ", "); got != "PC-1 old true, new pc-1 true" || stateOf(j.all()) != "done done" {
			t.Errorf("texts %s, runs %s", got, stateOf(j.all()))
		}
	})
}

// A playbook that is called has its own lists, not those of its caller.
func TestListsOfACalledPlaybook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		set := loadText(t, actions,
			"playbook: p\nlists: {l: [outer], only: [x]}\nsteps: [{call: q}, {do: fake.repeat, with: {text: \"${{ .lists.l[0] }} ${{ \\\"outer\\\" | in_list(\\\"l\\\") }}\"}}]",
			"playbook: q\nlists: {l: [inner]}\nsteps: [{do: fake.repeat, with: {text: \"${{ .lists.l[0] }} ${{ \\\"outer\\\" | in_list(\\\"l\\\") }} ${{ .lists | keys | join(\\\",\\\") }}\"}}]")
		_, stop := running(t, j, actions, NewSet(set.Get("p")), EngineOptions{})
		j.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		stop()
		var texts []string
		for _, c := range server.done("fake.repeat") {
			texts = append(texts, c.with["text"].(string))
		}
		if got := strings.Join(texts, ", "); got != "inner false l, outer true" {
			t.Errorf("got %s", got)
		}
	})
}

// swapping calls before for each file of a list that is about to be read.
type swapping struct {
	fs.ReadLinkFS
	before func(name string)
}

func (s *swapping) Lstat(name string) (fs.FileInfo, error) {
	s.before(name)
	return s.ReadLinkFS.Lstat(name)
}

// A mounted folder is swapped as a whole: playbooks and lists are of one generation.
func TestListsDuringSwap(t *testing.T) {
	for swap := 1; swap <= 5; swap++ {
		dir := t.TempDir()
		for _, g := range []string{"old", "new"} {
			book := strings.Replace(listBook, "lists/hosts.txt", "hosts.txt", 1)
			writeFiles(t, dir, map[string]string{"..2026_" + g + "/p.yaml": "description: " + g + "\n" + book, "..2026_" + g + "/hosts.txt": g})
		}
		link(t, "..2026_old", filepath.Join(dir, "..data"))
		for _, name := range []string{"p.yaml", "hosts.txt"} {
			link(t, "..data/"+name, filepath.Join(dir, name))
		}
		lists := 0
		fsys := &swapping{ReadLinkFS: os.DirFS(dir).(fs.ReadLinkFS), before: func(name string) {
			if filepath.Base(name) == "hosts.txt" {
				if lists++; lists == swap {
					link(t, "..2026_new", filepath.Join(dir, "..data"))
				}
			}
		}}
		set, problems := LoadFS(fsys, ".", newFakeServer().actions())
		if problems != nil {
			t.Fatal(problems)
		}
		want := "new new"
		if swap > 3 { // the second pass knew already which file it is
			want = "old old"
		}
		if got := set.Get("p").Description + " " + hostsOf(set.Get("p"), problems); got != want {
			t.Errorf("swapped before reading the list for time %d: got %s, want %s", swap, got, want)
		}
	}
}
