package connector

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// UsersService is the sections "Users" and "Passwords" of the REST guide. All of
// it came with release 3.5, and most of it needs the admin role.
type UsersService struct {
	c    *Client
	turn turn
}

// The roles.
const (
	RoleAdmin   = "admin"
	RoleAnalyst = "analyst"
)

// User is an account of the server.
type User struct {
	ID        int64
	Username  string
	FirstName string
	LastName  string
	Email     string
	// Active tells whether the user may log in.
	Active bool
	// SSO tells whether the user may sign on by the identity provider.
	SSO   bool
	Roles []string // in practice one: admin or analyst
}

// IsAdmin reports whether the user has the admin role.
func (u User) IsAdmin() bool { return slices.Contains(u.Roles, RoleAdmin) }

func readUser(v value) User {
	return User{
		ID:        v.at("id").id(),
		Username:  v.at("username").text(),
		FirstName: v.at("first_name").text(),
		LastName:  v.at("last_name").text(),
		Email:     v.at("email").text(),
		Active:    v.at("status").truth(),
		SSO:       v.at("enable_sso").truth(),
		Roles:     v.at("roles").texts(),
	}
}

func userRow(v value) (User, error) {
	u := readUser(v)
	return u, needID(v, u.ID, "user")
}

// UserQuery filters the list of users. Empty fields filter nothing.
type UserQuery struct {
	Search string // in user name, names and e-mail address
	Active *bool  // may log in, or may not
	Role   string // RoleAdmin or RoleAnalyst
	Desc   bool   // by user name from the end
	// Start is an offset, Limit a page size; default 100.
	Start, Limit int
}

// Page fetches one page of users, by user name. It needs the admin role.
// API: GET /users (REST guide 4.0.0, "Get a list of all users"; since release 3.5).
func (s *UsersService) Page(ctx context.Context, q UserQuery) (page Page[User], err error) {
	const what = "list users"
	in, err := pagingText(what, q.Start, q.Limit)
	if err := errors.Join(err, inSet(what, "role", q.Role, RoleAdmin, RoleAnalyst)); err != nil { // the server crashes on others
		return page, err
	}
	in["searchterm"], in["role"] = q.Search, q.Role
	in["column"], in["order_by"] = "username", "asc" // in no order at all unless asked
	if q.Desc {
		in["order_by"] = "desc"
	}
	if q.Active != nil {
		in["status"] = strconv.FormatBool(*q.Active)
	}
	return paged(ctx, s.c, callUsersList.asking(in), nil, userRow)
}

// pagingText is paging for a query string.
func pagingText(call string, start, limit int) (map[string]string, error) {
	return map[string]string{"start": strconv.Itoa(start), "limit": strconv.Itoa(pageSize(limit))}, fromStart(call, start)
}

// List walks through all users from q.Start on, q.Limit at a time.
func (s *UsersService) List(ctx context.Context, q UserQuery) iter.Seq2[User, error] {
	return listFrom(ctx, &q.Start, &q.Limit, func(ctx context.Context) (Page[User], error) {
		return s.Page(ctx, q)
	}, func(u *User) string { return idKey(u.ID) })
}

// Get fetches a user. It needs the admin role, also for oneself: see Me.
// ErrNotFound if there is none.
// API: GET /users/user/{user_id} (REST guide 4.0.0, "Get information for a user";
// since release 3.5).
func (s *UsersService) Get(ctx context.Context, id int64) (User, error) {
	k, err := userCall(callUsersGet, id)
	if err != nil {
		return User{}, err
	}
	return s.get(ctx, k)
}

// Me fetches the account that this client uses. It is the cheapest call that needs
// a login.
// API: GET /users/me (REST guide 4.0.0, "Get information for a user"; since release
// 3.5).
func (s *UsersService) Me(ctx context.Context) (User, error) { return s.get(ctx, callUsersGetMe) }

