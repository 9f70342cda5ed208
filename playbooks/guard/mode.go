package guard

import "github.com/erbridge/erbridge/internal/soar"

// modes lets the strictest of all that has a say decide: the playbook, those that
// call it, the ceiling of the configuration, the group of a host.
type modes struct {
	approvals bool // there is a rail behind it that asks people
}

func (modes) name() string { return "mode" }

func (m modes) ask(r *Request) Answer {
	if r.TakesBack != 0 {
		return m.askUndo(r)
	}
	voice := r.judged.voice
	if voice.Mode == soar.ModeApprove && !m.approvals {
		return Hold(r.At.Add(lookAgain), "approve: %s, and there is nobody here who could be asked", voice.Words)
	}
	if voice.Mode != soar.ModeObserve {
		return Pass("%s: %s", voice.Mode, voice.Words)
	}
	if r.Always {
		return Pass("observe: %s; %s is carried out in observe mode too", voice.Words, r.Action)
	}
	return Answer{State: soar.StepObserved, Words: "observe: " + voice.Words}
}

// Strictest is the voice that decides: the first of those that allow the least.
func Strictest(voices []Voice) Voice {
	strictest := Voice{soar.ModeEnforce, "nothing stands against it"}
	for i, v := range voices {
		if i == 0 || rank(v.Mode) < rank(strictest.Mode) {
			strictest = v
		}
	}
	return strictest
}

func rank(m soar.Mode) int {
	switch m {
	case soar.ModeEnforce:
		return 2
	case soar.ModeApprove:
		return 1
	}
	return 0
}
