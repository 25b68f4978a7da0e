package filesender

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"fileshare/server/reply"
	"fileshare/store"
)

// recipientSpec is the share that an address gets: one for each, and no more
// than a transfer may have.
func (a *api) recipientSpec(address string) store.ShareSpec {
	return store.ShareSpec{Email: address, Sequence: recipients, Distinct: true, Most: a.o.Recipients}
}

// addRecipients makes recipients of a transfer.
func (a *api) addRecipients(r *http.Request, c account, s *store.Session, specs ...store.ShareSpec) ([]*store.Share, error) {
	who := c.Caller
	if c.onlyToMe() {
		who = store.Caller{Name: c.guest.Owner, Address: c.Address} // a guest may share with nobody: it is the inviter's own
	}
	shares, err := a.Store.CreateShares(r.Context(), who, s.ID, specs)
	if errors.Is(err, store.ErrShares) {
		return nil, fault(http.StatusBadRequest, "transfer_too_many_recipients")
	}
	return shares, err
}

// postRecipient adds a recipient to a transfer; one that is there is answered
// again.
func (a *api) postRecipient(w http.ResponseWriter, r *http.Request) error {
	c, body, s, err := a.own(r)
	if err != nil {
		return err
	}
	var in struct {
		Recipient string `json:"recipient"`
		Email     string `json:"email"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return malformed(err)
	}
	if in.Recipient == "" {
		in.Recipient = in.Email
	}
	if !store.IsAddress(in.Recipient) {
		return &faultError{http.StatusBadRequest, "rest_bad_parameter", "recipient"}
	}
	shares, err := a.addRecipients(r, c, s, a.recipientSpec(in.Recipient))
	if err != nil {
		return err
	}
	out := a.recipientOf(r, s, shares[0])
	return reply.Created(w, a.siteURL(r)+"/rest.php/recipient/"+strconv.FormatInt(out.ID, 10), out)
}

// receiver finds the recipient that the path names, in a transfer of the
// user's.
func (a *api) receiver(r *http.Request) (c account, body []byte, h *store.Share, s *store.Session, err error) {
	if c, body, err = a.userCaller(r); err != nil {
		return c, nil, nil, nil, err
	}
	id, err := strconv.ParseInt(a.Var(r, "id"), 10, 64)
	if err != nil {
		return c, nil, nil, nil, fault(http.StatusNotFound, "recipient_not_found")
	}
	h, s, err = a.Store.ShareByNumber(r.Context(), c.Caller, recipients, id)
	return c, body, h, s, err
}

func (a *api) getRecipient(w http.ResponseWriter, r *http.Request) error {
	c, _, h, s, err := a.receiver(r)
	if errors.Is(err, store.ErrEnded) {
		var all *store.Ended
		if all, err = a.endedOf(r, c, recipients); err == nil {
			i := slices.IndexFunc(all.Shares, func(h *store.Share) bool { return strconv.FormatInt(h.Number, 10) == a.Var(r, "id") })
			if i < 0 {
				return fault(http.StatusNotFound, "recipient_not_found")
			}
			h, s = all.Shares[i], all.Session
		}
	}
	if err != nil {
		return err
	}
	return reply.JSON(w, a.recipientOf(r, s, h))
}

// putRecipient reminds a recipient.
func (a *api) putRecipient(w http.ResponseWriter, r *http.Request) error {
	c, body, h, s, err := a.receiver(r)
	if err != nil {
		return err
	}
	var in struct {
		Remind flag `json:"remind"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return malformed(err)
	}
	if bool(in.Remind) {
		if err := a.mailed(a.Store.Remind(r.Context(), c.Caller, s.ID, h.ID)); err != nil {
			return err
		}
	}
	return reply.JSON(w, a.recipientOf(r, s, h))
}

// deleteRecipient takes a recipient's link back. A transfer that is for nobody
// any more is closed.
func (a *api) deleteRecipient(w http.ResponseWriter, r *http.Request) error {
	c, _, h, s, err := a.receiver(r)
	if err != nil {
		return err
	}
	if err := a.Store.DeleteShare(r.Context(), c.Caller, s.ID, h.ID); err != nil {
		return err
	}
	left, err := a.Store.Shares(r.Context(), c.Caller, s.ID)
	return a.closed(w, r, c, s, len(left), err)
}

// closed ends the deletion of a part of a transfer, of which so many are left:
// with the last one the transfer is closed. Of several who delete at once the
// last one sees that none is left.
func (a *api) closed(w http.ResponseWriter, r *http.Request, c account, s *store.Session, left int, err error) error {
	if err == nil && left == 0 {
		err = a.Store.DeleteSession(r.Context(), c.Caller, s.ID)
	}
	switch store.KindOf(err) {
	case store.NotFound, store.Expired: // by another who saw it
	default:
		if err != nil {
			return err
		}
	}
	return reply.JSON(w, true)
}