func (s *UsersService) get(ctx context.Context, k call) (u User, err error) {
	err = s.c.do(ctx, k, nil, data(func(v value) { u = readUser(v) }))
	if err == nil && u.ID == 0 {
		err = missing(k)
	}
	if err != nil {
		return User{}, err
	}
	return u, nil
}

// userCall puts a user's id into a path. The server takes the id 0 for the caller's.
func userCall(k call, id int64) (call, error) {
	if id < 1 {
		return k, fmt.Errorf("%s: %w: user id %d; ids begin with 1", k.id, ErrInvalid, id)
	}
	return k.with(strconv.FormatInt(id, 10))
}

// checkRole refuses what is not a role.
func checkRole(what, role string) error {
	if role == "" {
		return fmt.Errorf("%s: %w: role is missing; it is admin or analyst", what, ErrInvalid)
	}
	return inSet(what, "role", role, RoleAdmin, RoleAnalyst)
}

// checkEmail refuses what the server would not take for an address.
func checkEmail(what, address string) error {
	name, domain, _ := strings.Cut(address, "@")
	dot := strings.LastIndexByte(domain, '.')
	if name == "" || dot < 1 || dot == len(domain)-1 || strings.ContainsAny(address, " \t\r\n\v\f") {
		return fmt.Errorf("%s: e-mail address: %w: %q is not like name@example.com", what, ErrInvalid, clip(address, 128))
	}
	return nil
}

// NewUser is an account to make.
type NewUser struct {
	Username  string // 4 to 63 characters, one of them a letter
	Email     string
	FirstName string // needed since release 4.0
	LastName  string // may be empty
	// Password is for the first login, at which the server asks for another one. It
	// has 8 or more characters, among them an upper case and a lower case letter, a
	// digit and something else.
	Password soar.Secret
	Role     string // RoleAdmin or RoleAnalyst
	SSO      bool   // may sign on by the identity provider
}

// Create makes an account. It needs the admin role. A name or address that is
// taken, or a weak password, is ErrRefused. The answer does not tell the new id.
// API: POST /users (REST guide 4.0.0, "Create a user"; since release 3.5).
func (s *UsersService) Create(ctx context.Context, u NewUser) error {
	const what = "create user"
	if strings.TrimSpace(u.Username) == "" || u.FirstName == "" {
		return fmt.Errorf("%s: %w: user name and first name are needed", what, ErrInvalid)
	}
	if err := errors.Join(checkEmail(what, u.Email), checkRole(what, u.Role)); err != nil {
		return err
	}
	password, err := reveal(what+": password", u.Password)
	if err != nil {
		return err
	}
	in := map[string]any{
		"username": u.Username, "email": u.Email, "password": password, "first_name": u.FirstName, "role": u.Role, "enable_sso": u.SSO,
	}
	set(in, "last_name", u.LastName)
	return s.c.do(ctx, callUsersCreate, in, nil)
}

// AssignRole gives users a role, in place of the one that they have. It needs the
// admin role. The caller's own name is passed over, and so are names that nobody
// has as long as one is known.
// API: PUT /users (REST guide 4.0.0, "Assign role to users", which shows the names
// as text; the server takes an array; since release 3.5).
func (s *UsersService) AssignRole(ctx context.Context, role string, usernames ...string) error {
	if err := checkRole("assign role", role); err != nil {
		return err
	}
	if len(usernames) == 0 || slices.Contains(usernames, "") {
		return fmt.Errorf("assign role: %w", ErrEmptyTarget)
	}
	return s.c.do(ctx, callUsersAssignRole, map[string]any{"username": usernames, "role": role}, nil)
}

// UserChange is what shall be different about a user. Empty and nil fields leave
// things as they are.
type UserChange struct {
	Username  string
	Email     string
	FirstName string
	LastName  *string // empty text takes the name away
	Role      string  // RoleAdmin or RoleAnalyst
	Active    *bool
	SSO       *bool
}

