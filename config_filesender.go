package main

import (
	"strings"
	"time"

	"fileshare/server"
)

// FileSenderConfig is apis.filesender.
type FileSenderConfig struct {
	Enabled     bool     `mapstructure:"enabled"`
	Maintenance bool     `mapstructure:"maintenance"`
	TTL         Duration `mapstructure:"ttl"`
	MaxTTL      Duration `mapstructure:"max_ttl"`
	Unfinished  Duration `mapstructure:"unfinished"`
	Extensions  int64    `mapstructure:"extensions"`
	ChunkSize   Size     `mapstructure:"chunk_size"`
	Files       int64    `mapstructure:"files"`
	Recipients  int64    `mapstructure:"recipients"`
	Size        Size     `mapstructure:"size"`
	Banned      []string `mapstructure:"banned"`
}

func (c *Config) checkFileSender(k *configCheck) {
	f := &c.APIs.FileSender
	const key = "apis.filesender."
	k.duration(key+"ttl", f.TTL, time.Second)
	k.duration(key+"max_ttl", f.MaxTTL, time.Second)
	k.want(k.failed[key+"max_ttl"] || f.TTL <= f.MaxTTL, key+"ttl", time.Duration(f.TTL), "at most "+key+"max_ttl ("+time.Duration(f.MaxTTL).String()+")")
	k.duration(key+"unfinished", f.Unfinished, time.Second)
	k.want(f.Extensions >= 0 && f.Extensions <= 1000, key+"extensions", f.Extensions, "0 (none) to 1000")
	k.want(f.ChunkSize >= 64<<10 && f.ChunkSize <= 64<<20, key+"chunk_size", f.ChunkSize, "64KiB to 64MiB")
	k.want(f.Files >= 1 && f.Files <= 1000, key+"files", f.Files, "1 to 1000")
	k.want(f.Recipients >= 1 && f.Recipients <= 1000, key+"recipients", f.Recipients, "1 to 1000")
	k.want(f.Size >= 0, key+"size", f.Size, "0 (no limit) or more")
	for _, ending := range f.Banned {
		k.want(ending != "" && !strings.ContainsAny(ending, "./\\") && !hasControl(ending), key+"banned", ending, "an ending of file names, without a dot")
	}
}

// fileSender is the API of FileSender as it is configured; nil: not at all.
func (c *Config) fileSender() *server.FileSender {
	f := &c.APIs.FileSender
	if !f.Enabled {
		return nil
	}
	// No session lives longer than all may.
	most := min(f.MaxTTL, c.Models.Session.MaxTTL)
	return &server.FileSender{Maintenance: f.Maintenance, TTL: time.Duration(min(f.TTL, most)), MaxTTL: time.Duration(most), Unfinished: time.Duration(f.Unfinished), Extensions: int(f.Extensions),
		ChunkSize: int64(f.ChunkSize), Files: int(f.Files), Recipients: int(f.Recipients), Size: int64(f.Size), Banned: f.Banned}
}
