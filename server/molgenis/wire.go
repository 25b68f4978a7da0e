package molgenis

import (
	"fileshare/store"
)

// meta is what the API tells of a file: these four fields and no other.
type meta struct {
	ID          string `json:"id"`
	FileName    string `json:"filename"`
	ContentType string `json:"contentType"`
	Size        int64  `json:"size"`
}

// attrType keeps a Content-Type as it was sent, where the engine, which writes
// types in one way, spells it otherwise.
const attrType = "molgenis.type"

// metaOf is f on the wire. The name is the one that was sent, which may have
// slashes, until the file is renamed.
func metaOf(f *store.File) meta {
	m := meta{ID: fromEngine(f.ID), FileName: f.OriginalName, ContentType: typeOf(f), Size: f.Size}
	if store.CleanName(f.OriginalName) != f.Name {
		m.FileName = f.Name
	}
	return m
}

// typeOf is the type of a file as it was sent, unless it was changed since.
func typeOf(f *store.File) string {
	if sent := f.Attrs[attrType]; sent != "" && sameType(sent, f.Type) {
		return sent
	}
	return f.Type
}

// login is the answer to a login.
type login struct {
	Token     string `json:"token"`
	UserName  string `json:"username"`
	FirstName string `json:"firstname"`
	LastName  string `json:"lastname"`
}

// problem is an error of /api/files (RFC 7807). Detail is always there: the
// Python client shows it.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	ErrorCode string `json:"errorCode,omitempty"`
	Detail    string `json:"detail"`
}

// errorList is an error of /api/v1, an older part of the API.
type errorList struct {
	Errors []errorItem `json:"errors"`
}

type errorItem struct {
	Message string `json:"message"`
}
