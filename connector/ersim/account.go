package ersim

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// accountState is the state behind users, roles, single sign-on and passwords. The
// accounts themselves are Server.users.
type accountState struct {
	lastUser   int64
	activities []activity // oldest first
}

// accountTable lists the calls around users, roles, single sign-on and passwords.
func (s *Server) accountTable() []route {
	const (
		open4  = only4
		token4 = needToken | only4
		admin4 = needToken | needAdmin | only4
	)
	return []route{
		{"auth-sso-login", "GET", "/sso/login", open4, s.ssoLogin, nil},
		{"auth-sso-callback", "POST", "/sso/callback", open4, s.ssoCallback, nil},

		{"users-list", "GET", "/users", admin4, s.usersList, nil},
		{"users-create", "POST", "/users", admin4, s.usersCreate, nil},
		{"users-assign-role", "PUT", "/users", admin4, s.usersAssignRole, nil},
		{"users-get-me", "GET", "/users/me", token4, s.usersGet, nil},
		{"users-update-me", "PUT", "/users/me", token4, s.usersUpdate, nil},
		{"users-change-my-password", "PUT", "/users/me/password", token4, s.passwordChange, nil},
		{"users-activity", "GET", "/users/platform_activity", admin4, s.usersActivity, nil},
		{"users-get", "GET", "/users/user/{id:int}", admin4, s.usersGet, nil},
		{"users-update", "PUT", "/users/user/{id:int}", admin4, s.usersUpdate, nil},
		{"users-reset-password", "PUT", "/users/user/{id:int}/password", admin4, s.passwordReset, nil},

		{"management-changepw", "POST", "/management/changepw", needToken, s.passwordChange, nil},
		{"management-verifypw", "POST", "/management/verifypw", token4, s.passwordVerify, nil},
	}
}

// buildAccount makes the state of a new server.
func (s *Server) buildAccount() {
	s.account.lastUser = int64(len(s.users))
	for _, u := range s.users {
		u.first, u.email = u.name, u.name+"@example.com"
	}
}

// user finds an account by id.
func (s *Server) user(id int64) *user {
	for _, u := range s.users {
		if u.id == id {
			return u
		}
	}
	return nil
}

// otherUser finds an account, not that of except, for which want holds.
func (s *Server) otherUser(except *user, want func(*user) bool) *user {
	for _, u := range s.users {
		if u != except && want(u) {
			return u
		}
	}
	return nil
}

func (u *user) object() obj {
	return obj{
		"id": u.id, "username": u.name, "first_name": u.first, "last_name": u.last, "email": u.email,
		"status": !u.disabled, "enable_sso": u.sso, "roles": []string{u.role},
	}
}

func (u *user) matches(search string) bool {
	return slices.ContainsFunc([]string{u.name, u.email, u.first, u.last}, func(text string) bool {
		return strings.Contains(strings.ToLower(text), search)
	})
}

