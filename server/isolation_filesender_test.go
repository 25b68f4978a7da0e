package server

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// fileSenderSigned returns the path of a request with the arguments by which a
// user signs it; as it is for a stranger.
func fileSenderSigned(h *house, user, method, path, body string) string {
	if user == "" {
		return path
	}
	u, err := url.Parse(h.url + path)
	if err != nil {
		h.t.Fatal(err)
	}
	q := u.Query()
	q.Set("remote_user", user)
	q.Set("timestamp", strconv.FormatInt(time.Now().Unix(), 10))
	text := strings.ToLower(method) + "&" + u.Host + u.Path + "?" + q.Encode() // sorted; nothing in it needs an escape
	if body != "" {
		text += "&" + body
	}
	mac := hmac.New(sha1.New, []byte(user+"'s key"))
	mac.Write([]byte(text))
	return u.Path + "?" + q.Encode() + "&signature=" + hex.EncodeToString(mac.Sum(nil))
}

func fileSenderFace() face {
	return face{
		make: func(h *house, user, name string) ([]trespass, func() string) {
			type made struct {
				ID         int64
				Round      string `json:"roundtriptoken"`
				Files      []struct{ ID int64 }
				Recipients []struct {
					ID    int64
					Token string
				}
			}
			call := func(user, method, path, body string) answer {
				return h.do(method, fileSenderSigned(h, user, method, path, body), "", strings.NewReader(body))
			}
			transfer := func(user, name string) (t made) {
				body := fmt.Sprintf(`{"files":[{"name":%q,"size":%d}],"recipients":["r@example.com"],"subject":%q}`, name, len(isolated), name)
				call(user, "POST", "/rest.php/transfer", body).want(h.t, 201).into(h.t, &t)
				return t
			}
			bobs, hers, open := transfer(user, name), transfer("alice", "hers"), transfer(user, name)
			file, at := fmt.Sprintf("/rest.php/file/%d", bobs.Files[0].ID), fmt.Sprintf("/rest.php/transfer/%d", bobs.ID)
			begun := fmt.Sprintf("/rest.php/file/%d", open.Files[0].ID)
			call(user, "PUT", file+"/chunk/0", isolated).want(h.t, 200)
			call(user, "PUT", file, `{"complete":true}`).want(h.t, 200)
			call(user, "PUT", at, `{"complete":true}`).want(h.t, 200)
			// A recipient of alice's transfer asks for bob's file, alice with the
			// signature of her own for bob, and with what bob's client was told.
			call("alice", "PUT", fmt.Sprintf("/rest.php/file/%d/chunk/0", hers.Files[0].ID), isolated).want(h.t, 200)
			call("alice", "PUT", fmt.Sprintf("/rest.php/file/%d", hers.Files[0].ID), `{"complete":true}`).want(h.t, 200)
			call("alice", "PUT", fmt.Sprintf("/rest.php/transfer/%d", hers.ID), `{"complete":true}`).want(h.t, 200)
			another := fmt.Sprintf("/download.php?token=%s&files_ids=%d", hers.Recipients[0].Token, bobs.Files[0].ID)
			link := fmt.Sprintf("/download.php?token=%s&files_ids=%d", bobs.Recipients[0].Token, bobs.Files[0].ID)
			recipient := fmt.Sprintf("/rest.php/recipient/%d", bobs.Recipients[0].ID)
			var try []trespass
			for _, round := range []string{"", "?roundtriptoken=" + bobs.Round} {
				try = append(try,
					trespass{what: "transfer", method: "GET", path: at + round}, trespass{what: "options", method: "GET", path: at + "/options" + round},
					trespass{what: "close", method: "PUT", path: at + round, body: `{"closed":true}`}, trespass{what: "extend", method: "PUT", path: at + round, body: `{"extend_expiry_date":true}`},
					trespass{what: "delete", method: "DELETE", path: at + round}, trespass{what: "add recipient", method: "POST", path: at + "/recipient" + round, body: `{"recipient":"me@example.com"}`},
					trespass{what: "recipient", method: "GET", path: recipient + round}, trespass{what: "remind recipient", method: "PUT", path: recipient + round, body: `{"remind":true}`},
					trespass{what: "delete recipient", method: "DELETE", path: recipient + round},
					trespass{what: "file", method: "GET", path: file + round}, trespass{what: "delete file", method: "DELETE", path: file + round},
					trespass{what: "complete file", method: "PUT", path: file + round, body: `{"complete":true}`}, trespass{what: "chunk", method: "PUT", path: file + "/chunk/0" + round, body: "mine"})
			}
			// Bob has invited a guest; alice knows what the guest was told but the
			// voucher, and has a guest of her own.
			var guest, hersToo struct {
				ID    int64
				Token string
			}
			invite := fmt.Sprintf(`{"recipient":"guest@example.com","subject":%q}`, name)
			call(user, "POST", "/rest.php/guest", invite).want(h.t, 201).into(h.t, &guest)
			call("alice", "POST", "/rest.php/guest", `{"recipient":"guest@example.com"}`).want(h.t, 201).into(h.t, &hersToo)
			invited := fmt.Sprintf("/rest.php/guest/%d", guest.ID)
			v := h.visit(h.t, "", hersToo.Token)
			as := []string{"X-Filesender-Security-Token", v.security, "csrfptoken", v.csrf}
			mine := "?vid=" + v.voucher + "&roundtriptoken=" + open.Round
			try = append(try,
				trespass{what: "guest", method: "GET", path: invited}, trespass{what: "guest's transfers", method: "GET", path: invited + "/transfers"},
				trespass{what: "withdraw", method: "DELETE", path: invited}, trespass{what: "remind", method: "PUT", path: invited, body: `{"remind":true}`},
				trespass{what: "page by the guest's number", method: "GET", path: fmt.Sprintf("/?s=upload&vid=%d", guest.ID)},
				trespass{what: "guest's list", method: "GET", path: "/rest.php/transfer?vid=" + v.voucher, header: as, list: true},
				trespass{what: "guest's chunk", method: "PUT", path: begun + "/chunk/0" + mine, body: "mine", header: as},
				trespass{what: "guest completes", method: "PUT", path: fmt.Sprintf("/rest.php/transfer/%d%s", open.ID, mine), body: `{"complete":true}`, header: as},
				trespass{what: "guest deletes", method: "DELETE", path: fmt.Sprintf("/rest.php/transfer/%d%s", open.ID, mine), header: as})
			return append(try,
					trespass{what: "chunk of an open one", method: "PUT", path: begun + "/chunk/0?roundtriptoken=" + open.Round, body: "mine"},
					trespass{what: "complete an open one", method: "PUT", path: fmt.Sprintf("/rest.php/transfer/%d?roundtriptoken=%s", open.ID, open.Round), body: `{"complete":true}`},
					trespass{what: "download of an open one", method: "GET", path: fmt.Sprintf("/download.php?token=%s&files_ids=%d", open.Recipients[0].Token, open.Files[0].ID)},
					trespass{what: "download by another's link", method: "GET", path: another}, trespass{what: "ids of no transfer", method: "GET", path: "/rest.php/transfer/fileids?token=" + bobs.Round},
				), func() string {
					return string(h.do("GET", link, "", nil).body)
				}
		},
		sign:  fileSenderSigned,
		lists: []trespass{{method: "GET", path: "/rest.php/transfer", list: true}, {method: "GET", path: "/rest.php/transfer/@me", list: true}, {method: "GET", path: "/rest.php/guest", list: true}},
	}
}
