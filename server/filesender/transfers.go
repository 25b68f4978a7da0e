package filesender

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"fileshare/server/reply"
	"fileshare/store"
)

// The sequences of ids, and the attributes in which things are kept.
const (
	transfers  = "filesender.transfer"
	files      = "filesender.file"
	recipients = Recipients
	guests     = "filesender.guest"

	attrStatus  = "filesender.status"
	attrOptions = "filesender.options"
	attrSubject = "filesender.subject"
	attrMessage = "filesender.message"
	attrFrom    = "filesender.from"
	attrSalt    = "filesender.salt"
	attrRound   = "filesender.round"
	attrCrypt   = "filesender.crypt"
	attrExtends = "filesender.extensions"
	attrFiles   = "filesender.files" // how many were announced, but for those taken out since
	attrGuest   = "filesender.guest" // who was invited and sent it

	attrPath  = "filesender.path"
	attrUID   = "filesender.uid"
	attrCID   = "filesender.cid"
	attrPlain = "filesender.plain" // size before encryption
	attrIV    = "filesender.iv"
	attrAEAD  = "filesender.aead"
)

// The states of a transfer.
const (
	statusStarted   = "started"   // kept also when it is uploading, to spare each chunk a look
	statusUploading = "uploading" // shown alone
	statusAvailable = "available"
	statusClosed    = "closed"
)

var (
	errNumber  = errors.New("no number")
	errOptions = errors.New("no options")
)

// postTransfer begins a transfer (contract §6.1).
func (a *api) postTransfer(w http.ResponseWriter, r *http.Request) error {
	c, body, err := a.caller(r)
	if err != nil {
		return err
	}
	var in newTransfer
	if err := json.Unmarshal(body, &in); err != nil {
		return malformed(err)
	}
	c.rewrite(&in)
	to, err := a.checkTransfer(c, &in)
	if err != nil {
		return err
	}
	said, err := json.Marshal(in.Options.known(knownOptions()))
	if err != nil {
		return err
	}
	attrs := map[string]string{attrStatus: statusStarted, attrOptions: string(said), attrSalt: rand.Text() + rand.Text()[:6], attrRound: strings.ToLower(rand.Text()),
		attrFiles: strconv.Itoa(len(in.Files))}
	if err := keep(attrs, a.address(c), in.Subject, in.Message); err != nil {
		return err
	}
	if c.guest != nil {
		attrs[attrGuest] = c.Email
	}
	if bool(in.Encryption) {
		c, err := a.crypt(&in)
		if err != nil {
			return err
		}
		said, err := json.Marshal(c)
		if err != nil {
			return err
		}
		attrs[attrCrypt] = string(said)
	}
	ttl := a.ttl(in.Expires, c.ttl(a.o.TTL))
	spec := store.SessionSpec{Name: in.Subject, TTL: &ttl, Attrs: &attrs, Sequence: transfers, Audit: true}
	if in.Options[optionDaily] {
		spec.Summaries = &a.o.Day
	}
	s, err := a.Store.CreateSession(r.Context(), c.Caller, spec)
	if err != nil {
		return err
	}
	if err := a.fill(r, c, s, in.Files, to); err != nil {
		_ = a.Store.DeleteSession(r.Context(), c.Caller, s.ID)
		return err
	}
	t, err := a.transferOf(r, c, s)
	if err != nil {
		return err
	}
	t.RoundTripToken = s.Attrs[attrRound]
	return reply.Created(w, a.siteURL(r)+"/rest.php/transfer/"+strconv.FormatInt(s.Number, 10), t)
}

// address is where an account has its mail, and as what others see it.
func (a *api) address(c account) string {
	if c.Email != "" {
		return c.Email
	}
	return c.Name
}

