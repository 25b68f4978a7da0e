package main

import (
	"time"

	"fileshare/server"
)

// fileSender is the API of FileSender as it is configured; nil: not at all.
func (c *Config) fileSender() *server.FileSender {
	if !c.APIs.FileSender.Enabled {
		return nil
	}
	const day = 24 * time.Hour
	most := min(20*day, time.Duration(c.Models.Session.MaxTTL))
	return &server.FileSender{TTL: min(10*day, most), MaxTTL: most}
}