func (u UserChange) check(what string) error {
	var problems []error
	if u == (UserChange{}) {
		problems = append(problems, fmt.Errorf("%s: %w: nothing to change", what, ErrInvalid))
	}
	if u.Email != "" {
		problems = append(problems, checkEmail(what, u.Email))
	}
	if u.Role != "" {
		problems = append(problems, checkRole(what, u.Role))
	}
	return errors.Join(problems...)
}

// body is the whole account as it shall be. The guide calls e-mail address and role
// needed and false the default of status; the public source of release 4.0 leaves
// alone what is not sent. The whole is right in either case.
func (u UserChange) body(old User) map[string]any {
	in := map[string]any{"status": old.Active, "enable_sso": old.SSO, "last_name": old.LastName}
	set(in, "email", old.Email)
	set(in, "first_name", old.FirstName)
	if len(old.Roles) == 1 {
		in["role"] = old.Roles[0]
	}
	set(in, "new_user_name", u.Username)
	set(in, "email", u.Email)
	set(in, "first_name", u.FirstName)
	set(in, "role", u.Role)
	if u.LastName != nil {
		in["last_name"] = *u.LastName
	}
	if u.Active != nil {
		in["status"] = *u.Active
	}
	if u.SSO != nil {
		in["enable_sso"] = *u.SSO
	}
	return in
}

// Update changes an account: it reads it, changes what u says, and writes it back,
// so that a change that somebody else makes between the two is lost. It needs the
// admin role. Nobody can change the own role or lock himself out: ErrRefused.
// A user who is made inactive is logged out. ErrNotFound if there is no such user.
// API: PUT /users/user/{user_id} (REST guide 4.0.0, "Update details for a user";
// since release 3.5).
func (s *UsersService) Update(ctx context.Context, id int64, u UserChange) error {
	k, err := userCall(callUsersUpdate, id)
	if err != nil {
		return err
	}
	if err := u.check("update user"); err != nil {
		return err
	}
	release, err := s.turn.take(ctx)
	if err != nil {
		return before(k, err)
	}
	defer release()
	old, err := s.Get(ctx, id)
	if err != nil {
		return before(k, err)
	}
	return s.c.do(ctx, k, u.body(old), nil)
}

// UpdateMe changes the account that this client uses, like Update. Analysts change
// their names only: the server would say success to the rest and not do it, so that
// is ErrForbidden and not sent. After a change of Username the configured user name
// has to be changed too.
// API: PUT /users/me (REST guide 4.0.0, "Update details for a user"; since release
// 3.5).
func (s *UsersService) UpdateMe(ctx context.Context, u UserChange) error {
	if err := u.check("update own user"); err != nil {
		return err
	}
	release, err := s.turn.take(ctx)
	if err != nil {
		return before(callUsersUpdateMe, err)
	}
	defer release()
	old, err := s.Me(ctx)
	if err != nil {
		return before(callUsersUpdateMe, err)
	}
	if !old.IsAdmin() && (u.Email != "" || u.Role != "" || u.Active != nil || u.SSO != nil) {
		return fmt.Errorf("update own user: %w: an analyst changes names only", ErrForbidden)
	}
	return s.c.do(ctx, callUsersUpdateMe, u.body(old), nil)
}

// ResetPassword gives a user a new password (rules: see NewUser) and ends all the
// user's sessions. At the next login the server asks the user for another one. It
// needs the admin role.
// API: PUT /users/user/{user_id}/password (REST guide 4.0.0, "Reset a user's
// password"; since release 3.5).
func (s *UsersService) ResetPassword(ctx context.Context, id int64, password soar.Secret) error {
	k, err := userCall(callUsersResetPassword, id)
	if err != nil {
		return err
	}
	text, err := reveal("reset password", password)
	if err != nil {
		return err
	}
	return s.c.do(ctx, k, map[string]any{"new_password": text}, nil)
}

