package scripts

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// hostile are values that break out of a script when they are pasted into it.
var hostile = []string{
	"", " ", "plain", `it's`, `'; touch pwned; '`, `'; Remove-Item C:\ -Recurse #`, `"; calc; "`, `$(touch pwned)`, "`touch pwned`", `${IFS}`, `$PWD`,
	`%PATH%`, `!PATH!`, `^&calc`, `a&calc`, `a|calc`, `a>b`, `\`, `\'`, `'\''; touch pwned`, `''`, `'''`, `-n`, `--help`, `%s%n%d`, `*`, `~`, `#x`, `@(calc)`,
	`; drop table users; --`, "\u2019; calc; \u2018", "\u201a\u201b", "\u201d; calc; \u201c", "\u0411 \u0411'; touch pwned; '", "\u2011", "日本語", "ä'ö",
	"\U0001F600", `C:\Program Files (x86)\a b\c.exe`, "trailing ", "a  b",
}

// taken sets a value as arg_value of a script in some language.
func taken(kind Kind, text, value string) (string, error) {
	max := int64(maxTextLength)
	s := &Script{Name: "s", Kind: kind, Arguments: map[string]Argument{"value": {Type: typeText, Max: &max}}, text: text}
	return s.Text(map[string]any{"value": value})
}

// Real shells read what stands in front of a script.
func TestShellsReadTheValue(t *testing.T) {
	for _, shell := range []string{"sh", "bash", "dash", "busybox"} {
		program, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		t.Run(shell, func(t *testing.T) {
			for _, value := range hostile {
				checkShell(t, program, value)
			}
		})
	}
}

func checkShell(t *testing.T, program, value string) {
	t.Helper()
	text, err := taken(Shell, "#!/bin/sh\nprintf '%s' \"$arg_value\"\n", value)
	if err != nil {
		t.Fatalf("%q: %v", value, err)
	}
	if !strings.HasPrefix(text, "#!/bin/sh\narg_value=") || !isASCII(text) {
		t.Errorf("%q: %q", value, text)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "script")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	arguments := []string{file}
	if filepath.Base(program) == "busybox" {
		arguments = []string{"sh", file}
	}
	cmd := exec.CommandContext(t.Context(), program, arguments...)
	cmd.Dir = dir
	got, err := cmd.CombinedOutput()
	if err != nil || string(got) != value {
		t.Errorf("%q came out as %q: %v", value, got, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%q was carried out: %v, %v", value, left, err)
	}
}

func FuzzShell(f *testing.F) {
	program, err := exec.LookPath("sh")
	if err != nil {
		f.Skip("no shell")
	}
	for _, value := range hostile {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if plainText(value) != nil || utf8.RuneCountInString(value) > maxTextLength {
			t.Skip()
		}
		checkShell(t, program, value)
	})
}

// readPowerShell reads $arg_value = LITERAL as about_Quoting_Rules has it, where every
// kind of single quote ends a text or is doubled, and says what is left behind it.
func readPowerShell(text string) (value, rest string, err error) {
	literal, ok := strings.CutPrefix(text, "$arg_value = ")
	if !ok {
		return "", "", fmt.Errorf("not an assignment: %q", text)
	}
	if encoded, ok := strings.CutPrefix(literal, "[Text.Encoding]::UTF8.GetString([Convert]::FromBase64String('"); ok {
		encoded, rest, _ := strings.Cut(encoded, "'))")
		data, err := base64.StdEncoding.DecodeString(encoded)
		return string(data), rest, err
	}
	runes := []rune(literal)
	quote := func(i int) bool { return i < len(runes) && strings.ContainsRune("'\u2018\u2019\u201a\u201b", runes[i]) }
	if !quote(0) {
		return "", "", fmt.Errorf("not quoted: %q", literal)
	}
	var b strings.Builder
	for i := 1; i < len(runes); i++ {
		if quote(i) {
			if !quote(i + 1) {
				return b.String(), string(runes[i+1:]), nil
			}
			i++
		}
		b.WriteRune(runes[i])
	}
	return "", "", fmt.Errorf("not closed: %q", literal)
}

func FuzzPowerShell(f *testing.F) {
	for _, value := range hostile {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if plainText(value) != nil || utf8.RuneCountInString(value) > maxTextLength {
			t.Skip()
		}
		text, err := taken(PowerShell, "Write-Output $arg_value", value)
		if err != nil {
			t.Fatal(err)
		}
		if !isASCII(text) { // the code page of the host would decide what it means
			t.Errorf("%q: %q is not ASCII", value, text)
		}
		if got, rest, err := readPowerShell(text); err != nil || got != value || rest != "\nWrite-Output $arg_value" {
			t.Errorf("%q came out as %q, and then %q: %v", value, got, rest, err)
		}
	})
}

// cmd.exe puts values into lines before it reads these: what means something to it is
// refused, whatever stands around it.
func TestBatTakesPlainValuesOnly(t *testing.T) {
	for _, value := range hostile {
		text, err := taken(Bat, "@echo %arg_value%\r\n", value)
		if strings.ContainsAny(value, "'\"%!^&|<>()=;,`~*?{}[]#$\\") && !strings.HasPrefix(value, `C:\`) || !isASCII(value) {
			if err == nil {
				t.Errorf("%q was taken: %q", value, text)
			}
			continue
		}
		if err == nil && text != `@set "arg_value=`+value+"\"\r\n@echo %arg_value%\r\n" {
			t.Errorf("%q: %q", value, text)
		}
	}
	for value, want := range map[string]string{`C:\Temp\a.exe`: "", `C:\Temp\`: `ends with \`, `C:\Program Files (x86)\a`: "bat script takes letters"} {
		_, err := taken(Bat, "x", value)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", value, err)
		}
	}
}

// Numbers and truth values are no texts, and what is not given is empty.
func TestTypedValues(t *testing.T) {
	for kind, want := range map[Kind]string{
		PowerShell: "$arg_b = $true\n$arg_n = -7\n$arg_none = $null\nx", Shell: "arg_b='true'\narg_n='-7'\narg_none=''\nx",
		Bat: "@set \"arg_b=true\"\r\n@set \"arg_n=-7\"\r\n@set \"arg_none=\"\r\nx",
	} {
		s := &Script{Name: "s", Kind: kind, text: "x", Arguments: map[string]Argument{
			"b": {Type: typeBoolean}, "n": {Type: typeInteger}, "none": {Type: typeText},
		}}
		if got, err := s.Text(map[string]any{"b": true, "n": -7.0}); err != nil || got != want {
			t.Errorf("%s: %q, want %q: %v", kind, got, want, err)
		}
	}
}
