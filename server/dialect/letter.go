package dialect

// Sending is what a session of a foreign API, or an invitation, says to people.
type Sending struct {
	Subject, Message string
	// Guest is the address of who is invited; empty: nobody is.
	Guest string
	// Options are switches by the names that FileSender has for them; those that
	// are not said are as FileSender has them by default.
	Options map[string]bool
	// Link is where a share of the session leads, or the invitation: a path and
	// query below the site's address, to which the id or secret is appended.
	Link string
	// Encrypted says that the files are of use only to who has the sender's password.
	Encrypted bool
}
