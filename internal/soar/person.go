package soar

import (
	"fmt"
	"strconv"
	"strings"
)

// SystemUser is who the operating system says that somebody is.
type SystemUser struct {
	UID  int64  `json:"uid"`
	Name string `json:"name,omitempty"` // empty where the system has none
}

func (u SystemUser) String() string {
	return strings.TrimSpace(fmt.Sprintf("uid %d %s", u.UID, u.Name))
}

// Signed is the name that somebody gives, with the user behind it: alice (uid 1000 al). A
// user that the name has already is replaced: nobody vouches for what he says himself.
func Signed(name string, user SystemUser) string {
	name, _, _ = ParseSigned(name)
	if name == user.Name {
		return fmt.Sprintf("%s (uid %d)", name, user.UID)
	}
	return fmt.Sprintf("%s (%s)", name, user)
}

// ParseSigned takes the text of Signed apart. ok is false for a name alone.
func ParseSigned(text string) (name string, user SystemUser, ok bool) {
	name, rest, found := strings.Cut(text, " (uid ")
	if !found {
		return text, user, false
	}
	rest = strings.TrimSuffix(rest, ")")
	number, login, named := strings.Cut(rest, " ")
	uid, err := strconv.ParseInt(number, 10, 64)
	if !named {
		login = name
	}
	return name, SystemUser{uid, login}, err == nil
}
