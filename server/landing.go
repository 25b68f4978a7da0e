package server

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"fileshare/api"
	"fileshare/server/filesender"
	"fileshare/server/page"
	"fileshare/server/reply"
	"fileshare/store"
)

// previewBots are parts of the User-Agents, in lower case, of programs that
// open links which people send each other.
func previewBots() []string {
	return []string{
		"facebookexternalhit", "facebot", "meta-external", "slackbot", "slack-imgproxy", "twitterbot", "whatsapp", "telegrambot",
		"discordbot", "linkedinbot", "skypeuripreview", "teams", "microsoftpreview", "bingpreview", "google-pagerenderer", "googlebot", "google-safety",
		"googleother", "bingbot", "applebot", "duckduckbot", "yandex", "baiduspider", "pinterest", "redditbot", "tumblr", "vkshare", "viber",
		"line-poker", "kakaotalk-scrap", "embedly", "iframely", "mastodon", "pleroma", "misskey", "synapse", "matrix-media-repo", "rocket.chat",
		"mattermost", "zoom", "webex", "outbrain", "snapchat", "signal-desktop", "safelinks", "mimecast", "proofpoint", "barracuda",
		"link preview", "linkpreview", "url preview", "urlpreview", "cardyb", "nextcloud server crawler", "google-inspectiontool", "ia_archiver", "xing-contenttabreceiver",
	}
}

// isBot tells whether r comes from a preview bot.
func (s *server) isBot(r *http.Request) bool {
	ua := r.UserAgent()
	if ua == "" || strings.HasPrefix(ua, "curl/") {
		return false
	}
	ua = strings.ToLower(ua)
	for _, b := range s.bots {
		if strings.Contains(ua, b) {
			return true
		}
	}
	return false
}

// isNavigation tells whether a browser opens the address as a page.
func isNavigation(r *http.Request) bool {
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	return prefersHTML(r.Header.Values("Accept"))
}

// prefersHTML tells whether text/html is named with a higher quality than
// what is not named (RFC 9110 §12.5.1).
func prefersHTML(accept []string) bool {
	html, other := 0.0, 0.0
	for _, line := range accept {
		for e := range strings.SplitSeq(line, ",") {
			typ, params, _ := strings.Cut(e, ";")
			q := 1.0
			for p := range strings.SplitSeq(params, ";") {
				if v, ok := strings.CutPrefix(strings.ToLower(strings.ReplaceAll(p, " ", "")), "q="); ok {
					if f, err := strconv.ParseFloat(v, 64); err == nil && f >= 0 && f <= 1 {
						q = f
					}
				}
			}
			switch strings.ToLower(strings.TrimSpace(typ)) {
			case "text/html":
				html = max(html, q)
			case "*/*":
				other = max(other, q)
			}
		}
	}
	return html > other
}

// wantsPage tells who gets the page of a counted link instead of its bytes:
// bots and prefetches always, people until they press the button.
func (s *server) wantsPage(r *http.Request) bool {
	if r.Method != http.MethodGet {
		return false
	}
	if strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") || r.Header.Get("Purpose") == "prefetch" {
		return true
	}
	button := r.URL.Query().Get("download") == "1"
	if s.isBot(r) {
		// The browser inside a chat program has its name: a person pressed.
		return !button || r.Header.Get("Sec-Fetch-User") != "?1"
	}
	return isNavigation(r) && !button
}

func (s *server) landing(w http.ResponseWriter, d *store.Download) error {
	f := d.File()
	data := page.Landing{Name: f.Name, Type: f.Type, Size: page.Bytes(f.Size), Expires: d.Expires().UTC().Format("2 January 2006, 15:04 UTC"), Left: page.Left(time.Until(d.Expires())), Downloads: d.Left()}
	html, err := page.RenderLanding(data)
	if err != nil {
		return err
	}
	w.Header().Set("X-Fileshare-Expires", d.Expires().UTC().Format(http.TimeFormat))
	return reply.Page(w, http.StatusOK, html)
}

// errorPage is reply.Error for a person in front of a browser.
func (s *server) errorPage(w http.ResponseWriter, err error) reply.Answer {
	a := reply.Of(err)
	a.Headers(w.Header())
	w.Header().Set("Vary", "Accept, Sec-Fetch-Mode, User-Agent")
	data := page.Problem{Status: a.Status, Title: http.StatusText(a.Status), Message: a.Message}
	switch a.Code {
	case api.CodeExpired:
		data.Title, data.Advice = "This link has expired", "It was good for a limited time, which is over. Ask whoever sent it to you for a new one."
	case api.CodeUsed:
		data.Title, data.Advice = "This link has been used", "It was good for a limited number of times, which are used up. Ask whoever sent it to you for a new one."
	case api.CodeNotFound:
		data.Title, data.Advice = "There is nothing here", "Check the address: it may be incomplete. What was here may also have been removed by its sender."
	case api.CodeBusy:
		data.Title, data.Advice = "This link is in use", "The file is being downloaded right now. If that fails, the link works again; try it a little later."
	case api.CodeInternal:
		data.Advice = "The fault is ours. Request " + w.Header().Get("X-Request-Id")
	}
	html, rerr := page.RenderProblem(data)
	if rerr == nil {
		rerr = reply.Page(w, a.Status, html)
	}
	a.Gone = a.Gone || rerr != nil
	return a
}

// front is what the root answers: the start page, or FileSender's site where its
// API is spoken and its argument s is there.
func (s *server) front() handler {
	if s.o.FileSender == nil {
		return s.start
	}
	site := filesender.Site(s.host(), *s.o.FileSender)
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.URL.RawQuery != "" && r.URL.Query().Get("s") != "" {
			return site(w, r)
		}
		return s.start(w, r)
	}
}

// start says to a person what this is, and to a program where to read on.
func (s *server) start(w http.ResponseWriter, r *http.Request) error {
	base := s.links.base(r, state(r).prefix)
	html, err := page.RenderStart(page.Start{Base: base, Docs: s.o.Docs != nil})
	if err != nil {
		return err
	}
	return reply.Page(w, http.StatusOK, html)
}
