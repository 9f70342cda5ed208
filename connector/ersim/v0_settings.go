package ersim

import (
	"encoding/base64"
	"maps"
	"strings"
)

// v0SettingTable lists the calls around mail, keys of feeds and agent options.
func (s *Server) v0SettingTable() []route {
	return []route{
		{"v0-email-configure", "POST", "/email/configure", needToken, s.v0EmailConfigure, nil},
		{"v0-email-test", "POST", "/email/test", needToken, s.v0EmailTest, nil},
		{"v0-apikeys-get", "GET", "/apikeys", needToken, s.v0Keys, nil},
		{"v0-apikeys-set", "POST", "/apikeys", needToken, s.v0KeysSet, nil},
		{"v0-options-add", "POST", "/options/add", needToken, s.v0Options, nil},
	}
}

// API: POST /email/configure. Nothing is sent to try it. The answer has the
// password in base64, with the newline of Python's encoder, and the older documents
// tell the recipients before as emails.
func (s *Server) v0EmailConfigure(c *call) answer {
	for _, one := range [][2]string{
		{"email", "from email"}, {"smtpPort", "smtp port"}, {"smtpAddress", "smtp address"}, {"password", "password of the from mail"},
		{"emailRecipients", "list of to-email addresses"},
	} {
		c.need(one[0], one[1])
	}
	port := c.number("smtpPort", "smtp port", 0)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	m := &mailSettings{
		from: c.text("email"), server: c.text("smtpAddress"), password: c.text("password"), port: port, recipients: c.array("emailRecipients"),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, given := range []struct{ value, refusal string }{
		{m.from, "Please provide the sender email"}, {m.password, "Please provide the sender email password"},
		{m.server, "Please provide the  smtp address"},
	} {
		if given.value == "" {
			return s.fail(given.refusal)
		}
	}
	before := []string{}
	if s.email.settings != nil {
		before = s.email.settings.recipients
	}
	s.email.settings = m
	out := obj{
		"email": m.from, "smtpAddress": m.server, "smtpPort": c.values["smtpPort"], "emailRecipients": textList(m.recipients),
		"password": base64.StdEncoding.EncodeToString([]byte(m.password)) + "\n",
	}
	if s.older() {
		out["emailRecipients"], out["emails"] = strings.Join(m.recipients, ","), strings.Join(before, ",")
	}
	return s.v0OK("Successfully updated the details", out)
}

// API: POST /email/test, with settings of its own.
func (s *Server) v0EmailTest(c *call) answer {
	c.need("username", "username to send mail from")
	c.need("smtp", "smtp")
	c.need("password", "password of the username")
	c.need("recipients", "recipients with comma separated")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	const submission = 587 // the mail server's port is not an argument
	m := &mailSettings{
		from: c.text("username"), server: c.text("smtp"), password: c.text("password"), port: submission,
		recipients: strings.Split(c.text("recipients"), ","),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.sendTestMail(m) {
		return s.fail("Could not validate credentials. Please enable less secure apps if using gmail and verify security alert prompt on your mail. ")
	}
	return s.v0OK("A Test mail is sent to the recipients successfully", nil)
}

// API: GET /apikeys, in clear.
func (s *Server) v0Keys(*call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.v0OK("API keys were fetched successfully", s.keyObject())
}

// API: POST /apikeys. Nothing checks the keys. What is left out stays, and the key
// of IBM counts with its password only.
func (s *Server) v0KeysSet(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := func(feed string, credentials obj) {
		if s.management.keys[feed] == nil {
			s.management.keys[feed] = obj{}
		}
		maps.Copy(s.management.keys[feed], credentials)
	}
	if key, pass := c.text("IBMxForceKey"), c.text("IBMxForcePass"); key != "" && pass != "" {
		set("ibmxforce", obj{"key": key, "pass": pass})
	}
	if key := c.text("vt_key"); key != "" {
		set("virustotal", obj{"key": key})
	}
	if key := c.text("otx_key"); key != "" {
		set("alienvault", obj{"key": key})
	}
	return s.v0OK("API keys were updated successfully", s.keyObject())
}

// API: POST /options/add. What is sent takes the place of all options.
func (s *Server) v0Options(c *call) answer {
	c.need("option", "option data")
	options := c.object("option", "option data")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release2.options = options
	return s.v0OK("options are updated successfully", options)
}
