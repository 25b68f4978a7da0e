package extrahorizon

import (
	"context"
	"encoding/json"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	wire "fileshare/api"
	"fileshare/server/reply"
	"fileshare/store"
)

// Bounds of the settings.
const (
	mostTypes    = 1000
	mostTypeText = 255 // bytes
)

const settingsName = "extrahorizon.files"

// settings are those of the whole service.
type settings struct {
	// InlineTypes are media types that a browser may show. There are no
	// wildcards but */* for all.
	InlineTypes []string `json:"disableForceDownloadForMimeTypes"`
}

// readSettings returns the settings and when they were changed, the zero time
// if never.
func (a *api) readSettings(ctx context.Context) (s settings, changed time.Time, err error) {
	doc, changed, err := a.Store.Setting(ctx, settingsName)
	if err != nil || doc == nil {
		return settings{InlineTypes: []string{}}, changed, err
	}
	return s, changed, json.Unmarshal(doc, &s)
}

func (a *api) getSettings(w http.ResponseWriter, r *http.Request) error {
	if _, err := a.permitted(r, store.ViewSettings); err != nil {
		return err
	}
	s, changed, err := a.readSettings(r.Context())
	if err != nil {
		return err
	}
	if changed.IsZero() {
		changed = time.UnixMilli(0) // programs expect a time
	}
	return reply.JSON(w, struct {
		settings
		Updated wire.Time `json:"updateTimestamp"`
	}{s, stamp(changed)})
}

// putSettings replaces what the body has and leaves the rest alone.
func (a *api) putSettings(w http.ResponseWriter, r *http.Request) error {
	caller, err := a.permitted(r, store.UpdateSettings)
	if err != nil {
		return err
	}
	said, err := needObject(r)
	if err != nil {
		return err
	}
	s, _, err := a.readSettings(r.Context())
	if err != nil {
		return err
	}
	if raw, ok := said["disableForceDownloadForMimeTypes"]; ok {
		if s.InlineTypes, err = typeList(raw); err != nil {
			return err
		}
	}
	doc, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := a.Store.PutSetting(r.Context(), caller, settingsName, doc); err != nil {
		return err
	}
	return reply.JSON(w, affected{1})
}

// typeList reads a list of strings. Null is none: a member that is null says
// nothing about what the list shall be.
func typeList(raw json.RawMessage) ([]string, error) {
	var list []*string
	if err := json.Unmarshal(raw, &list); err != nil || list == nil || len(list) > mostTypes {
		return nil, refuseCause(codeFieldFormat, "disableForceDownloadForMimeTypes must be a list of strings", err)
	}
	types := []string{}
	for _, t := range list {
		if t == nil || len(*t) > mostTypeText {
			return nil, refuse(codeFieldFormat, "disableForceDownloadForMimeTypes must be a list of strings")
		}
		types = append(types, *t)
	}
	return types, nil
}

// shows tells whether a browser may show a type.
func (s settings) shows(mediaType string) bool {
	bare, _, err := mime.ParseMediaType(mediaType)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(s.InlineTypes, func(t string) bool {
		if t == "*/*" {
			return true
		}
		t, _, _ = strings.Cut(t, ";")
		return strings.EqualFold(strings.TrimSpace(t), bare)
	})
}
