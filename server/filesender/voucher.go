package filesender

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"time"

	"fileshare/server/dialect"
	"fileshare/server/page"
	"fileshare/server/reply"
	"fileshare/store"
)

// Calls of guests (contract §4): the voucher in the query, and two tokens that
// the upload page gave. These are signed statements about the voucher, so nothing
// is kept of a page that was opened, on whichever node; and they are good as long
// as the voucher is, for uploads may take days. That a request carries them in
// headers shows that it was made by that page, or a program: no other site's page
// may send them.
const (
	securityHeader = "X-Filesender-Security-Token"
	csrfHeader     = "csrfptoken"
	csrfCookie     = "csrfptoken"

	securityPurpose = "filesender security token"
	csrfPurpose     = "filesender csrf token"
)

// tokenFor is a token of the page of a voucher.
func (a *api) tokenFor(purpose, voucher string) string {
	return hex.EncodeToString(a.Store.Sign(purpose, []byte(voucher))[:16])
}

// invited finds the invitation of a voucher.
func (a *api) invited(r *http.Request, voucher string) (*store.Invitation, error) {
	in, err := a.Store.Invited(r.Context(), voucher)
	switch {
	case store.KindOf(err) == store.NotFound, err == nil && in.Number == 0: // one of another API
		return nil, fault(http.StatusNotFound, "guest_not_found")
	case store.KindOf(err) == store.Expired, store.KindOf(err) == store.Used:
		return in, fault(http.StatusGone, "guest_expired")
	}
	return in, err
}

// guest tells who presents a voucher. After its last use a guest may still ask
// what became of it, as the answer may have been lost: the engine knows what it
// may not.
func (a *api) guest(r *http.Request, voucher string) (account, error) {
	in, err := a.invited(r, voucher)
	if err != nil && (in == nil || in.State != store.InviteUsed) {
		return account{}, err
	}
	if r.Method != http.MethodGet {
		switch {
		case !same(r.Header.Get(securityHeader), a.tokenFor(securityPurpose, voucher)):
			return account{}, fault(http.StatusBadRequest, "rest_security_token_did_not_match")
		case !same(r.Header.Get(csrfHeader), a.tokenFor(csrfPurpose, voucher)):
			return account{}, fault(http.StatusBadRequest, "rest_xsrf_token_did_not_match")
		}
	}
	return account{dialect.Account{Caller: store.Caller{Invite: voucher}, Email: in.Email}, in}, nil
}

// rewrite makes of a new transfer what a guest may say of it.
func (c account) rewrite(in *newTransfer) {
	if c.guest != nil {
		in.Options = optionsIn(c.guest.Attrs[attrTransferOptions])
		if optionsIn(c.guest.Attrs[attrOptions])["guest_upload_expire_read_only"] {
			in.Expires = moment{}
		}
	}
}

// onlyToMe tells whether a guest may send to who invites alone.
func (c account) onlyToMe() bool { return c.guest != nil && !c.guest.Share }

// ttl is how long a transfer lives that does not say.
func (c account) ttl(otherwise time.Duration) time.Duration {
	if c.guest != nil && optionsIn(c.guest.Attrs[attrOptions])["guest_upload_default_expire_is_guest_expire"] {
		return max(dialect.Until(c.guest.Expires), time.Second)
	}
	return otherwise
}

// owner is the address of whose the transfers of an account are.
func (a *api) owner(c account) string {
	if c.guest == nil {
		return a.address(c)
	}
	return a.addressOf(c.guest.Owner)
}

// addressOf is the address of a user.
func (a *api) addressOf(name string) string {
	if o, ok := a.Account(name); ok {
		return a.address(account{Account: o})
	}
	return name
}

// upload is the page that a guest opens.
func (a *api) upload(w http.ResponseWriter, r *http.Request) error {
	voucher := r.URL.Query().Get("vid")
	in, err := a.invited(r, voucher)
	if err != nil {
		return a.problem(w, err, "The invitation was withdrawn or used, or its time is over. Ask for a new one.")
	}
	if err := a.Store.Visited(r.Context(), voucher); err != nil {
		return err
	}
	csrf := a.tokenFor(csrfPurpose, voucher)
	site, err := url.Parse(a.siteURL(r))
	if err != nil {
		return err
	}
	transfer := optionsIn(in.Attrs[attrTransferOptions])
	d := page.Upload{Speaks: "filesender", Title: in.Name, Message: in.Message, From: a.owner(account{guest: in}), Left: page.Left(time.Until(in.Expires)),
		Expires: in.Expires.UTC().Format("2 January 2006, 15:04 UTC"), Base: site.Path + "/rest.php", Invitation: voucher, SecurityToken: a.tokenFor(securityPurpose, voucher), CSRFToken: csrf,
		MaxFiles: in.MaxFiles, MaxSize: in.MaxSize, ChunkSize: a.o.ChunkSize,
		Note: true, To: in.Share && !transfer["get_a_link"], ToOptional: transfer["add_me_to_recipients"]}
	html, script, err := page.RenderUpload(d)
	if err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{Name: csrfCookie, Value: csrf, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: site.Scheme == "https"})
	return reply.Program(w, html, script)
}
