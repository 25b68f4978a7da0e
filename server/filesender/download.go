package filesender

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"fileshare/server/archive"
	"fileshare/server/dialect"
	"fileshare/server/page"
	"fileshare/server/reply"
	"fileshare/store"
)

var errUnavailable = fault(http.StatusNotFound, "transfer_not_availabe") // as FileSender spells it

// shared finds the transfer that a recipient's token is for. Only one that is
// available can be seen.
func (a *api) shared(r *http.Request, token string, use bool) (c store.Caller, s *store.Session, all []*store.File, err error) {
	if token == "" {
		return c, nil, nil, fault(http.StatusBadRequest, "token_is_missing")
	}
	if len(token) != 36 || strings.Trim(token, "0123456789abcdefABCDEF-") != "" {
		return c, nil, nil, fault(http.StatusBadRequest, "token_has_bad_format")
	}
	h, s, err := a.Store.Shared(r.Context(), c, token, use)
	if store.KindOf(err) == store.Unauthenticated { // auth.private_downloads
		var reader store.Caller
		if reader, err = a.known(r); err == nil {
			h, s, err = a.Store.Shared(r.Context(), reader, token, use)
		}
	}
	if store.KindOf(err) == store.NotFound {
		return c, nil, nil, fault(http.StatusNotFound, "transfer_not_found")
	}
	if err != nil {
		return c, nil, nil, err
	}
	if s.Attrs[attrStatus] != statusAvailable {
		return c, nil, nil, errUnavailable
	}
	if a.optionsOf(s)["must_be_logged_in_to_download"] {
		reader, err := a.known(r)
		if err == nil && reader.Name == "" {
			err = store.Refuse(store.Unauthenticated, "the sender wants recipients to have an account")
		}
		if err != nil {
			return c, nil, nil, err
		}
	}
	c = store.Caller{Share: h.ID, Address: a.Address(r)}
	all, err = a.filesOf(r, c, s)
	return c, s, all, err
}

// known tells whose account a recipient shows, by a signature or by a password;
// the zero Caller if none.
func (a *api) known(r *http.Request) (c store.Caller, err error) {
	if r.Method != http.MethodPost && r.URL.Query().Has("signature") {
		user, _, err := a.userCaller(r)
		return user.Caller, err
	}
	if c, err = a.Basic(r); err == nil {
		a.SetCaller(r, c)
	}
	return c, err
}

// owned finds the transfer of the user's that files are in which are asked for
// without a recipient's token.
func (a *api) owned(r *http.Request, ids string) (c store.Caller, s *store.Session, all []*store.File, err error) {
	who, _, err := a.userCaller(r)
	if err != nil {
		return c, nil, nil, err
	}
	first, _, _ := strings.Cut(ids, ",")
	id, err := strconv.ParseInt(strings.TrimSpace(first), 10, 64)
	if err != nil {
		return c, nil, nil, fault(http.StatusBadRequest, "download_bad_files_ids")
	}
	ref, err := a.Store.FileByNumber(r.Context(), who.Caller, files, id)
	if err != nil {
		return c, nil, nil, err
	}
	if s, err = a.Store.Session(r.Context(), who.Caller, ref.Session); err != nil {
		return c, nil, nil, err
	}
	if s.Attrs[attrStatus] != statusAvailable {
		return c, nil, nil, errUnavailable
	}
	all, err = a.filesOf(r, who.Caller, s)
	return who.Caller, s, all, err
}

// extended is an entry of fileidsextended (contract §8).
type extended struct {
	ID            int64  `json:"id"`
	Name          string `json:"name"`
	Size          int64  `json:"size"`
	Mime          string `json:"mime"`
	TransferID    int64  `json:"transferid"`
	Encrypted     bool   `json:"encrypted"`
	EncryptedSize int64  `json:"encrypted_size"`
	Key           int    `json:"key_version"`
	Salt          string `json:"key_salt"`
	Password      int    `json:"password_version"`
	Encoding      string `json:"password_encoding"`
	Iterations    int    `json:"password_hash_iterations"`
	Entropy       string `json:"client_entropy"`
	IV            string `json:"fileiv"`
	AEAD          string `json:"fileaead"`
	DashedKey     int    `json:"key-version"`
	DashedSalt    string `json:"key-salt"`
	DashedIters   int    `json:"password-hash-iterations"`
}

// iterations is how often clients are asked to hash a password; they want to read
// the figure of every file, encrypted or not.
const iterations = 150_000

