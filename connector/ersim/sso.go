package ersim

import (
	"bytes"
	"compress/flate"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"html"
	"net/http"
	"net/url"
	"strings"
)

// ssoConfig is what the server knows of the identity provider.
type ssoConfig struct {
	metadata, app, entity string
}

// API: GET /sso/login. It sends the browser to the identity provider.
func (s *Server) ssoLogin(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	config := s.management.sso
	switch {
	case s.management.ssoEnable != "true":
		return ssoRefusal("ER is not enabled for SSO, Please enable it!")
	case config == nil:
		return ssoRefusal(ssoUnset)
	}
	metadata, err := url.Parse(config.metadata)
	if err != nil || metadata.Host == "" {
		return ssoRefusal(ssoUnset)
	}
	target := url.URL{
		Scheme: metadata.Scheme, Host: metadata.Host, Path: "/sso/saml",
		RawQuery: url.Values{"SAMLRequest": {samlRequest(config.entity)}}.Encode(),
	}
	return answer{status: http.StatusFound, contentType: typeHTML, stream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache, no-store")
		http.Redirect(w, r, target.String(), http.StatusFound)
	})}
}

const ssoUnset = "SAML Configuration is empty/incorrect! Please update before proceeding..."

// samlRequest is a request in the redirect binding: deflated, then base64.
func samlRequest(entity string) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		return ""
	}
	// A buffer takes everything.
	_, _ = w.Write([]byte(`<AuthnRequest xmlns="urn:oasis:names:tc:SAML:2.0:protocol"><Issuer>` + html.EscapeString(entity) + `</Issuer></AuthnRequest>`))
	_ = w.Close()
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// assertion is what the identity provider says.
type assertion struct {
	XMLName   xml.Name `xml:"Response"`
	NameID    string   `xml:"Assertion>Subject>NameID"`
	Audience  string   `xml:"Assertion>Conditions>AudienceRestriction>Audience"`
	Signature string   `xml:"Assertion>Signature>SignatureValue"`
}

// Assertion is the SAMLResponse with which the simulated identity provider vouches
// for a user, named by user name or e-mail address, to the server as it is set up
// now. The signature is the simulator's own, not XML-DSig.
func (s *Server) Assertion(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := assertion{NameID: name}
	if s.management.sso != nil {
		a.Audience = s.management.sso.entity
	}
	a.Signature = s.vouch(a)
	text, err := xml.Marshal(a)
	if err != nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(text)
}

func (s *Server) vouch(a assertion) string {
	mac := hmac.New(sha256.New, s.signKey)
	mac.Write([]byte("saml\x00" + a.NameID + "\x00" + a.Audience))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// API: POST /sso/callback. All answers are pages; the good one leaves the token in
// the browser.
func (s *Server) ssoCallback(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	config := s.management.sso
	if config == nil {
		return ssoRefusal(ssoUnset)
	}
	var said assertion
	text, err := base64.StdEncoding.DecodeString(c.text("SAMLResponse"))
	if err == nil {
		err = xml.Unmarshal(text, &said)
	}
	if err != nil || said.Audience != config.entity || !hmac.Equal([]byte(said.Signature), []byte(s.vouch(said))) {
		return ssoRefusal("SSO Configuration provided is not matching with the app defined in IDP! Please check!")
	}
	u := s.otherUser(nil, func(u *user) bool { return !u.disabled && s.answersTo(u, said.NameID) })
	switch {
	case u == nil:
		return ssoRefusal("No user found for the username/email received from IDP!")
	case !u.sso:
		return ssoRefusal("User has not been assigned to use SSO for the username/email received from IDP!")
	}
	fill := strings.NewReplacer(
		"{to}", scriptText(defaultText(c.text("RelayState"), "https://"+c.request.Host+"/dashboard")),
		"{first}", scriptText(u.first), "{token}", scriptText(s.issue(u)), "{role}", u.role, "{roles}", allRoles,
	)
	return answer{status: http.StatusOK, contentType: typeHTML, body: []byte(fill.Replace(ssoPage))}
}

// scriptText makes text fit to stand between single quotes in a script.
func scriptText(text string) string {
	return strings.NewReplacer("&", "&amp;", "'", "&#39;", "<", "&lt;", ">", "&gt;", "\\", `\\`, "\n", " ").Replace(text)
}

const ssoPage = `<!DOCTYPE html>
<html lang="en"><head><meta charset="UTF-8"><title>Endpoint Response</title></head>
<script>
var store = window.localStorage;
store.setItem('first_name', '{first}');
store.setItem('token', '{token}');
store.setItem('roles', '{role}');
store.setItem('all_roles', '{roles}');
store.setItem('auth_type', 'sso');
window.location = '{to}';
</script>
<body><p>Signed in.</p></body></html>
`

func ssoRefusal(why string) answer {
	page := `<!DOCTYPE html>
<html lang="en"><head><meta charset="UTF-8"><title>Endpoint Response</title></head>
<body>
<p>` + html.EscapeString(why) + `</p>
<p>Back to the login.</p>
</body></html>
`
	return answer{status: http.StatusOK, contentType: typeHTML, body: []byte(page)}
}
