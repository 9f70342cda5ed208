package config

import (
	"os"
	"strings"
	"testing"
)

// What the page on delivery shows, can be written like that.
func TestDeliveryInTheDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/howto/delivery.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```yaml\n")[1:]
	if len(blocks) != 2 {
		t.Fatalf("%d blocks of settings", len(blocks))
	}
	for _, block := range blocks {
		settings, _, _ := strings.Cut(block, "```")
		if _, err := Parse("delivery.md", []byte(leastServer+settings)); err != nil {
			t.Errorf("%s\n%v", settings, err)
		}
	}
}
