package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"fileshare/api"
)

// visitPage is for pages of the daemon's own, as they are served, with their
// policy: they are opened in a window of their own. until waits for what is to
// become true in there. break lets each third request of a page that sends bytes
// break off, and go on.
const visitPage = `<script>
const sleep = ms => new Promise(done => setTimeout(done, ms))
async function until(what, check) {
	for (const end = Date.now() + 40000; Date.now() < end; await sleep(20)) {
		if (check()) return
	}
	throw new Error('in vain: ' + what)
}
async function visit(path) {
	const w = open(path)
	await until('page', () => w.location.href !== 'about:blank' && w.document.readyState === 'complete')
	w.problems = []
	w.addEventListener('error', e => w.problems.push(e.message))
	w.addEventListener('securitypolicyviolation', e => w.problems.push(e.violatedDirective))
	w.el = id => w.document.getElementById(id)
	return w
}
function breaking(w) {
	const send = w.XMLHttpRequest.prototype.send
	let n = 0
	w.broken = 0
	w.XMLHttpRequest.prototype.send = function (body) {
		send.call(this, body)
		if (body instanceof w.Blob && n++ % 3 === 0) {
			w.broken++
			this.abort()
		}
	}
}
function choose(w, ...files) {
	const t = new w.DataTransfer()
	for (const f of files) t.items.add(f)
	w.el('pick').files = t.files
	w.el('pick').dispatchEvent(new w.Event('change'))
}
function drop(w, ...files) {
	const t = new w.DataTransfer()
	for (const f of files) t.items.add(f)
	w.document.dispatchEvent(new w.DragEvent('dragenter', {dataTransfer: t, bubbles: true}))
	w.document.dispatchEvent(new w.DragEvent('drop', {dataTransfer: t, bubbles: true, cancelable: true}))
}
const file = (w, name, n) => new w.File([Uint8Array.from({length: n}, (_, i) => i % 251)], name)
const names = w => Array.from(w.document.querySelectorAll('#list bdi'), x => x.textContent)
</script>
`

// pattern is what file(w, name, n) has in it.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

// testGuestPage sends files by the page of a FileSender guest, over a line that
// breaks, without a mouse, and with one.
func testGuestPage(t *testing.T) {
	d := e2eStart(t, t.TempDir(), fsAccount(), "APIS_FILESENDER_CHUNK_SIZE=64KiB")
	var g struct {
		ID    int64
		Token string
	}
	fsDo(t, d, "POST", "/rest.php/guest", nil, map[string]any{"recipient": "carol@example.net", "subject": "Your <b>data</b>", "message": "please"}, &g, http.StatusCreated)
	got := browse(t, "http://"+d.addr, visitPage+`<script>
async function main() {
	const w = await visit('/?s=upload&vid=`+g.Token+`')
	const title = w.el('title').textContent, message = w.el('message').textContent
	const idle = w.el('send').disabled
	choose(w, file(w, 'größe.bin', 300000), file(w, 'a & b.txt', 5), file(w, 'not this', 10))
	drop(w, file(w, 'empty', 0), file(w, 'a & b.txt', 6))
	w.document.querySelectorAll('#list button')[2].click()
	const focused = w.document.activeElement.getAttribute('aria-label')
	const chosen = names(w)
	w.el('form').requestSubmit()
	const asks = w.document.activeElement.id // there is nobody to send to
	w.el('to').value = 'bob@example.net, dave@example.net'
	w.el('subject').value = 'The data'
	w.el('note').value = 'As asked'
	breaking(w)
	const told = []
	new w.MutationObserver(all => all.forEach(x => x.addedNodes.forEach(n => told.push(n.data)))).observe(w.el('said'), {childList: true})
	w.el('form').requestSubmit()
	await until('sent', () => w.document.title === 'Your files were sent')
	return {told: ['Sending.', '50 percent sent.'].every(x => told.includes(x)), title, message, idle, focused, chosen, asks, broken: w.broken > 2, problems: w.problems, said: w.el('title').textContent,
		focus: w.document.activeElement.id, form: w.el('form').hidden, left: names(w).length}
}
main().then(report)
</script>`, nil)
	want := `{"told":true,"title":"Your <b>data</b>","message":"please","idle":true,"focused":"Remove empty","chosen":["größe.bin","a & b.txt","empty","a & b (2).txt"],"asks":"to",` +
		`"broken":true,"problems":[],"said":"Your files were sent","focus":"title","form":true,"left":4}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var all []struct {
		Subject, Message, Status string
		Email                    string `json:"user_email"`
		Files                    []struct {
			ID   int64
			Name string
		}
		Recipients []struct{ Email, Token string }
	}
	fsDo(t, d, "GET", "/rest.php/guest/"+strconv.FormatInt(g.ID, 10)+"/transfers", nil, nil, &all, http.StatusOK)
	if len(all) != 1 || all[0].Status != "available" || all[0].Subject != "The data" || all[0].Message != "As asked" || all[0].Email != "carol@example.net" || len(all[0].Recipients) != 2 {
		t.Fatalf("%+v", all)
	}
	sizes := map[string]int{"größe.bin": 300000, "a & b.txt": 5, "empty": 0, "a & b (2).txt": 6}
	for _, f := range all[0].Files {
		a, err := d.try(t.Context(), "GET", "/download.php?token="+all[0].Recipients[1].Token+"&files_ids="+strconv.FormatInt(f.ID, 10), nil)
		if err != nil || !bytes.Equal(a.body, pattern(sizes[f.Name])) {
			t.Errorf("%s: %v", f.Name, err)
		}
	}

	// A guest who gives up leaves nothing; one whose line is gone for good is told,
	// and goes on where he was.
	got = browse(t, "http://"+d.addr, visitPage+`<script>
async function main() {
	const w = await visit('/?s=upload&vid=`+g.Token+`')
	choose(w, file(w, 'large', 500000))
	w.el('to').value = 'bob@example.net'
	const send = w.XMLHttpRequest.prototype.send
	const hold = () => { w.XMLHttpRequest.prototype.send = function (body) { if (!(body instanceof w.Blob)) send.call(this, body) } }
	hold()
	w.el('form').requestSubmit()
	await until('stop', () => !w.el('stop').hidden && !w.el('total').hidden)
	await sleep(300)
	w.el('stop').click()
	await until('cancelled', () => w.el('said').textContent.startsWith('Cancelled'))
	const focus = w.document.activeElement.id
	// Refused for good in the middle: the voucher stays, so the rest can be sent.
	let n = 0
	const open = w.XMLHttpRequest.prototype.open
	w.XMLHttpRequest.prototype.send = send
	w.XMLHttpRequest.prototype.open = function (method, url) {
		open.call(this, method, n++ === 4 ? url.replace('roundtriptoken=', 'roundtriptoken=x') : url)
	}
	w.el('form').requestSubmit()
	await until('refused', () => w.el('problem').textContent)
	const problem = w.el('problem').textContent, button = w.el('send').textContent
	// Gone: there is nothing to go on with.
	w.XMLHttpRequest.prototype.open = function (method, url) {
		open.call(this, method, url.replace(/file\/\d+/, 'file/99999'))
	}
	w.el('form').requestSubmit()
	await until('gone', () => w.el('problem').textContent)
	const gone = w.el('send').textContent
	w.XMLHttpRequest.prototype.open = open
	w.el('form').requestSubmit()
	await until('sent', () => w.document.title === 'Your files were sent')
	return {focus, problem, button, gone, problems: w.problems}
}
main().then(report)
</script>`, nil)
	want = `{"focus":"send","problem":"The server refused it: rest_roundtrip_token_invalid. What was sent is kept; you can go on.","button":"Go on","gone":"Send","problems":[]}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	fsDo(t, d, "GET", "/rest.php/guest/"+strconv.FormatInt(g.ID, 10)+"/transfers", nil, nil, &all, http.StatusOK)
	if len(all) != 3 || all[0].Status != "available" || all[1].Status != "uploading" {
		t.Errorf("%+v", all)
	}
	fsDo(t, d, "DELETE", "/rest.php/guest/"+strconv.FormatInt(g.ID, 10), nil, nil, nil, http.StatusOK)
	a, err := d.try(t.Context(), "GET", "/?s=upload&vid="+g.Token, nil)
	if err != nil || a.status != http.StatusGone || strings.Contains(string(a.body), "<script") {
		t.Errorf("%v %s", err, a.body)
	}
}

