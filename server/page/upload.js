'use strict';
(() => {
	const said = document.body.dataset
	const $ = id => document.getElementById(id)
	const items = []
	const files = 3          // so many at a time
	const tries = 12         // of one request, before the person is asked
	const stalled = 60000    // ms without a byte of a body: the connection is dead
	const thinking = 600000  // ms without an answer: the server may have to read a large file once more
	const maxFiles = Number(said.maxFiles), maxSize = Number(said.maxSize), chunkSize = Number(said.chunkSize)
	let begun = null         // what the server knows of this upload; null: nothing
	let running = false
	const flying = new Set() // requests on their way

	const size = n => {
		if (n === 1) return '1 byte'
		const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB']
		let i = 0
		for (; n >= 1024 && i < units.length - 1; i++) n /= 1024
		return (i ? n.toFixed(1) : n) + ' ' + units[i]
	}
	const say = text => { $('said').textContent = text }
	const complain = text => { $('problem').textContent = text }

	class Refused extends Error {
		constructor(message, again, status) {
			super(message)
			this.again = again // it may succeed later
			this.status = status
		}
	}

	// What FileSender's names of errors mean to people; other answers are sentences.
	const words = {
		guest_expired: 'The invitation is over. Ask for a new one.',
		transfer_expired: 'This upload took too long and was given up. Begin anew.',
		transfer_not_found: 'This upload was given up. Begin anew.',
		transfer_user_quota_exceeded: 'There is no more room for whoever invited you.',
		storage_not_enough_space_left: 'The server has no more room.',
		transfer_maximum_size_exceeded: 'These files are too large together.',
		transfer_maximum_file_size_exceeded: 'A file is too large.',
		transfer_too_many_files: 'These are too many files.',
		transfer_too_many_recipients: 'These are too many addresses.',
		transfer_no_recipients: 'Say to whom the files go.',
		file_extension_not_allowed: 'Files of this kind are not taken.',
		transfer_file_name_invalid: 'A file has a name that is not taken.',
		undergoing_maintenance: 'The server is being looked after.',
	}
	function worded(answer) {
		let a = null
		try { a = JSON.parse(answer.responseText) } catch { /* no JSON, no message */ }
		if (!a || !a.message) return 'The server answered ' + answer.status + '.'
		const about = typeof a.details === 'string' ? ' ' + a.details : ''
		if (words[a.message]) return words[a.message] + about
		return said.speaks === 'native' ? a.message + '.' : 'The server refused it: ' + a.message + '.' + about
	}

	// call sends a request and returns the answer. moved is told of the bytes of
	// the body that went out.
	function call(method, url, headers, body, moved) {
		return new Promise((resolve, reject) => {
			const x = new XMLHttpRequest()
			let last = Date.now(), patience = body instanceof Blob ? stalled : thinking
			const watch = setInterval(() => { if (Date.now() - last > patience) x.abort() }, 1000)
			x.open(method, url)
			for (const name in headers) x.setRequestHeader(name, headers[name])
			x.upload.onprogress = e => {
				last = Date.now()
				if (moved) moved(e.loaded)
			}
			x.upload.onload = () => { patience = thinking }
			x.onprogress = () => { last = Date.now() }
			x.onloadend = () => {
				clearInterval(watch)
				flying.delete(x)
				if (x.status >= 200 && x.status < 300) return resolve(x)
				if (x.status === 0) reject(new Refused('The connection broke.', true))
				else reject(new Refused(worded(x), x.status >= 500 && x.status !== 501 || x.status === 408 || x.status === 429, x.status))
			}
			flying.add(x)
			x.send(body)
		})
	}
	const json = async (method, url, headers, body) => {
		const x = await call(method, url, {...headers, 'Content-Type': 'application/json'}, JSON.stringify(body))
		return x.responseText ? JSON.parse(x.responseText) : null
	}

	// patiently does something again until it succeeds, is refused for good, or
	// has failed too often.
	async function patiently(work) {
		for (let n = 1; ; n++) {
			if (!running) throw new Refused('', false)
			try {
				const done = await work()
				if (n > 1) say('The connection is back.')
				return done
			} catch (e) {
				if (!running || !e.again || n === tries) throw e
				say(e.message + ' Trying again.')
				await new Promise(done => {
					const wait = Math.min(30000, 250 * 2 ** n) * (0.75 + Math.random() / 2)
					const timer = setTimeout(go, wait)
					addEventListener('online', go)
					function go() {
						clearTimeout(timer)
						removeEventListener('online', go)
						done()
					}
				})
			}
		}
	}

	// What is spoken with the server: begin announces the upload, chunk sends
	// bytes of a file and returns where it goes on, finish ends a file.
	const languages = {
		filesender: () => {
			const headers = {'X-Filesender-Security-Token': said.securityToken, 'csrfptoken': said.csrfToken}
			const at = (path, more) => said.base + path + '?' + new URLSearchParams({...more, vid: said.invitation})
			const of = item => ({key: item.remote.uid, roundtriptoken: begun.roundtriptoken})
			return {
				async begin(to, subject, note) {
					begun = await json('POST', at('/transfer'), headers, {
						files: items.map((item, i) => ({name: item.name, size: item.file.size, mime_type: item.file.type, cid: String(i)})),
						recipients: to, subject: subject || null, message: note || null,
					})
					for (const f of begun.files) items[f.cid].remote = f
				},
				async chunk(item, from, to, moved) {
					await call('PUT', at('/file/' + item.remote.id + '/chunk/' + from, of(item)), {...headers, 'Content-Type': 'application/octet-stream'}, item.file.slice(from, to), moved)
					return to
				},
				finish: item => json('PUT', at('/file/' + item.remote.id, of(item)), headers, {complete: true}),
				complete: () => json('PUT', at('/transfer/' + begun.id, {roundtriptoken: begun.roundtriptoken}), headers, {complete: true}),
				cancel: () => call('DELETE', at('/transfer/' + begun.id, {roundtriptoken: begun.roundtriptoken}), headers),
			}
		},
		// A session; its files one by one in pieces, by tus, or where the server has
		// none of that as they are.
		native: () => {
			const headers = {'X-Fileshare-Invitation': said.invitation}
			const tus = {...headers, 'Tus-Resumable': '1.0.0'}
			const at = path => said.base + '/sessions' + path
			const b64 = text => btoa(String.fromCharCode(...new TextEncoder().encode(text)))
			async function announce(item) {
				if (item.remote) return
				if (!chunkSize) {
					item.remote = (await json('POST', at('/' + begun.id + '/files'), headers, {name: item.name, size: item.file.size})).id
					return
				}
				const meta = ['filename ' + b64(item.name), 'session ' + b64(begun.id)]
				if (item.file.type) meta.push('filetype ' + b64(item.file.type))
				const x = await call('POST', said.base + '/tus/', {...tus, 'Upload-Length': item.file.size, 'Upload-Metadata': meta.join(',')})
				item.remote = new URL(x.getResponseHeader('Location'), location).pathname
			}
			async function whole(item, moved) {
				try {
					await call('PUT', at('/' + begun.id + '/files/' + item.remote), {...headers, 'Content-Type': item.file.type || 'application/octet-stream'}, item.file, moved)
				} catch (e) {
					if (e.status !== 409 || !item.unsure) { // else it has arrived before, and the answer has not
						item.unsure = true
						throw e
					}
				}
			}
			return {
				async begin(to, subject) { begun = await json('POST', at(''), headers, subject ? {name: subject} : {}) },
				async chunk(item, from, to, moved) {
					await announce(item)
					if (!chunkSize) {
						await whole(item, moved)
						return to
					}
					if (item.unsure) {
						const x = await call('HEAD', item.remote, tus)
						item.unsure = false
						const n = Number(x.getResponseHeader('Upload-Offset'))
						if (n !== from) return n
					}
					try {
						const x = await call('PATCH', item.remote, {...tus, 'Content-Type': 'application/offset+octet-stream', 'Upload-Offset': from}, item.file.slice(from, to), moved)
						return Number(x.getResponseHeader('Upload-Offset'))
					} catch (e) {
						item.unsure = true
						e.again = e.again || e.status === 409
						throw e
					}
				},
				async finish(item) {
					if (item.file.size) return
					await announce(item)
					if (!chunkSize) await whole(item)
				},
				async complete() {
					// A file that was announced twice, as the first answer was lost.
					const list = JSON.parse((await call('GET', at('/' + begun.id + '/files?limit=1000'), headers)).responseText)
					for (const f of list) if (f.state !== 'UPLOADED') await call('DELETE', at('/' + begun.id + '/files/' + f.id), headers)
					await call('POST', at('/' + begun.id + '/complete'), headers)
				},
				cancel: () => call('DELETE', at('/' + begun.id), headers),
			}
		},
	}
	const language = languages[said.speaks]()

	function row(item) {
		const li = document.createElement('li')
		const what = document.createElement('span')
		what.className = 'what'
		const name = document.createElement('bdi')
		name.textContent = item.name
		item.more = document.createElement('span')
		item.more.className = 'more'
		item.more.textContent = size(item.file.size)
		what.append(name, item.more)
		item.drop = document.createElement('button')
		item.drop.type = 'button'
		item.drop.className = 'second'
		item.drop.textContent = 'Remove'
		item.drop.setAttribute('aria-label', 'Remove ' + item.name)
		item.drop.onclick = () => remove(item)
		item.bar = document.createElement('progress')
		item.bar.max = Math.max(item.file.size, 1)
		item.bar.value = 0
		item.bar.hidden = true
		item.bar.setAttribute('aria-label', item.name)
		li.append(what, item.drop, item.bar)
		item.row = li
		return li
	}

	function add(list) {
		complain('')
		for (const file of list) {
			if (items.some(x => x.name === file.name && x.file.size === file.size && x.file.lastModified === file.lastModified)) continue
			let name = file.name
			for (let n = 2; items.some(x => x.name === name); n++) name = file.name.replace(/(\.[^.]*)?$/, ' (' + n + ')$1')
			const item = {file, name, sent: 0, moving: 0, done: false}
			items.push(item)
			$('list').append(row(item))
		}
		changed()
	}
	function remove(item) {
		const at = items.indexOf(item)
		items.splice(at, 1)
		item.row.remove()
		changed()
		const next = items[Math.min(at, items.length - 1)]
		;(next ? next.drop : $('pick')).focus()
	}
	function changed() {
		const bytes = items.reduce((n, x) => n + x.file.size, 0)
		let wrong = ''
		if (maxFiles && items.length > maxFiles) wrong = 'These are too many files: at most ' + maxFiles + ' can be sent.'
		else if (maxSize && bytes > maxSize) wrong = 'These files are too large: at most ' + size(maxSize) + ' can be sent.'
		complain(wrong)
		$('send').disabled = !items.length || wrong !== ''
		say(items.length ? items.length + (items.length === 1 ? ' file, ' : ' files, ') + size(bytes) : '')
	}

	const began = {at: 0, bytes: 0}
	let quarters = 0 // of all bytes, that were told of
	function progress() {
		let sent = 0, all = 0
		for (const item of items) {
			const n = item.done ? item.file.size : Math.min(item.sent + item.moving, item.file.size)
			item.bar.value = item.done ? item.bar.max : n
			sent += n
			all += item.file.size
		}
		$('bar').max = Math.max(all, 1)
		$('bar').value = all ? sent : 1
		const rate = (sent - began.bytes) / Math.max(1, (Date.now() - began.at) / 1000)
		let text = size(sent) + ' of ' + size(all)
		if (rate > 0 && sent < all) {
			const left = (all - sent) / rate
			text += ', about ' + (left > 90 ? Math.ceil(left / 60) + ' minutes' : Math.ceil(left) + ' seconds') + ' left'
		}
		$('figures').textContent = text
		const now = all ? Math.floor(4 * sent / all) : 0
		if (now > quarters && now < 4) say(25 * now + ' percent sent.')
		quarters = Math.max(quarters, now)
	}

	async function send(item) {
		while (item.sent < item.file.size) {
			const from = item.sent
			const to = Math.min(from + (chunkSize || item.file.size), item.file.size)
			item.sent = await patiently(() => {
				item.moving = 0
				return language.chunk(item, from, to, n => {
					item.moving = n
					progress()
				})
			})
			item.moving = 0
			progress()
		}
		if (!item.done) await patiently(() => language.finish(item))
		item.done = true
		item.more.textContent = size(item.file.size) + ', sent'
		progress()
	}

	async function all() {
		const waiting = items.filter(x => !x.done)
		let failed = null
		await Promise.all(Array.from({length: files}, async () => {
			while (waiting.length && !failed) {
				try {
					await send(waiting.shift())
				} catch (e) {
					failed = failed || e
					for (const x of flying) x.abort()
				}
			}
		}))
		if (failed) throw failed
	}

	function show(sending) {
		running = sending
		for (const part of document.querySelectorAll('.fields')) part.hidden = sending || begun !== null
		$('total').hidden = !begun && !sending
		$('stop').hidden = !sending && !begun
		$('send').hidden = sending
		for (const item of items) {
			item.drop.hidden = sending || begun !== null
			item.bar.hidden = !sending && !begun
		}
	}

	async function start() {
		complain('')
		show(true)
		$('stop').focus()
		say('Sending.')
		quarters = 0
		try {
			const field = id => $(id) ? $(id).value.trim() : ''
			if (!begun) await patiently(() => language.begin(field('to').split(',').map(x => x.trim()).filter(x => x), field('subject'), field('note')))
			began.at = Date.now()
			began.bytes = items.reduce((n, x) => n + x.sent, 0)
			progress()
			await all()
			await patiently(() => language.complete())
			finished()
		} catch (e) {
			if (!running) return // cancelled
			if (e.status === 404 || e.status === 410) forget() // there is nothing to go on with
			show(false)
			$('send').textContent = begun ? 'Go on' : 'Send'
			say('')
			complain((e.message || 'Something went wrong.') + (begun ? ' What was sent is kept; you can go on.' : ''))
			$('send').focus()
		}
	}

	function finished() {
		running = false
		$('form').hidden = true
		$('until').hidden = true
		if ($('message')) $('message').hidden = true
		$('title').textContent = 'Your files were sent'
		const list = $('list')
		for (const item of items) {
			item.bar.remove()
			item.drop.remove()
		}
		list.setAttribute('aria-label', 'Files that were sent')
		$('form').after(list)
		document.title = 'Your files were sent'
		$('title').focus()
	}

	// forget lets everything be sent anew.
	function forget() {
		begun = null
		for (const item of items) {
			Object.assign(item, {sent: 0, moving: 0, done: false, unsure: false, remote: null})
			item.more.textContent = size(item.file.size)
		}
	}

	async function stop() {
		const was = begun
		running = false
		for (const x of flying) x.abort()
		if (was) await language.cancel().catch(() => {})
		forget()
		show(false)
		$('send').textContent = 'Send'
		changed()
		say('Cancelled. Nothing was sent.')
		$('send').focus()
	}

	$('pick').onchange = () => {
		add($('pick').files)
		$('pick').value = ''
	}
	$('form').onsubmit = e => {
		e.preventDefault()
		if (running) return
		for (const id of ['to', 'subject']) {
			if ($(id) && !$(id).reportValidity()) return
		}
		start()
	}
	$('stop').onclick = stop
	let over = 0
	addEventListener('dragenter', () => { if (!running && !begun) $('drop').classList.toggle('over', ++over > 0) })
	addEventListener('dragleave', () => { $('drop').classList.toggle('over', (over = Math.max(0, over - 1)) > 0) })
	addEventListener('dragover', e => e.preventDefault())
	addEventListener('drop', e => {
		e.preventDefault()
		over = 0
		$('drop').classList.remove('over')
		if (running || begun || !e.dataTransfer) return
		const folders = Array.from(e.dataTransfer.items || []).some(x => x.webkitGetAsEntry && x.webkitGetAsEntry()?.isDirectory)
		if (folders) return complain('Folders cannot be sent. Add the files in them, or an archive.')
		add(e.dataTransfer.files)
	})
	addEventListener('beforeunload', e => { if (running) e.preventDefault() })
})()
