package connector

import (
	"encoding/base64"
	"testing"
)

func TestTokenEndOfOddTokens(t *testing.T) {
	head := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) + ".e30.x" }
	for token, want := range map[string]string{
		head(`{"alg":"HS512","iat":1795300000,"exp":1795904800}`): "2026-11-28T22:26:40Z",
		head(`{"exp":"1795904800"}`):                              "2026-11-28T22:26:40Z",
		head(`{"exp":-1}`):                                        "",
		head(`{"exp":1e400}`):                                     "",
		head(`{"exp":1.5}`):                                       "",
		head(`{}`):                                                "",
		head(`[]`):                                                "",
		"!!.e30.x":                                                "",
		"opaque":                                                  "",
		"":                                                        "",
	} {
		end, ok := tokenEnd(token)
		got := ""
		if ok {
			got = end.Format("2006-01-02T15:04:05Z07:00")
		}
		if got != want {
			t.Errorf("%s: %q, want %q", token, got, want)
		}
	}
}
