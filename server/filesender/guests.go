package filesender

import (
	"encoding/json"
	"net/http"
	"strconv"

	"fileshare/server/reply"
	"fileshare/store"
)

// Guests: users invite somebody to upload, with a link that has a voucher in it
// (contract §7). A guest is an invitation, its voucher the secret of that.

const attrTransferOptions = "filesender.transfer-options"

// newGuest is the body of POST /guest.
type newGuest struct {
	Recipient string       `json:"recipient"`
	Subject   *string      `json:"subject"`
	Message   *string      `json:"message"`
	Expires   moment       `json:"expires"`
	Options   guestOptions `json:"options"`
}

// guestOptions are the switches of a guest and those of its transfers: an object
// of both, or the former alone.
type guestOptions struct{ guest, transfer options }

func (o *guestOptions) UnmarshalJSON(b []byte) error {
	if err := o.guest.UnmarshalJSON(b); err != nil {
		return err
	}
	o.transfer = options{}
	var parts struct{ Guest, Transfer json.RawMessage }
	if json.Unmarshal(b, &parts) != nil { // a list
		return nil
	}
	for _, part := range []struct {
		raw json.RawMessage
		to  options
	}{{parts.Guest, o.guest}, {parts.Transfer, o.transfer}} {
		if part.raw == nil {
			continue
		}
		var said options
		if err := said.UnmarshalJSON(part.raw); err != nil {
			return err
		}
		for name, on := range said {
			part.to[name] = on
		}
	}
	return nil
}

// guest is what is answered of one. Options has the guest's by name, and again
// below "guest", as versions 2 and 3 have them.
type guest struct {
	ID              int64          `json:"id"`
	UserID          int64          `json:"userid"`
	User            string         `json:"user_id"`
	UserEmail       string         `json:"user_email"`
	Email           string         `json:"email"`
	Token           string         `json:"token"`
	Transfers       int64          `json:"transfer_count"`
	Subject         *string        `json:"subject"`
	Message         *string        `json:"message"`
	Options         map[string]any `json:"options"`
	TransferOptions options        `json:"transfer_options"`
	Status          string         `json:"status"`
	Created         date           `json:"created"`
	Expires         date           `json:"expires"`
	URL             string         `json:"upload_url"`
	Extensions      int            `json:"expiry_date_extension"`
	Errors          []any          `json:"errors"`
}

// optionsIn are the options in an attribute.
func optionsIn(text string) options {
	o := options{}
	_ = json.Unmarshal([]byte(text), &o) // written by us
	return o
}

func (a *api) guestOf(r *http.Request, in *store.Invitation) guest {
	status := statusClosed
	if in.State == store.InviteOpen {
		status = statusAvailable
	}
	own, transfer := optionsIn(in.Attrs[attrOptions]), optionsIn(in.Attrs[attrTransferOptions])
	all := map[string]any{"guest": own, "transfer": transfer}
	for name, on := range own {
		all[name] = on
	}
	return guest{ID: in.Number, UserID: a.userID(in.Owner), User: in.Owner, UserEmail: in.Attrs[attrFrom], Email: in.Email, Token: in.Secret,
		Transfers: in.Uses, Subject: textOrNil(in.Name), Message: textOrNil(in.Message), Options: all, TransferOptions: transfer,
		Status: status, Created: dateOf(in.Created), Expires: dateOf(in.Expires), URL: a.siteURL(r) + "/?s=upload&vid=" + in.Secret, Errors: []any{}}
}

// postGuest invites somebody.
func (a *api) postGuest(w http.ResponseWriter, r *http.Request) error {
	c, body, err := a.userCaller(r)
	if err != nil {
		return err
	}
	var in newGuest
	if err := json.Unmarshal(body, &in); err != nil {
		return malformed(err)
	}
	if !store.IsAddress(in.Recipient) {
		return &faultError{http.StatusBadRequest, "rest_bad_parameter", "recipient"}
	}
	own, transfer := in.Options.guest.known(knownGuestOptions()), in.Options.transfer.known(knownOptions())
	attrs := map[string]string{attrFrom: a.address(c)} // senders do not choose theirs
	for name, o := range map[string]options{attrOptions: own, attrTransferOptions: transfer} {
		said, err := json.Marshal(o)
		if err != nil {
			return err
		}
		attrs[name] = string(said)
	}
	spec := store.InvitationSpec{TTL: new(a.ttl(in.Expires, a.o.MaxTTL)), MaxFiles: new(int64(a.o.Files)), Share: new(!own["can_only_send_to_me"]),
		Email: &in.Recipient, Name: in.Subject, Message: in.Message, Attrs: &attrs, Sequence: guests}
	if own["valid_only_one_time"] {
		spec.MaxUses = new(int64(1))
	}
	made, err := a.Store.Invite(r.Context(), c.Caller, spec)
	if err != nil {
		return err
	}
	return reply.Created(w, a.siteURL(r)+"/rest.php/guest/"+strconv.FormatInt(made.Number, 10), a.guestOf(r, made))
}

// myGuest finds the user's guest that the path names.
func (a *api) myGuest(r *http.Request) (c account, body []byte, in *store.Invitation, err error) {
	if c, body, err = a.userCaller(r); err != nil {
		return c, nil, nil, err
	}
	id, err := strconv.ParseInt(a.Var(r, "id"), 10, 64)
	if err != nil {
		return c, nil, nil, fault(http.StatusNotFound, "guest_not_found")
	}
	in, err = a.Store.InvitationByNumber(r.Context(), c.Caller, guests, id)
	return c, body, in, err
}

func (a *api) getGuest(w http.ResponseWriter, r *http.Request) error {
	_, _, in, err := a.myGuest(r)
	if err != nil {
		return err
	}
	return reply.JSON(w, a.guestOf(r, in))
}

// putGuest reminds a guest.
func (a *api) putGuest(w http.ResponseWriter, r *http.Request) error {
	c, body, in, err := a.myGuest(r)
	if err != nil {
		return err
	}
	var said struct {
		Remind flag `json:"remind"`
	}
	if err := json.Unmarshal(body, &said); err != nil || !bool(said.Remind) {
		return fault(http.StatusBadRequest, "rest_missing_parameter")
	}
	if err := a.mailed(a.Store.RemindInvited(r.Context(), c.Caller, in.ID)); err != nil {
		return err
	}
	return reply.JSON(w, a.guestOf(r, in))
}

// deleteGuest withdraws a voucher. What was uploaded with it stays.
func (a *api) deleteGuest(w http.ResponseWriter, r *http.Request) error {
	c, _, in, err := a.myGuest(r)
	if err != nil {
		return err
	}
	if _, err := a.Store.CloseInvitation(r.Context(), c.Caller, in.ID); err != nil {
		return err
	}
	return reply.JSON(w, true)
}

// guestTransfers answers what a guest has uploaded, or is uploading.
func (a *api) guestTransfers(w http.ResponseWriter, r *http.Request) error {
	c, _, in, err := a.myGuest(r)
	if err != nil {
		return err
	}
	return a.answerTransfers(w, r, c, func(q store.Query) (store.Page[*store.Session], error) {
		return a.Store.InvitationSessions(r.Context(), c.Caller, in.ID, q)
	})
}
