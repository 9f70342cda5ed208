package config

import (
	"strconv"
	"time"

	"github.com/erbridge/erbridge/internal/evidence"
)

// Carves says how files are kept that were carved from hosts. Where, and how large one
// may be, say actions.carve_dir and actions.max_carve_bytes.
type Carves struct {
	// Stall is how long nothing new may be seen of a carve that is under way; then its
	// step fails. A server that does not tell how many blocks it has shows nothing new
	// until it has all of them: there, a second is added for every 64 KiB of the carve.
	Stall time.Duration `yaml:"stall"`

	// Recipients are public keys of age (age1...). With any, archives are encrypted to
	// all of them before they reach the disk, and erbridge itself cannot read them again.
	Recipients []string `yaml:"recipients"`

	// Keep is how long an archive is kept, from its download, such as 90d; 0 keeps it for
	// ever. What a run uses that has not ended is kept, and of what is deleted, manifest
	// and record of custody stay.
	Keep time.Duration `yaml:"keep"`

	// MaxTotal bounds what all archives together take on disk, in bytes; beyond it, the
	// oldest are deleted. 0 is no bound.
	MaxTotal int64 `yaml:"max_total"`
}

// Evidence are the options of the store of carves.
func (c *Config) Evidence() evidence.Options {
	return evidence.Options{
		MaxBytes: c.Actions.MaxCarveBytes, Recipients: c.Carves.Recipients, Keep: c.Carves.Keep, MaxTotal: c.Carves.MaxTotal,
	}
}

func (c *checker) checkCarves() {
	carves := c.cfg.Carves
	c.positive(carves.Stall, "carves", "stall")
	switch limit := c.cfg.Actions.MaxCarveBytes; {
	case carves.MaxTotal < 0:
		c.addf([]string{"carves", "max_total"}, "out-of-range", "0 is no bound", "max_total must not be below 0")
	case carves.MaxTotal > 0 && carves.MaxTotal < limit:
		c.addf([]string{"carves", "max_total"}, "out-of-range", "make it several times as large as actions.max_carve_bytes",
			"max_total is %d, and one carve alone may have %d bytes: it would be deleted as soon as it is there", carves.MaxTotal, limit)
	}
	for i, text := range carves.Recipients {
		if err := evidence.CheckRecipient(text); err != nil {
			c.addf([]string{"carves", "recipients", strconv.Itoa(i)}, "bad-recipient", "age-keygen -o key.txt makes a key and shows its public part", "%v", err)
		}
	}
}
