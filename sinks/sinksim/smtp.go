package sinksim

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
)

// SMTP is a mail server that insists on the order of commands, on STARTTLS before a
// login, on CRLF and on lines of at most 998 bytes (RFC 5321, RFC 3207, RFC 4954).
// Fields are set before Start.
type SMTP struct {
	// TLS encrypts: after STARTTLS, or from the first byte where Implicit is set. nil
	// offers none.
	TLS      *tls.Config
	Implicit bool
	// Users are passwords by name; nil asks for no login.
	Users map[string]string
	// Takes judges the access token of a mailbox, for XOAUTH2 and OAUTHBEARER.
	Takes func(user, token string) bool
	// Auth are the mechanisms offered: PLAIN, LOGIN, XOAUTH2, OAUTHBEARER. nil offers
	// the first two.
	Auth []string
	// MaxBytes bounds a mail; 0 is 1 MiB.
	MaxBytes int

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
	over     sync.WaitGroup
	mails    []Mail
	broken   []error
	answers  map[string][]string // command to replies that it gets instead
	hang     map[string]chan struct{}
}

// Mail is one that was taken.
type Mail struct {
	From string
	To   []string
	Data []byte // as it stands in the mailbox, with CRLF
}

// Start listens on a free port of this host.
func (s *SMTP) Start(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if s.TLS != nil && s.Implicit {
		l = tls.NewListener(l, s.TLS)
	}
	s.listener, s.conns = l, map[net.Conn]bool{}
	s.over.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[conn] = true
			s.mu.Unlock()
			s.over.Go(func() { s.serve(ctx, conn) })
		}
	})
	return nil
}

// Stop breaks all connections and waits for their end.
func (s *SMTP) Stop() {
	_ = s.listener.Close()
	s.mu.Lock()
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.over.Wait()
}

// Address is where it listens.
func (s *SMTP) Address() string { return s.listener.Addr().String() }

// Mails are those that were taken.
func (s *SMTP) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mails)
}

// Broken are the rules that clients did not keep.
func (s *SMTP) Broken() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.broken)
}

// Reply makes the next commands be answered otherwise: "450 4.2.0 later". The command
// is CONNECT, EHLO, STARTTLS, AUTH, MAIL, RCPT <address>, DATA, or MAIL's content as
// CONTENT. "close" hangs up before it takes effect; "lost" takes the content and hangs
// up; an empty reply is the ordinary one.
func (s *SMTP) Reply(command string, replies ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answers == nil {
		s.answers = map[string][]string{}
	}
	s.answers[command] = append(s.answers[command], replies...)
}

// Hang makes a command wait until the client hangs up; the channel is closed when it
// came.
func (s *SMTP) Hang(command string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hang == nil {
		s.hang = map[string]chan struct{}{}
	}
	s.hang[command] = make(chan struct{})
	return s.hang[command]
}

var errHangUp = errors.New("hang up")

// smtpSession is one connection.
type smtpSession struct {
	*SMTP
	ctx      context.Context // of Start
	conn     net.Conn
	r        *bufio.Reader
	secure   bool
	greeted  bool
	loggedIn bool
	mail     *Mail
}

func (s *SMTP) serve(ctx context.Context, conn net.Conn) {
	c := &smtpSession{SMTP: s, ctx: ctx, conn: conn, r: bufio.NewReader(conn), secure: s.Implicit}
	defer func() {
		_ = conn.Close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	}()
	if c.instead("CONNECT", "220 sim.example ESMTP") != nil {
		return
	}
	for {
		line, err := c.line()
		if err != nil {
			return
		}
		if err := c.command(line); err != nil {
			return
		}
	}
}

