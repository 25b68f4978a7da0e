package filesender

import (
	"fileshare/server/dialect"
	"fileshare/store"
)

// Recipients is the sequence of those of transfers.
const Recipients = "filesender.recipient"

// Sending is what a transfer says to its recipients; ok is false for a session
// of another API.
func Sending(s *store.Session) (out dialect.Sending, ok bool) {
	return dialect.Sending{Subject: s.Attrs[attrSubject], Message: s.Attrs[attrMessage], Guest: s.Attrs[attrGuest],
		Options: optionsIn(s.Attrs[attrOptions]), Link: "/?s=download&token=", Encrypted: cryptOf(s) != nil}, s.Attrs[attrStatus] != ""
}

// Size is the size of a file as who sent it knows it: before it was encrypted.
func Size(f *store.File) int64 { return plainSize(f) }

// Inviting is what an invitation says to a guest; ok is false for one of another
// API.
func Inviting(in *store.Invitation) (out dialect.Sending, ok bool) {
	return dialect.Sending{Subject: in.Name, Message: in.Message, Guest: in.Email, Options: optionsIn(in.Attrs[attrOptions]), Link: "/?s=upload&vid="},
		in.Attrs[attrOptions] != ""
}
