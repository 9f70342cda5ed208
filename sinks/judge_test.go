package sinks_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/erbridge/erbridge/internal/testenv"
)

// judgeCommand prepares a script of testdata/judges, which asks a program that is not
// ours what it makes of our output. scripts/judges.sh installs those programs.
func judgeCommand(t *testing.T, script string) *exec.Cmd {
	t.Helper()
	node := testenv.Need(t, "node")[0]
	modules, err := filepath.Abs("../bin/judges/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(modules); err != nil {
		if os.Getenv(testenv.RequireVariable) == "1" {
			t.Fatalf("needs what scripts/judges.sh installs, and %s=1 asks for everything", testenv.RequireVariable)
		}
		t.Skip("left out: needs what scripts/judges.sh installs")
	}
	cmd := exec.CommandContext(t.Context(), node, filepath.Join("testdata", "judges", script))
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	return cmd
}

// askJudge gives a script its input as JSON and reads its verdict.
func askJudge(t *testing.T, script string, input, verdict any) {
	t.Helper()
	cmd := judgeCommand(t, script)
	data, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	var said, complained bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(data), &said, &complained
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v: %s", script, err, complained.String())
	}
	if err := json.Unmarshal(said.Bytes(), verdict); err != nil {
		t.Fatalf("%s: %v in %s", script, err, said.String())
	}
}