func extendedOf(s *store.Session, f *store.File) extended {
	sealed := cryptOf(s)
	encrypted := sealed != nil
	if !encrypted {
		sealed = &crypt{KeyVersion: 1, PasswordVersion: 1, Encoding: "none", Iterations: iterations}
	}
	e := extended{ID: f.Number, Name: f.Attrs[attrPath], Size: plainSize(f), Mime: f.Type, TransferID: s.Number, Encrypted: encrypted, EncryptedSize: f.Size,
		Key: sealed.KeyVersion, Password: sealed.PasswordVersion, Encoding: sealed.Encoding, Iterations: sealed.Iterations, Entropy: sealed.Entropy,
		IV: f.Attrs[attrIV], AEAD: f.Attrs[attrAEAD]}
	if encrypted {
		e.Salt = s.Attrs[attrSalt]
	}
	e.DashedKey, e.DashedSalt, e.DashedIters = e.Key, e.Salt, e.Iterations
	return e
}

// fileIDs answers what is in a transfer; the token is the permission.
func (a *api) fileIDs(more bool) dialect.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		_, s, all, err := a.shared(r, r.URL.Query().Get("token"), false)
		if err != nil {
			return err
		}
		ids, out := []int64{}, []extended{}
		for _, f := range all {
			ids = append(ids, f.Number)
			out = append(out, extendedOf(s, f))
		}
		if !more {
			return reply.JSON(w, ids)
		}
		return reply.JSON(w, out)
	}
}

// page is the site, as far as there is one: what a recipient opens, or a guest.
func (a *api) page(w http.ResponseWriter, r *http.Request) error {
	const advice = "The transfer was closed by its sender, or its time is over. Ask for a new link."
	q := r.URL.Query()
	if a.o.Maintenance {
		return a.problem(w, errMaintenance, advice)
	}
	switch q.Get("s") {
	case "upload":
		return a.upload(w, r)
	case "download":
	default:
		return a.problem(w, fault(http.StatusNotFound, "rest_endpoint_missing"), "Open the link that you were sent.")
	}
	_, s, all, err := a.shared(r, q.Get("token"), true)
	if err != nil {
		return a.problem(w, err, advice)
	}
	d := page.Share{Title: s.Attrs[attrSubject], Message: s.Attrs[attrMessage], From: s.Attrs[attrFrom], Left: page.Left(time.Until(s.Expires)),
		Expires: s.Expires.UTC().Format("2 January 2006, 15:04 UTC"), Transfer: s.Number}
	if a.optionsOf(s)["hide_sender_email"] {
		d.From = ""
	}
	base := a.siteURL(r) + "/download.php?token=" + url.QueryEscape(q.Get("token")) + "&files_ids="
	var ids []string
	for _, f := range all {
		id := strconv.FormatInt(f.Number, 10)
		ids = append(ids, id)
		x := extendedOf(s, f)
		d.Files = append(d.Files, page.SharedFile{ID: x.ID, Name: x.Name, Bytes: x.Size, Stored: x.EncryptedSize, Size: page.Bytes(x.Size), Type: x.Mime, URL: base + id,
			KeyVersion: x.Key, Salt: x.Salt, PasswordVersion: x.Password, Encoding: x.Encoding, Iterations: x.Iterations, Entropy: x.Entropy, IV: x.IV, AEAD: x.AEAD})
		d.Encrypted = x.Encrypted
	}
	if len(ids) > 1 {
		d.All = base + strings.Join(ids, ",")
	}
	html, err := page.RenderShare(d)
	if err != nil {
		return err
	}
	return reply.Page(w, http.StatusOK, html)
}

// problem is the page that has no files to show.
func (a *api) problem(w http.ResponseWriter, err error, advice string) error {
	f, ok := err.(*faultError)
	switch {
	case store.KindOf(err) == store.Expired:
		f = fault(http.StatusGone, "transfer_expired")
	case !ok:
		return err
	}
	d := page.Problem{Status: f.status, Title: "There is nothing here", Message: f.name, Advice: advice}
	if f == errMaintenance {
		d.Title, d.Advice = "The site is being looked after", "Try again later; your link stays good."
	}
	html, err := page.RenderProblem(d)
	if err != nil {
		return err
	}
	return reply.Page(w, f.status, html)
}

