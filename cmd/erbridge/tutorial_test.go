package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/erbridge/erbridge/internal/testenv"
)

// tutorialBlock is a block of shell, and what it prints if the page shows that.
type tutorialBlock struct {
	line   int
	code   string
	output string
	fails  bool
	shown  bool
}

// Every block of the tutorial does what the page says, in one shell and an empty
// folder, with this program and its simulator.
func TestTutorial(t *testing.T) {
	testenv.Need(t, "bash")
	testenv.Need(t, "curl")
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "tutorial.md"))
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "erbridge"), ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := string(page)
	for _, port := range []string{"8443", "8444", "8088"} { // only now: what is free may be taken before long
		text = strings.ReplaceAll(text, "127.0.0.1:"+port, freeAddress(t))
	}
	blocks := tutorialBlocks(t, text)
	if len(blocks) < 12 {
		t.Fatalf("only %d blocks: is the page read as it is written?", len(blocks))
	}
	said := runTutorial(t, bin, blocks)
	for i, b := range blocks {
		code, output, _ := strings.Cut(said[i], "\n")
		if failed := code != "0"; failed != b.fails {
			t.Errorf("line %d: exit code %s\n%s\n%s", b.line, code, b.code, output)
		}
		if b.shown && !tutorialPattern(b.output).MatchString(strings.TrimSpace(output)) {
			t.Errorf("line %d: %s\nprints\n%s\nand the page says\n%s", b.line, b.code, output, b.output)
		}
	}
}

// runTutorial runs all blocks in one shell. It returns, for each, its exit code and,
// on the lines below, what it printed.
func runTutorial(t *testing.T, bin string, blocks []tutorialBlock) []string {
	t.Helper()
	const mark = "=== end of block: "
	var script strings.Builder
	script.WriteString("exec 2>&1\n")
	for _, b := range blocks {
		fmt.Fprintf(&script, "%s\necho '%s'$?\n", b.code, mark)
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "bash", write(t, t.TempDir(), "tutorial.sh", script.String()))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), configVariable+"=", "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that nothing started in the background stays
	var out bytes.Buffer
	cmd.Stdout = &out
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // there is nobody left when all went well
	parts := regexp.MustCompile(`(?m)^`+mark+`(\d+)\n`).FindAllStringSubmatchIndex(out.String(), -1)
	if err != nil || len(parts) != len(blocks) {
		log, _ := os.ReadFile(filepath.Join(dir, "erbridge.log"))
		t.Fatalf("%v: %d of %d blocks ended\n%s\nerbridge.log:\n%s", err, len(parts), len(blocks), &out, log)
	}
	var said []string
	from := 0
	for _, at := range parts {
		said = append(said, out.String()[at[2]:at[3]]+"\n"+out.String()[from:at[0]])
		from = at[1]
	}
	return said
}

// tutorialBlocks reads the blocks of a page. A block of text is the output of the
// shell before it.
func tutorialBlocks(t *testing.T, page string) []tutorialBlock {
	t.Helper()
	var blocks []tutorialBlock
	var body []string
	kind, start := "", 0
	lines := bufio.NewScanner(strings.NewReader(page))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && kind == "":
			kind, start, body = fence, n, nil
		case isFence:
			code := strings.Join(body, "\n")
			switch kind {
			case "sh", "sh fails":
				blocks = append(blocks, tutorialBlock{line: start, code: code, fails: kind != "sh"})
			case "text":
				if len(blocks) == 0 || blocks[len(blocks)-1].shown {
					t.Errorf("line %d: there is no block of which this is the output", start)
					break
				}
				last := &blocks[len(blocks)-1]
				last.output, last.shown = code, true
			default:
				t.Errorf("line %d: a block of %q is not run", start, kind)
			}
			kind = ""
		case kind != "":
			body = append(body, line)
		case strings.HasPrefix(strings.TrimSpace(line), "```"), strings.HasPrefix(line, "~~~"):
			t.Errorf("line %d: a block that is not run", n)
		}
	}
	if kind != "" {
		t.Errorf("line %d: the block has no end", start)
	}
	return blocks
}

// tutorialPattern matches an output that is shown: ... is anything, and blanks
// between words are as many as there are.
func tutorialPattern(shown string) *regexp.Regexp {
	words := regexp.MustCompile(` {2,}`).ReplaceAllString(regexp.QuoteMeta(strings.TrimSpace(shown)), ` +`)
	return regexp.MustCompile(`(?s)^` + strings.ReplaceAll(words, `\.\.\.`, `.*?`) + `$`)
}

// freeAddress is an address of this machine that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "127.0.0.1:" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}