// API: GET /users. In no order unless one is asked for: here that of creation.
func (s *Server) usersList(c *call) answer {
	start, limit := c.number("start", "start", 0), c.number("limit", "limit", 10)
	active := c.flag("status", "status")
	c.choice("column", "col", "username")
	order := c.choice("order_by", "order_by", "ASC", "asc", "Asc", "DESC", "desc", "Desc")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	role := c.text("role")
	if start < 0 || limit < 0 || role != "" && !isRole(role) {
		return s.crash()
	}
	if limit == 0 {
		limit = -1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	search := strings.ToLower(c.text("searchterm"))
	var found []*user
	for _, u := range s.users {
		if (active == nil || *active == !u.disabled) && (role == "" || role == u.role) && (search == "" || u.matches(search)) {
			found = append(found, u)
		}
	}
	switch strings.ToLower(order) {
	case "asc":
		slices.SortStableFunc(found, func(a, b *user) int { return cmp.Compare(a.name, b.name) })
	case "desc":
		slices.SortStableFunc(found, func(a, b *user) int { return cmp.Compare(b.name, a.name) })
	}
	results := []obj{}
	for _, u := range page(found, start, limit) {
		results = append(results, u.object())
	}
	return s.ok("All users information has been fetched successfully",
		obj{"results": results, "count": len(found), "total_count": len(s.users)})
}

func isRole(name string) bool { return name == roleAdmin || name == roleAnalyst }

const (
	badUsername = "Username should contain atleast one alphabet and should have length between 3 and 64"
	badPassword = "Password should contain 1 uppercase, 1 lowercase, 1 digit, 1 special character and min 8 characters of length!"
	badRole     = "There is no such role"
)

// validUsername is the rule of release 4.0: the limits themselves are outside.
func validUsername(name string) bool {
	n := utf8.RuneCountInString(name)
	return n > 3 && n < 64 && strings.ContainsFunc(name, unicode.IsLetter)
}

// strongPassword is the rule of release 4.0.
func strongPassword(password string) bool {
	special := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	return utf8.RuneCountInString(password) >= 8 && strings.ToLower(password) != password && strings.ToUpper(password) != password &&
		strings.ContainsFunc(password, special) && strings.ContainsFunc(password, unicode.IsDigit)
}

var emailForm = regexp.MustCompile(`^\S+@\S+\.\S+$`)

// email is the argument of that name; another form than that of an address is a
// mistake, empty text included.
func (a *args) email() string {
	if a.present("email") && !emailForm.MatchString(a.text("email")) {
		a.mistake("email", "email", "Provided email is not in a valid format!")
	}
	return a.text("email")
}

// API: POST /users. Who is made this way has to change the password.
func (s *Server) usersCreate(c *call) answer {
	for _, name := range []string{"username", "email", "password", "first_name", "role"} {
		c.need(name, name)
	}
	u := &user{
		name: strings.TrimSpace(c.text("username")), password: c.text("password"), role: c.text("role"), email: c.email(),
		first: c.text("first_name"), last: c.text("last_name"), mustChange: true,
	}
	sso := c.flag("enable_sso", "enable sso")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	u.sso = sso != nil && *sso
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !validUsername(u.name):
		return s.fail(badUsername)
	case !strongPassword(u.password):
		return s.fail(badPassword)
	case s.otherUser(nil, func(o *user) bool { return o.name == u.name }) != nil:
		return s.fail("User with the username '" + u.name + "' already exists!")
	case !isRole(u.role):
		return s.fail(badRole)
	case s.otherUser(nil, func(o *user) bool { return o.email == u.email }) != nil:
		return s.fail("User with this mail id already exists!")
	}
	s.account.lastUser++
	u.id = s.account.lastUser
	s.users = append(s.users, u)
	s.record(c.user, "created", item{"User", u.id, u.name})
	return s.ok("User '"+u.name+"' has been created successfully", nil)
}

// API: PUT /users. Who calls is left out, and so are names that nobody has.
func (s *Server) usersAssignRole(c *call) answer {
	c.need("username", "username")
	c.need("role", "role")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	names, role := c.array("username"), c.text("role")
	var chosen []*user
	for _, u := range s.users {
		if u.id != c.user.id && slices.Contains(names, u.name) {
			chosen = append(chosen, u)
		}
	}
	switch {
	case len(chosen) == 0:
		return s.fail("At least one correct user is needed for role assignment!")
	case !isRole(role):
		return s.fail(badRole)
	}
	for _, u := range chosen {
		u.role = role
		s.record(c.user, "updated", item{"User", u.id, u.name})
	}
	return s.ok("Users have been assigned with role '"+role+"' successfully", nil)
}

// addressed is the user that a path names: the one with the id, or the caller
// without one. The id 0 counts as none.
func (s *Server) addressed(c *call) *user {
	if id, err := strconv.ParseInt(defaultText(c.path["id"], "0"), 10, 64); err != nil || id != 0 {
		return s.user(id)
	}
	return s.user(c.user.id)
}

