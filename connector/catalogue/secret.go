package catalogue

import "strings"

// secretEndings are how keys of secrets end, in small letters, without marks between
// the words; an s behind them is that of several.
var secretEndings = []string{
	"password", "passwd", "passphrase", "pwd", "secret", "token", "apikey", "nodekey", "privatekey", "secretkey", "accesskey", "authkey",
	"forcekey", "forcepass", "vtkey", "otxkey", "credential", "authorization", "cookie",
}

var plainKey = strings.NewReplacer("_", "", "-", "", " ", "", ".", "")

// IsSecret reports whether a key of an answer, or an argument, holds a secret, by
// its name alone. Call.Secrets names those that do not show it.
func IsSecret(key string) bool {
	key = plainKey.Replace(strings.ToLower(key))
	for _, ending := range secretEndings {
		if strings.HasSuffix(key, ending) || strings.HasSuffix(key, ending+"s") {
			return true
		}
	}
	return false
}