// fill makes the recipients of a new transfer and announces its files.
func (a *api) fill(r *http.Request, c account, s *store.Session, all []newFile, to []string) error {
	var specs []store.ShareSpec
	for _, address := range to {
		specs = append(specs, a.recipientSpec(address))
	}
	if _, err := a.addRecipients(r, c, s, specs...); err != nil {
		return err
	}
	sealed, total := cryptOf(s), int64(0)
	for _, f := range all {
		total += sealed.stored(*f.Size.v)
	}
	if err := a.Store.MayFill(r.Context(), c.Caller, s.ID, total); err != nil {
		return err
	}
	for _, f := range all {
		attrs := map[string]string{attrPath: f.Name.text, attrUID: strings.ToLower(rand.Text())}
		if f.CID != "" {
			attrs[attrCID] = f.CID
		}
		if sealed != nil {
			attrs[attrPlain], attrs[attrIV], attrs[attrAEAD] = strconv.FormatInt(*f.Size.v, 10), f.IV, f.AEAD
		}
		spec := store.FileSpec{Name: &f.Name.text, Attrs: &attrs, Sequence: files}
		if f.Type != "" {
			spec.Type = &f.Type
		}
		made, err := a.Store.CreateFile(r.Context(), c.Caller, s.ID, spec)
		if err != nil {
			return err
		}
		// An empty file is complete at once: clients send nothing for it.
		ref := store.Ref{Session: s.ID, File: made.ID}
		if _, err := a.Store.BeginFile(r.Context(), c.Caller, ref, store.FileSpec{}, store.Begin{Length: sealed.stored(*f.Size.v), Wait: a.o.Unfinished}); err != nil {
			return err
		}
	}
	return nil
}

// transferOf makes what is answered of a transfer, for its owner.
func (a *api) transferOf(r *http.Request, c account, s *store.Session) (*transfer, error) {
	all, err := a.allOf(r, c, s)
	if err != nil {
		return nil, err
	}
	return a.shown(r, all, s.Attrs[attrStatus]), nil
}

// allOf is what there is of a transfer that lives.
func (a *api) allOf(r *http.Request, c account, s *store.Session) (*store.Ended, error) {
	all, err := a.filesOf(r, c.Caller, s)
	if err != nil {
		return nil, err
	}
	shares, err := a.Store.Shares(r.Context(), c.Caller, s.ID)
	return &store.Ended{Session: s, Files: all, Shares: shares}, err
}

// shown makes what is answered of a transfer of all that there is of it.
func (a *api) shown(r *http.Request, all *store.Ended, status string) *transfer {
	s := all.Session
	t := &transfer{ID: s.Number, UserID: a.userID(s.Owner), User: s.Owner, Email: s.Attrs[attrFrom], Created: dateOf(s.Created), Expires: dateOf(s.Expires),
		Options: a.optionsOf(s), Salt: s.Attrs[attrSalt], Status: status, Files: []file{}, Recipients: []recipient{}}
	t.Subject, t.Message = textOrNil(s.Attrs[attrSubject]), textOrNil(s.Attrs[attrMessage])
	if status != statusClosed && extensions(s) < a.o.Extensions {
		t.Extension = days(a.o.TTL)
	}
	for _, f := range all.Files {
		t.Files = append(t.Files, fileOf(s, f))
		if status == statusStarted && f.Size > 0 { // bytes of it are there
			t.Status = statusUploading
		}
	}
	slices.SortFunc(all.Shares, func(x, y *store.Share) int { return cmp.Compare(x.Number, y.Number) }) // as they were asked for
	for _, h := range all.Shares {
		t.Recipients = append(t.Recipients, a.recipientOf(r, s, h))
	}
	return t
}

func textOrNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func fileOf(s *store.Session, f *store.File) file {
	return file{ID: f.Number, TransferID: s.Number, UID: f.Attrs[attrUID], PUID: f.Attrs[attrUID], Name: f.Attrs[attrPath], Size: plainSize(f), CID: f.Attrs[attrCID]}
}

func (a *api) recipientOf(r *http.Request, s *store.Session, h *store.Share) recipient {
	return recipient{ID: h.Number, TransferID: s.Number, Token: h.ID, Email: h.Email, Created: dateOf(h.Created),
		LastActivity: dateOrNil(h.Used), URL: a.siteURL(r) + "/?s=download&token=" + h.ID, Errors: []any{}}
}

// optionsOf are the options of a transfer: what was said, and those that clients
// expect to find.
func (a *api) optionsOf(s *store.Session) map[string]bool {
	o := map[string]bool{"get_a_link": false, "add_me_to_recipients": false, "hide_sender_email": false, "email_recipient_when_transfer_expires": true}
	_ = json.Unmarshal([]byte(s.Attrs[attrOptions]), &o) // written by us
	o["encryption"] = cryptOf(s) != nil
	return o
}