func (c *smtpSession) line() (string, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	if !strings.HasSuffix(line, "\r\n") || strings.ContainsAny(strings.TrimSuffix(line, "\r\n"), "\r\x00") {
		c.wrong("line %q does not end in CRLF alone", line)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func (c *smtpSession) wrong(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = append(c.broken, fmt.Errorf(format, args...))
}

func (c *smtpSession) say(reply string) error {
	_, err := io.WriteString(c.conn, reply+"\r\n")
	return err
}

// instead answers with what Reply holds for a command, else as usual. It reports
// errHangUp where the connection shall end, and the reply where it was another.
func (c *smtpSession) instead(command, usual string) error {
	c.mu.Lock()
	came := c.hang[command]
	delete(c.hang, command)
	reply := ""
	if queued := c.answers[command]; len(queued) > 0 {
		reply, c.answers[command] = queued[0], queued[1:]
	}
	c.mu.Unlock()
	if came != nil {
		close(came)
		_, _ = io.Copy(io.Discard, c.r)
		return errHangUp
	}
	switch {
	case reply == "close":
		return errHangUp
	case reply != "":
		if err := c.say(reply); err != nil {
			return err
		}
		return errOtherReply
	}
	if usual == "" {
		return nil
	}
	return c.say(usual)
}

var errOtherReply = errors.New("another reply")

// run does what a command does, unless Reply says otherwise.
func (c *smtpSession) run(command string, do func() error) error {
	switch err := c.instead(command, ""); {
	case errors.Is(err, errOtherReply):
		return nil
	case err != nil:
		return err
	}
	return do()
}

func (c *smtpSession) command(line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb = strings.ToUpper(verb); verb {
	case "EHLO":
		return c.run(verb, func() error { c.greeted = true; return c.extensions() })
	case "HELO":
		c.greeted = true
		return c.say("250 sim.example")
	case "*": // gives up a login (RFC 4954, section 4)
		return c.say("501 5.7.0 given up")
	case "STARTTLS":
		return c.run(verb, c.startTLS)
	case "AUTH":
		return c.run(verb, func() error { return c.auth(rest) })
	case "MAIL":
		return c.run(verb, func() error { return c.from(rest) })
	case "RCPT":
		return c.to(rest)
	case "DATA":
		return c.run(verb, c.data)
	case "RSET":
		c.mail = nil
		return c.say("250 2.0.0 flushed")
	case "NOOP":
		return c.say("250 2.0.0 nothing done")
	case "QUIT":
		return errors.Join(c.say("221 2.0.0 bye"), errHangUp)
	}
	c.wrong("command %q", line)
	return c.say("500 5.5.2 unknown command")
}

func (c *smtpSession) extensions() error {
	lines := []string{"sim.example", "8BITMIME", "ENHANCEDSTATUSCODES", fmt.Sprintf("SIZE %d", c.limit())}
	if c.TLS != nil && !c.secure {
		lines = append(lines, "STARTTLS")
	}
	if c.Users != nil && (c.secure || c.TLS == nil) {
		lines = append(lines, "AUTH "+strings.Join(c.mechanisms(), " "))
	}
	for i, text := range lines {
		mark := "-"
		if i == len(lines)-1 {
			mark = " "
		}
		if err := c.say("250" + mark + text); err != nil {
			return err
		}
	}
	return nil
}

func (c *smtpSession) mechanisms() []string {
	if c.Auth != nil {
		return c.Auth
	}
	return []string{"PLAIN", "LOGIN"}
}

func (c *smtpSession) limit() int {
	if c.MaxBytes > 0 {
		return c.MaxBytes
	}
	return 1 << 20
}

func (c *smtpSession) startTLS() error {
	if c.TLS == nil || c.secure {
		return c.say("503 5.5.1 no TLS now")
	}
	if err := c.say("220 2.0.0 go ahead"); err != nil {
		return err
	}
	encrypted := tls.Server(c.conn, c.TLS)
	if err := encrypted.HandshakeContext(c.ctx); err != nil {
		return err
	}
	c.conn, c.r = encrypted, bufio.NewReader(encrypted)
	c.secure, c.greeted = true, false
	return nil
}

func (c *smtpSession) auth(rest string) error {
	if !c.secure {
		c.wrong("a login without TLS")
		return c.say("538 5.7.11 encryption is needed")
	}
	mechanism, initial, _ := strings.Cut(rest, " ")
	if !slices.Contains(c.mechanisms(), mechanism) {
		return c.say("504 5.5.4 unknown mechanism")
	}
	var user, password string
	switch mechanism {
	case "XOAUTH2", "OAUTHBEARER":
		return c.authToken(mechanism, initial)
	case "PLAIN":
		decoded, err := base64.StdEncoding.DecodeString(initial)
		parts := strings.Split(string(decoded), "\x00")
		if err != nil || len(parts) != 3 {
			return c.say("501 5.5.2 cannot decode")
		}
		user, password = parts[1], parts[2]
	case "LOGIN":
		for _, ask := range []struct {
			prompt string
			into   *string
		}{{"Username:", &user}, {"Password:", &password}} {
			if err := c.say("334 " + base64.StdEncoding.EncodeToString([]byte(ask.prompt))); err != nil {
				return err
			}
			line, err := c.line()
			if err != nil {
				return err
			}
			decoded, err := base64.StdEncoding.DecodeString(line)
			if err != nil {
				return c.say("501 5.5.2 cannot decode")
			}
			*ask.into = string(decoded)
		}
	}
	if want, ok := c.Users[user]; !ok || want != password {
		return c.say("535 5.7.8 wrong login: " + password) // some servers do quote it
	}
	c.loggedIn = true
	return c.say("235 2.7.0 welcome")
}

// mailPath reads <address> and leaves parameters out.
func mailPath(rest, keyword string) (string, bool) {
	if len(rest) < len(keyword) || !strings.EqualFold(rest[:len(keyword)], keyword) {
		return "", false
	}
	address, _, _ := strings.Cut(rest[len(keyword):], " ")
	if !strings.HasPrefix(address, "<") || !strings.HasSuffix(address, ">") {
		return "", false
	}
	return strings.Trim(address, "<>"), true
}

func (c *smtpSession) from(rest string) error {
	switch address, ok := mailPath(rest, "FROM:"); {
	case !c.greeted || c.mail != nil:
		c.wrong("MAIL out of order")
		return c.say("503 5.5.1 bad sequence of commands")
	case c.Users != nil && !c.loggedIn:
		return c.say("530 5.7.0 log in first")
	case !ok:
		c.wrong("MAIL %q", rest)
		return c.say("501 5.5.4 syntax")
	default:
		c.mail = &Mail{From: address}
		return c.say("250 2.1.0 ok")
	}
}

func (c *smtpSession) to(rest string) error {
	address, ok := mailPath(rest, "TO:")
	if !ok || c.mail == nil {
		c.wrong("RCPT %q", rest)
		return c.say("503 5.5.1 bad sequence of commands")
	}
	return c.run("RCPT "+address, func() error {
		c.mail.To = append(c.mail.To, address)
		return c.say("250 2.1.5 ok")
	})
}

func (c *smtpSession) data() error {
	if c.mail == nil || len(c.mail.To) == 0 {
		c.wrong("DATA without a recipient")
		return c.say("503 5.5.1 bad sequence of commands")
	}
	if err := c.say("354 go ahead"); err != nil {
		return err
	}
	var content bytes.Buffer
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		if line == "." {
			break
		}
		if len(line) > 998 {
			c.wrong("a line of %d bytes", len(line))
		}
		content.WriteString(strings.TrimPrefix(line, ".") + "\r\n")
	}
	mail := c.mail
	c.mail = nil
	mail.Data = content.Bytes()
	if len(mail.Data) > c.limit() {
		return c.say("552 5.3.4 message is too large")
	}
	keep := func() {
		c.mu.Lock()
		c.mails = append(c.mails, *mail)
		c.mu.Unlock()
	}
	c.mu.Lock()
	lost := len(c.answers["CONTENT"]) > 0 && c.answers["CONTENT"][0] == "lost"
	if lost {
		c.answers["CONTENT"] = c.answers["CONTENT"][1:]
	}
	c.mu.Unlock()
	if lost {
		keep()
		return errHangUp
	}
	return c.run("CONTENT", func() error {
		keep()
		return c.say("250 2.0.0 queued")
	})
}