// download answers with the bytes of a file, or with several files as an archive
// (contract §9).
func (a *api) download(w http.ResponseWriter, r *http.Request) error {
	q, err := form(r)
	if err != nil {
		return err
	}
	if q.Get("files_ids") == "" {
		return fault(http.StatusBadRequest, "download_missing_files_ids")
	}
	var c store.Caller
	var s *store.Session
	var all []*store.File
	if r.Method != http.MethodPost && q.Get("token") == "" && q.Has("signature") {
		c, s, all, err = a.owned(r, q.Get("files_ids"))
	} else {
		c, s, all, err = a.shared(r, q.Get("token"), r.Header.Get("Range") == "")
	}
	if err != nil {
		return err
	}
	var wanted []*store.File
	for text := range strings.SplitSeq(q.Get("files_ids"), ",") {
		id, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		i := slices.IndexFunc(all, func(f *store.File) bool { return f.Number == id })
		if err != nil || i < 0 {
			return fault(http.StatusBadRequest, "download_bad_files_ids")
		}
		if !slices.Contains(wanted, all[i]) {
			wanted = append(wanted, all[i])
		}
	}
	c.Confirm = q.Get("notify_upon_completion") == "1" || q.Get("notify_upon_completion") == "true"
	w.Header().Set("Cache-Control", "private, no-store, no-transform")
	format := q.Get("archive_format")
	if len(wanted) == 1 && format == "" {
		if sealed := cryptOf(s); sealed != nil {
			r = chunkRange(r, sealed, wanted[0])
		}
		return a.Serve(w, r, c, refOf(wanted[0]), dialect.Serving{Headers: func(h http.Header, f *store.File) {
			h.Set("Content-Disposition", disposition(f.Attrs[attrPath]))
			h.Set("Cache-Control", "private, no-store, no-transform")
		}})
	}
	if format == "" {
		format = "zip"
	}
	if format != "zip" && format != "tar" {
		return &faultError{http.StatusBadRequest, "rest_bad_parameter", "archive_format"}
	}
	names := archive.Names{}
	var parts []dialect.Archived
	for _, f := range wanted {
		parts = append(parts, dialect.Archived{Ref: refOf(f), File: f, Name: names.Unique(f.Attrs[attrPath])})
	}
	return a.Archive(w, r, c, format, "transfer-"+strconv.FormatInt(s.Number, 10)+"."+format, parts)
}

// form is the query, or of a POST the form.
func form(r *http.Request) (url.Values, error) {
	if r.Method != http.MethodPost {
		return r.URL.Query(), nil
	}
	body, err := dialect.Body(r, mostJSON)
	if err != nil {
		return nil, err
	}
	q, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, &faultError{http.StatusBadRequest, "rest_bad_parameter", "the form is malformed"}
	}
	for name, values := range r.URL.Query() {
		if q[name] == nil {
			q[name] = values
		}
	}
	return q, nil
}

// disposition is Content-Disposition with the name in plain first: one of the
// clients splits at ; and = and knows nothing else.
func disposition(path string) string {
	name := path[strings.LastIndexByte(path, '/')+1:]
	plain := strings.Map(func(c rune) rune {
		if strings.ContainsRune("\";=\\\r\n", c) {
			return '_'
		}
		return c
	}, name)
	// RFC 8187 §3.2.1 has every mark escaped that could be misread; a plus for a
	// space is of forms alone.
	return `attachment; filename="` + plain + `"; filename*=UTF-8''` + strings.ReplaceAll(url.QueryEscape(name), "+", "%20")
}

// days are the whole days of a duration, one at least.
func days(d time.Duration) int64 { return max(int64(d/(24*time.Hour)), 1) }

// config is the JavaScript that the official clients read figures from, by
// regular expressions (contract §5).
func (a *api) config(w http.ResponseWriter, r *http.Request) error {
	text := "window.filesender = {config: {\n" +
		"  site_url: '" + strings.NewReplacer("'", "%27", "\\", "%5C", "<", "%3C").Replace(a.siteURL(r)) + "/',\n" +
		"  upload_chunk_size: " + strconv.FormatInt(a.o.ChunkSize, 10) + ",\n" +
		"  terasender_enabled: true,\n" +
		"  terasender_worker_count: " + strconv.Itoa(a.o.Threads) + ",\n" +
		"  terasender_worker_start_must_complete_within_ms: 180000,\n" +
		"  terasender_worker_max_chunk_retries: 20,\n" +
		"  max_transfer_files: " + strconv.Itoa(a.o.Files) + ",\n" +
		"  max_transfer_recipients: " + strconv.Itoa(a.o.Recipients) + ",\n" +
		"  default_transfer_days_valid: " + strconv.FormatInt(days(a.o.TTL), 10) + ",\n" +
		"  max_transfer_days_valid: " + strconv.FormatInt(days(a.o.MaxTTL), 10) + ",\n" +
		"  encryption_enabled: true,\n" +
		"  encryption_password_must_have_upper_and_lower_case: false,\n" +
		"  encryption_password_must_have_numbers: false,\n" +
		"  encryption_password_must_have_special_characters: false,\n" +
		"  encryption_encode_encrypted_chunks_in_base64_during_upload: false,\n" +
		"  crypto_iv_len: '16',\n" +
		"  encryption_password_hash_iterations_new_files: '" + strconv.Itoa(iterations) + "',\n" +
		"  crypto_crypt_name: 'AES-GCM',\n" +
		"  crypto_hash_name: 'SHA-256',\n" +
		"}};\n"
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	_, err := w.Write([]byte(text))
	return reply.Gone(err)
}
