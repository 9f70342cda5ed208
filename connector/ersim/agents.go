package ersim

import (
	"fmt"
	"time"
)

// accept takes an action in and gives each host's agent its command. The host does
// do after about the time of work. Server.mu is held, here and in all that follows.
func (s *Server) accept(a *action, hosts []*host, work time.Duration, do func(*host) (string, bool)) {
	now := s.now().Truncate(time.Microsecond)
	a.created = now
	if a.kind != KindRestart {
		s.actions = append(s.actions, a)
		a.id = int64(len(s.actions))
	}
	for _, h := range hosts {
		n := int64(len(s.commands) + 1)
		r := s.random("command-id", n)
		cmd := &command{
			id: n, uid: fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64()), action: a, host: h, status: CommandQueued,
			received: now, updated: now, do: do, work: s.jitter(work, "command", n),
		}
		a.commands = append(a.commands, cmd)
		s.commands = append(s.commands, cmd)
		s.byCmdID[cmd.uid] = cmd
		s.received[cmd.key()]++
		// Enterprise agents are told at once; a short way to go is left.
		s.after(cmd.work/10, func() { s.whenOnline(h, func() { s.begin(cmd) }) })
	}
}

// begin is the agent's taking of a command.
func (s *Server) begin(cmd *command) {
	if cmd.final() {
		return // cancelled while it waited
	}
	now := s.now().Truncate(time.Microsecond)
	cmd.status, cmd.started, cmd.updated = CommandRunning, now, now
	s.say(cmd, outputReceived, "", "")
	if !cmd.host.response {
		s.end(cmd, CommandFailure, codeDisabled)
		return
	}
	if f := s.commandFault(cmd.host); f != nil {
		if f.Kind == CommandStuck {
			return
		}
		message := defaultText(f.Message, codeFault)
		if f.Kind == CommandIdle {
			message = f.Message
		}
		cmd.do = func(*host) (string, bool) { return message, f.Kind == CommandIdle }
	} else {
		s.speak(cmd)
	}
	s.after(cmd.work, func() { s.finish(cmd) })
}

// finish does it. An agent that went offline meanwhile acts and reports when it is
// back.
func (s *Server) finish(cmd *command) {
	s.whenOnline(cmd.host, func() {
		if cmd.final() {
			return
		}
		message, done := cmd.do(cmd.host)
		status := CommandFailure
		if done {
			status = CommandSuccess
		}
		s.end(cmd, status, message)
	})
}

func (s *Server) end(cmd *command, status, message string) {
	now := s.now().Truncate(time.Microsecond)
	cmd.status, cmd.message, cmd.ended, cmd.updated = status, message, now, now
	s.say(cmd, status, "", cmd.reason())
	cmd.hush()
}
