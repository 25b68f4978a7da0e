package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"

	"fileshare/api"
)

// RecipientSpec says who gets a session.
type RecipientSpec struct {
	Email   string // an address, to which the link goes where the server has mail; empty: nobody is told
	Message string // to this recipient; may be empty
}

// Send sends a session to a recipient: makes a link to all of its files. Who has one
// already keeps it.
func (c *Client) Send(ctx context.Context, session string, spec RecipientSpec) (*api.Recipient, error) {
	h := new(api.Recipient)
	_, err := c.json(ctx, call{method: http.MethodPost, path: recipients(session), send: said("email", spec.Email, "message", spec.Message)}, h)
	return h, err
}

// Recipients lists those to whom a session was sent, newest first, as Uploads does.
func (c *Client) Recipients(ctx context.Context, session string, q Query) iter.Seq2[*api.Recipient, error] {
	return listed[*api.Recipient](ctx, c, recipients(session), q)
}

// Withdraw takes the link of a recipient back, by its id.
func (c *Client) Withdraw(ctx context.Context, session, recipient string) error {
	_, err := c.json(ctx, call{method: http.MethodDelete, path: recipients(session) + "/" + url.PathEscape(recipient)}, nil)
	return err
}

func recipients(session string) string { return Ref{Session: session}.path() + "/recipients" }

// InvitationSpec says what an invitation shall be. Zero values are the server's
// defaults, and no limits.
type InvitationSpec struct {
	Email         string // of who is invited, who is told where the server has mail
	Name, Message string
	TTL           time.Duration // whole seconds
	MaxUses       int64         // how many sessions may be completed
	MaxFiles      int64         // of a session
	MaxSize       int64         // bytes of all files of a session
}

// Invite invites somebody to upload: UploadURL of the answer is the page for it, Token
// is for programs.
func (c *Client) Invite(ctx context.Context, spec InvitationSpec) (*api.Invitation, error) {
	send := said("email", spec.Email, "name", spec.Name, "message", spec.Message)
	for name, n := range map[string]int64{"max_uses": spec.MaxUses, "max_files": spec.MaxFiles, "max_size": spec.MaxSize} {
		if n != 0 {
			send[name] = n
		}
	}
	if spec.TTL != 0 {
		send["ttl"] = whole(spec.TTL)
	}
	in := new(api.Invitation)
	_, err := c.json(ctx, call{method: http.MethodPost, path: "/invitations", send: send}, in)
	return in, err
}

// Invitations lists the account's invitations, newest first, as Uploads does; for a
// while also those that are over.
func (c *Client) Invitations(ctx context.Context, q Query) iter.Seq2[*api.Invitation, error] {
	return listed[*api.Invitation](ctx, c, "/invitations", q)
}

// CloseInvitation withdraws an invitation, by its id. What was uploaded by it stays.
func (c *Client) CloseInvitation(ctx context.Context, id string) error {
	_, err := c.json(ctx, call{method: http.MethodDelete, path: "/invitations/" + url.PathEscape(id)}, nil)
	return err
}

// said is what of names and texts is not empty.
func said(pairs ...string) map[string]any {
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			m[pairs[i]] = pairs[i+1]
		}
	}
	return m
}