func (s *Server) noUser(c *call) answer {
	return s.fail("Could not find a user with id '" + c.path["id"] + "'!")
}

// API: GET /users/user/{user_id}, GET /users/me.
func (s *Server) usersGet(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.addressed(c)
	if u == nil {
		return s.noUser(c)
	}
	return s.ok("User information has been fetched successfully", u.object())
}

// API: PUT /users/user/{user_id}, PUT /users/me. Nobody changes the own role or
// locks himself out. Analysts change names only; of the rest they are not told.
func (s *Server) usersUpdate(c *call) answer {
	email, active, sso := c.email(), c.flag("status", "status"), c.flag("enable_sso", "enable_sso")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u, role, name := s.addressed(c), c.text("role"), strings.TrimSpace(c.text("new_user_name"))
	switch {
	case c.present("new_user_name") && !validUsername(c.text("new_user_name")):
		return s.fail(badUsername)
	case u == nil:
		return s.noUser(c)
	case role != "" && !isRole(role):
		return s.fail(badRole)
	}
	self := u.id == c.user.id
	switch {
	case self && u.role == roleAdmin:
		if active != nil && *active == u.disabled || role != "" && role != u.role {
			return s.fail("Current user will not able to change role or deactivate self")
		}
	case self:
		email, role, active, sso = "", "", nil, nil
	}
	switch {
	case name != "" && s.otherUser(u, func(o *user) bool { return o.name == name }) != nil:
		return s.fail("This username is being used already by another user!")
	case email != "" && s.otherUser(u, func(o *user) bool { return o.email == email }) != nil:
		return s.fail("This email is being used already by another user!")
	}
	u.name, u.email = defaultText(name, u.name), defaultText(email, u.email)
	u.first, u.role = defaultText(c.text("first_name"), u.first), defaultText(role, u.role)
	if c.present("last_name") {
		u.last = c.text("last_name")
	}
	if active != nil {
		u.disabled = !*active
	}
	if sso != nil {
		u.sso = *sso
	}
	s.record(c.user, "updated", item{"User", u.id, u.name})
	return s.ok("User's info has been updated successfully", nil)
}

// API: PUT /users/user/{user_id}/password. It ends the user's sessions.
func (s *Server) passwordReset(c *call) answer {
	c.need("new_password", "new password")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, err := strconv.ParseInt(c.path["id"], 10, 64)
	u := s.user(id)
	switch {
	case err != nil || u == nil:
		return s.fail("No user exists with this id!")
	case !strongPassword(c.text("new_password")):
		return s.fail(badPassword)
	}
	u.password, u.mustChange = c.text("new_password"), true
	s.revokeTokens(u)
	return s.ok("Password is updated successfully", nil)
}

// API: PUT /users/me/password, POST /management/changepw. In release 4.0 it ends
// all sessions of the caller; before, any password will do and sessions stay.
func (s *Server) passwordChange(c *call) answer {
	c.need("old_password", "old password")
	c.need("new_password", "new password")
	c.need("confirm_new_password", "confirm new password")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u, password := s.user(c.user.id), c.text("new_password")
	switch {
	case s.profile.v4 && !strongPassword(password):
		return s.fail(badPassword)
	case u.password != c.text("old_password"):
		return s.fail("Old password is not matching")
	case u.password == password:
		return s.fail("New password and old password should not be same")
	case password != c.text("confirm_new_password"):
		return s.fail("New password and confirm new password are not matching for the user")
	}
	u.password, u.mustChange = password, false
	if s.profile.v4 {
		s.revokeTokens(u)
	}
	return s.ok("Password is updated successfully", nil)
}

// API: POST /management/verifypw.
func (s *Server) passwordVerify(c *call) answer {
	c.need("password", "password of the user to verify")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.user(c.user.id).password != c.text("password") {
		return s.fail("Password is not matching with the current user")
	}
	return s.ok("Password for the current user is verified successfully", nil)
}
