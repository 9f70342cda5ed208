package ersim

import (
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// The words of a live response on its websocket, beside those of a command. That the
// agent's taking of it is received, and that other words are not final, is what the
// vendor's console knows; the word that comes with a piece of output is this
// simulator's.
const (
	outputReceived = "received"
	outputPiece    = "executing"
)

// API: POST /response/live_response, JSON or multipart. It is for one host. Whether
// the host must be online the guide does not say; here it may wait like any command.
func (s *Server) liveResponse(c *call) answer {
	c.need("host_identifier", "host_identifier")
	a := c.scriptAction()
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	hosts := s.targets([]string{c.text("host_identifier")}, nil, nil)
	if len(hosts) == 0 {
		return s.fail("No Host present for the host identifier given!")
	}
	s.accept(a, hosts, s.opts.CommandDelay, func(*host) (string, bool) { return runScript(a.params["content"]) })
	cmd := a.commands[0]
	cmd.output = &liveQuery{}
	s.after(resultLifetime, func() {
		cmd.hush()
		cmd.output = nil
	})
	return s.flat(actionAdded, obj{"openc2_id": a.id, "command_id": cmd.uid})
}

// say queues a frame of a live response for whoever listens. The vendor documents no
// frame; status, data and message are what its console reads. Server.mu is held.
func (s *Server) say(cmd *command, status, data, message string) {
	if cmd.output == nil {
		return
	}
	cmd.output.frames = append(cmd.output.frames, encodeJSON(obj{
		"command_id": cmd.uid, "status": status, "data": data, "message": message,
	}))
	s.deliver(cmd.output)
}

// speak plans the pieces of output that a live response sends while it is at work,
// a line each.
func (s *Server) speak(cmd *command) {
	if cmd.output == nil {
		return
	}
	text, done := runScript(cmd.action.params["content"])
	lines := strings.Split(text, "\n")
	if !done {
		lines = lines[:len(lines)-1] // the exit status, which comes as the message
	}
	for i, line := range lines {
		if text == "" {
			break
		}
		wait := cmd.work * time.Duration(i+1) / time.Duration(len(lines)+1)
		s.after(wait, func() {
			s.whenOnline(cmd.host, func() {
				if !cmd.final() {
					s.say(cmd, outputPiece, line+"\n", "")
				}
			})
		})
	}
}

// hush ends the sockets of a live response after its last frame.
func (c *command) hush() {
	if c.output == nil {
		return
	}
	for _, l := range c.output.listeners {
		l.ended = true
		l.notify()
	}
}

// serveOutput sends the output of a live response and closes after its end. Of an
// unknown command it says nothing.
func (s *Server) serveOutput(conn *websocket.Conn, wanted string, gone <-chan struct{}) {
	s.mu.Lock()
	cmd := s.byCmdID[wanted]
	var l *listener
	if cmd != nil && cmd.output != nil {
		l = s.attend(cmd.output)
		l.ended = cmd.final()
	}
	s.mu.Unlock()
	if l == nil {
		<-gone
		return
	}
	s.serveFrames(conn, l, gone)
}
