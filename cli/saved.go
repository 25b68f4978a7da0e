package cli

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fileshare/client"
)

const (
	// savedFor is how long an interrupted upload is kept here: longer than servers
	// keep theirs.
	savedFor = 7 * 24 * time.Hour
	// mostSaved bounds how many are kept; the oldest ones go first.
	mostSaved = 100
)

// savedUpload is an upload that is not finished, kept beside the configuration.
// It belongs to a server and to a file as it was: path, size and time.
type savedUpload struct {
	Server     string            `json:"server"`
	Path       string            `json:"path"` // absolute
	Size       int64             `json:"size"`
	Modified   time.Time         `json:"modified"`
	Begun      time.Time         `json:"begun"`
	Spec       savedSpec         `json:"spec"`
	Downloads  int64             `json:"downloads"`
	Unfinished client.Unfinished `json:"unfinished"`
}

// savedSpec is what was asked for.
type savedSpec struct {
	Name         string        `json:"name"`
	TTL          time.Duration `json:"ttl"`
	MaxDownloads int64         `json:"max_downloads"`
	Tags         []string      `json:"tags"`
	Session      string        `json:"session"`
}

func (s savedSpec) upload() client.UploadSpec {
	return client.UploadSpec{Name: s.Name, TTL: s.TTL, MaxDownloads: s.MaxDownloads, Tags: s.Tags, Session: s.Session}
}

func newSaved(server, path string, info fs.FileInfo, spec client.UploadSpec) (*savedUpload, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return &savedUpload{
		Server: server, Path: abs, Size: info.Size(), Modified: info.ModTime(), Begun: time.Now(),
		Spec: savedSpec{spec.Name, spec.TTL, spec.MaxDownloads, spec.Tags, spec.Session},
	}, nil
}

// fits tells whether a file is still the one that was begun with.
func (s *savedUpload) fits(info fs.FileInfo) bool {
	return info.Mode().IsRegular() && info.Size() == s.Size && info.ModTime().Equal(s.Modified)
}

func savedDir() (string, error) {
	dir, err := configDir()
	return filepath.Join(dir, "uploads"), err
}

// file is where an upload is kept: what it belongs to tells its name.
func (s *savedUpload) file() (string, error) {
	dir, err := savedDir()
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %d %d", s.Server, s.Path, s.Size, s.Modified.UnixNano())
	return filepath.Join(dir, hex.EncodeToString(h.Sum(nil)[:16])+".json"), err
}

// save keeps an upload, and forgets what is too old or too much.
func (s *savedUpload) save() error {
	all, err := savedUploads()
	if err != nil {
		return err
	}
	for _, old := range all[min(len(all), mostSaved-1):] {
		if err := old.remove(); err != nil {
			return err
		}
	}
	path, err := s.file()
	if err != nil {
		return err
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return writeSecret(path, raw)
}

func (s *savedUpload) remove() error {
	path, err := s.file()
	if err == nil {
		err = os.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// savedUploads are all that are kept, the newest first. Those that are over are
// forgotten.
func savedUploads() ([]*savedUpload, error) {
	dir, err := savedDir()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []*savedUpload
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		path := filepath.Join(dir, e.Name())
		s := new(savedUpload)
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // another process was faster
		}
		if err != nil {
			return nil, err
		}
		if json.Unmarshal(raw, s) != nil || time.Since(s.Begun) > savedFor {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			continue
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *savedUpload) int { return cmp.Compare(b.Begun.UnixNano(), a.Begun.UnixNano()) })
	return all, nil
}

// savedPaths completes the files of interrupted uploads.
func savedPaths() []string {
	all, _ := savedUploads()
	var paths []string
	for _, s := range all {
		paths = append(paths, s.Path)
	}
	return paths
}