// testInvitePage sends files by the page of an invitation of our own, resumably
// and where that is switched off.
func testInvitePage(t *testing.T) {
	for _, tus := range []string{"true", "false"} {
		d := e2eStart(t, t.TempDir(), "APIS_TUS_ENABLED="+tus)
		var in api.Invitation
		a := d.do("POST", "/invitations", strings.NewReader("name=Slides&max_uses=1&max_size=30000000"), "Content-Type", "application/x-www-form-urlencoded")
		if err := json.Unmarshal(a.body, &in); err != nil || a.status != http.StatusCreated {
			t.Fatalf("%v %s", err, a.body)
		}
		got := browse(t, "http://"+d.addr, visitPage+`<script>
async function main() {
	const w = await visit('/invite/`+in.Token+`')
	choose(w, file(w, 'too large', 31000000))
	const large = [w.el('problem').textContent, w.el('send').disabled]
	w.document.querySelector('#list button').click()
	choose(w, file(w, 'größe.bin', 20000000), file(w, 'a.txt', 5), file(w, 'empty', 0))
	w.el('subject').value = 'The slides'
	breaking(w)
	w.el('form').requestSubmit()
	await until('sent', () => w.document.title === 'Your files were sent')
	return {large, broken: w.broken > 0, problems: w.problems, asks: !!w.el('to') || !!w.el('note')}
}
main().then(report)
</script>`, nil)
		if want := `{"large":["These files are too large: at most 28.6 MiB can be sent.",true],"broken":true,"problems":[],"asks":false}`; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		var brought api.List[api.Session]
		var files []api.File
		get := func(path string, out any) {
			t.Helper()
			a := d.do("GET", path, nil)
			if err := json.Unmarshal(a.body, out); err != nil {
				t.Fatalf("%v in %s", err, a.body)
			}
		}
		get("/invitations/"+in.ID, &in)
		get("/invitations/"+in.ID+"/sessions", &brought)
		if in.State != "USED" || len(brought.Items) != 1 || brought.Items[0].Name != "The slides" || brought.Items[0].CompletedAt == nil {
			t.Fatalf("%+v %+v", in, brought)
		}
		get("/sessions/"+brought.Items[0].ID+"/files", &files)
		if len(files) != 3 {
			t.Errorf("%+v", files)
		}
		sizes := map[string]int{"größe.bin": 20000000, "a.txt": 5, "empty": 0}
		for _, f := range files {
			a := d.do("GET", "/sessions/"+brought.Items[0].ID+"/files/"+f.ID, nil)
			if !bytes.Equal(a.body, pattern(sizes[f.Name])) {
				t.Errorf("%s: %d bytes", f.Name, len(a.body))
			}
		}
	}
}