// PasswordChange is a new password for the account that this client uses.
type PasswordChange struct {
	// Old is the present password; unset for that of Options.
	Old soar.Secret
	// New follows the rules of NewUser.Password, before release 3.5 none.
	New soar.Secret
}

// ChangeMyPassword changes the password of the account that this client uses. Since
// release 3.5 that ends all sessions of the account, this client's included: it
// forgets its token, and its next call logs in with the password of Options. So
// the configured password has to be changed too, and a new Client be made;
// until then every call is ErrBadCredentials.
// API: PUT /users/me/password (REST guide 4.0.0, "Change your password"; since
// release 3.5).
func (s *UsersService) ChangeMyPassword(ctx context.Context, p PasswordChange) error {
	return s.c.changePassword(ctx, callUsersChangeMyPassword, p)
}

func (c *Client) changePassword(ctx context.Context, k call, p PasswordChange) error {
	if !p.Old.IsSet() {
		p.Old = c.o.Password
	}
	old, err := reveal("change password: present password", p.Old)
	if err != nil {
		return err
	}
	fresh, err := reveal("change password: new password", p.New)
	if err != nil {
		return err
	}
	in := map[string]any{"old_password": old, "new_password": fresh, "confirm_new_password": fresh}
	if err := c.do(ctx, k, in, nil); err != nil {
		return err
	}
	c.session.forget()
	c.log.Warn("the password was changed: the configured one has to be changed too", "user", c.o.Username)
	return nil
}

// PlatformActivity is something that a user did on the server.
type PlatformActivity struct {
	ID     int64
	Action string // created, updated or deleted
	Text   string // where the item is gone
	At     time.Time

	UserID    int64
	Username  string
	FirstName string
	LastName  string

	// ItemType is the kind of what it was done to, such as Rule, Settings or Alerts;
	// empty where it is gone. ItemID is 0 and ItemName empty where there is none.
	ItemType string
	ItemID   int64
	ItemName string
}

func platformActivityRow(v value) (PlatformActivity, error) {
	user, item := v.at("user"), v.at("item")
	a := PlatformActivity{
		ID:        v.at("id").id(),
		Action:    v.at("action").text(),
		Text:      v.at("text").text(),
		At:        v.at("created_at").time(),
		UserID:    user.at("id").id(),
		Username:  user.at("username").text(),
		FirstName: user.at("first_name").text(),
		LastName:  user.at("last_name").text(),
		ItemType:  item.at("type").text(),
		ItemID:    item.at("id").id(),
		ItemName:  item.at("name").text(),
	}
	return a, needID(v, a.ID, "activity")
}

// PlatformActivityQuery filters what users did. Empty fields filter nothing.
type PlatformActivityQuery struct {
	UserID int64
	Search string // in names of users and of items
	// Start is an offset, Limit a page size; default 100.
	Start, Limit int
}

// ActivityPage fetches one page of what users did, newest first. It needs the admin
// role.
// API: GET /users/platform_activity (REST guide 4.0.0, "Get activity details for a
// user"; since release 3.5).
func (s *UsersService) ActivityPage(ctx context.Context, q PlatformActivityQuery) (page Page[PlatformActivity], err error) {
	in, err := pagingText("platform activity", q.Start, q.Limit)
	if err != nil {
		return page, err
	}
	in["searchterm"] = q.Search
	if q.UserID != 0 {
		in["user_id"] = strconv.FormatInt(q.UserID, 10)
	}
	return paged(ctx, s.c, callUsersActivity.asking(in), nil, platformActivityRow)
}

// Activity walks through what users did from q.Start on, newest first, q.Limit at a
// time.
func (s *UsersService) Activity(ctx context.Context, q PlatformActivityQuery) iter.Seq2[PlatformActivity, error] {
	return listFrom(ctx, &q.Start, &q.Limit, func(ctx context.Context) (Page[PlatformActivity], error) {
		return s.ActivityPage(ctx, q)
	}, func(a *PlatformActivity) string { return idKey(a.ID) })
}
