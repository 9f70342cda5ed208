package playtest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/erbridge/erbridge/playbooks/playtest"
)

// Tests see the list files of a playbook, and of one that it calls, wherever they lie.
func TestListFiles(t *testing.T) {
	files := map[string]string{
		"sub/a.yaml": "playbook: a\nlists: {hosts: {file: hosts.txt}}\nmatch: {all: [{it is listed: .alert.host.name | in_list(\"hosts\")}]}\n" +
			"steps: [{id: b, call: b}]\n",
		"sub/hosts.txt":    "PC-1\n",
		"b.yaml":           "playbook: b\nlists: {hosts: {file: lists/others.txt}}\nsteps: [{id: note, do: alert.note, with: {text: \"${{ .lists.hosts[0] }}\"}}]\n",
		"lists/others.txt": "others\n",
		"sub/a_test.yaml": "alert: {id: \"1\", host: {identifier: h, name: pc-1}}\ntests:\n" +
			"  - name: listed\n    expect: {verdict: match, actions: [{step: b/note, do: alert.note, with: {text: others}}]}\n    given: [{step: b/note, state: executed}]\n" +
			"  - name: not listed\n    patch: {host: {name: pc-2}}\n    expect: {verdict: no match, reason: it is listed}\n",
	}
	dir, fsys := t.TempDir(), fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	if err := os.CopyFS(dir, fsys); err != nil {
		t.Fatal(err)
	}
	for _, place := range []playtest.Place{{Dir: dir}, {FS: fsys}} {
		if got := text(t, run(t, playtest.Options{}, place), "tap"); strings.Contains(got, "not ok") || strings.Count(got, "\nok ") != 2 {
			t.Errorf("%s", got)
		}
	}
	if err := os.Remove(filepath.Join(dir, "lists/others.txt")); err != nil {
		t.Fatal(err)
	}
	_, err := playtest.Run(t.Context(), []playtest.Place{{Dir: dir}}, playtest.Options{Actions: all})
	if err == nil || !strings.Contains(err.Error(), `b.yaml:2:23: list file "lists/others.txt": no such file or directory`) {
		t.Errorf("a list that is missing: %v", err)
	}
}