// userID is the number of an account: stable, and of no use to anybody.
func (a *api) userID(name string) int64 {
	n, _ := strconv.ParseInt(a.Store.AccountID(name)[:12], 16, 64)
	return n + 1
}

// filesOf are all files of a transfer, in the order in which they were announced.
func (a *api) filesOf(r *http.Request, c store.Caller, s *store.Session) (all []*store.File, err error) {
	for q := (store.Query{Session: s.ID, Limit: 1000}); ; {
		page, err := a.Store.Files(r.Context(), c, q)
		if err != nil {
			return nil, err
		}
		for _, f := range page.Items {
			if f.Number > 0 { // others were put in by another API
				all = append(all, f)
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			slices.SortFunc(all, byNumber)
			return all, nil
		}
	}
}

func byNumber(x, y *store.File) int { return cmp.Compare(x.Number, y.Number) }

// mine finds the caller's transfer that the path names.
func (a *api) mine(r *http.Request) (c account, body []byte, s *store.Session, err error) {
	if c, body, err = a.caller(r); err != nil {
		return c, nil, nil, err
	}
	id, err := strconv.ParseInt(a.Var(r, "id"), 10, 64)
	if err != nil {
		return c, nil, nil, fault(http.StatusNotFound, "transfer_not_found")
	}
	s, err = a.Store.SessionByNumber(r.Context(), c.Caller, transfers, id)
	return c, body, s, err
}

// own is mine for what guests may not do.
func (a *api) own(r *http.Request) (c account, body []byte, s *store.Session, err error) {
	if c, body, s, err = a.mine(r); err == nil {
		err = c.user()
	}
	return c, body, s, err
}

// seen finds the user's transfer that the path names, with all that there is of
// it, also when it is closed.
func (a *api) seen(r *http.Request) (c account, all *store.Ended, status string, err error) {
	c, _, s, err := a.own(r)
	switch {
	case errors.Is(err, store.ErrEnded):
		all, err = a.endedOf(r, c, transfers)
		return c, all, statusClosed, err
	case err != nil:
		return c, nil, "", err
	}
	all, err = a.allOf(r, c, s)
	return c, all, s.Attrs[attrStatus], err
}

// endedOf is the user's closed transfer to which the number of the path leads.
func (a *api) endedOf(r *http.Request, c account, sequence string) (*store.Ended, error) {
	id, err := strconv.ParseInt(a.Var(r, "id"), 10, 64)
	if err != nil {
		return nil, errNumber
	}
	all, err := a.Store.EndedByNumber(r.Context(), c.Caller, sequence, id)
	if err != nil {
		return nil, err
	}
	all.Files = slices.DeleteFunc(all.Files, func(f *store.File) bool { return f.Number == 0 }) // put in by another API
	slices.SortFunc(all.Files, byNumber)
	return all, nil
}

func (a *api) getTransfer(w http.ResponseWriter, r *http.Request) error {
	_, all, status, err := a.seen(r)
	if err != nil {
		return err
	}
	return reply.JSON(w, a.shown(r, all, status))
}

func (a *api) transferOptions(w http.ResponseWriter, r *http.Request) error {
	_, all, _, err := a.seen(r)
	if err != nil {
		return err
	}
	return reply.JSON(w, a.optionsOf(all.Session))
}

// putTransfer completes, closes or extends a transfer (contract §6.4).
func (a *api) putTransfer(w http.ResponseWriter, r *http.Request) error {
	c, body, s, err := a.mine(r)
	if err != nil && !errors.Is(err, store.ErrEnded) {
		return err
	}
	var in struct {
		Complete flag `json:"complete"`
		Closed   flag `json:"closed"`
		Extend   flag `json:"extend_expiry_date"`
		Remind   flag `json:"remind"`

		OptionRemove flag   `json:"optionremove"`
		Option       string `json:"option"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return malformed(err)
	}
	if !bool(in.Complete) {
		if err := c.user(); err != nil {
			return err
		}
	}
	switch {
	case err != nil && bool(in.Closed): // it is
		all, err := a.endedOf(r, c, transfers)
		if err != nil {
			return err
		}
		return reply.JSON(w, a.shown(r, all, statusClosed))
	case err != nil:
		return err
	}
	t, err := a.transferOf(r, c, s)
	if err != nil {
		return err
	}
	switch {
	case bool(in.Complete):
		if err := a.complete(r, c, s); err != nil {
			return err
		}
		t.Status = statusAvailable
	case bool(in.Closed):
		if err := a.Store.DeleteSession(r.Context(), c.Caller, s.ID); err != nil {
			return err
		}
		t.Status = statusClosed
	case bool(in.Extend):
		if t, err = a.extend(r, c, s); err != nil {
			return err
		}
	case bool(in.Remind):
		if err := a.mailed(a.Store.Remind(r.Context(), c.Caller, s.ID, "")); err != nil {
			return err
		}
	case bool(in.OptionRemove) && in.Option == optionDaily: // the only one that FileSender lets be removed
		if t, err = a.undaily(r, c, s); err != nil {
			return err
		}
	default:
		return fault(http.StatusBadRequest, "rest_missing_parameter")
	}
	return reply.JSON(w, t)
}

// complete makes a transfer available when all of its files are there. One that
// was given up, since no chunk of it came for long, is in no list any more.
func (a *api) complete(r *http.Request, c account, s *store.Session) error {
	if s.Completed.IsZero() {
		all, err := a.filesOf(r, c.Caller, s)
		if err != nil {
			return err
		}
		missing := announced(s)
		for _, f := range all {
			if f.State == store.StateUploaded {
				missing--
			}
		}
		if missing > 0 {
			return &faultError{http.StatusConflict, "transfer_files_incomplete", strconv.Itoa(missing) + " of the files are missing"}
		}
	}
	_, err := a.Store.CompleteSession(r.Context(), c.Caller, s.ID, map[string]string{attrStatus: statusAvailable})
	if store.KindOf(err) == store.Conflict {
		return &faultError{http.StatusConflict, "transfer_files_incomplete", err.Error()}
	}
	return err
}

// announced is how many files a transfer is to have.
func announced(s *store.Session) int {
	n, _ := strconv.Atoi(s.Attrs[attrFiles]) // written by us
	return n
}

// withdraw notes that a transfer is to have one file less.
func (a *api) withdraw(r *http.Request, c account, s *store.Session) (err error) {
	for s.Completed.IsZero() {
		less := store.SessionSpec{Was: map[string]string{attrFiles: s.Attrs[attrFiles]}, Attrs: &map[string]string{attrFiles: strconv.Itoa(max(announced(s)-1, 0))}}
		if _, err = a.Store.PatchSession(r.Context(), c.Caller, s.ID, less); !errors.Is(err, store.ErrChanged) {
			return err
		}
		if s, err = a.Store.Session(r.Context(), c.Caller, s.ID); err != nil {
			return err
		}
	}
	return nil
}

// undaily ends the daily summaries of a transfer.
func (a *api) undaily(r *http.Request, c account, s *store.Session) (*transfer, error) {
	o := options{}
	_ = json.Unmarshal([]byte(s.Attrs[attrOptions]), &o) // written by us
	o[optionDaily] = false
	said, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	if s, err = a.Store.PatchSession(r.Context(), c.Caller, s.ID, store.SessionSpec{Attrs: &map[string]string{attrOptions: string(said)}, Summaries: new(time.Duration)}); err != nil {
		return nil, err
	}
	return a.transferOf(r, c, s)
}

func (a *api) deleteTransfer(w http.ResponseWriter, r *http.Request) error {
	c, _, s, err := a.mine(r)
	if err != nil {
		return err
	}
	if err := a.Store.DeleteSession(r.Context(), c.Caller, s.ID); err != nil {
		return err
	}
	return reply.JSON(w, true)
}

// checkRoundTrip refuses a wrong round trip token; whoever signs may leave it
// out.
func (a *api) checkRoundTrip(r *http.Request, s *store.Session, must bool) error {
	said := r.URL.Query().Get("roundtriptoken")
	if (said != "" || must) && !same(said, s.Attrs[attrRound]) {
		return fault(http.StatusForbidden, "rest_roundtrip_token_invalid")
	}
	return nil
}
