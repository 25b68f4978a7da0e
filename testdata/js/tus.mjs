// Runs tus-js-client, unmodified: node tus.mjs MODE ENDPOINT FILE [BYTES OF A CHUNK].
// FILESHARE_USER is name:password; FILESHARE_DIRECT where files are fetched, if not from where they were sent. Prints one line of JSON, and one "progress N" for each part that arrived.
import crypto from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import * as tus from 'tus-js-client'

const [mode, endpoint, file, chunk] = process.argv.slice(2)
const authorization = 'Basic ' + Buffer.from(process.env.FILESHARE_USER).toString('base64')
const chunkSize = chunk ? Number(chunk) : Infinity
const metadata = { filename: path.basename(file), filetype: 'application/x-test', ttl: '600', tags: 'one,two' }

// upload resolves with the upload and the last answer's Upload-File.
function upload(source, options, started = () => {}) {
  return new Promise((resolve, reject) => {
    let link = null
    let last = 0
    const u = new tus.Upload(source, {
      endpoint, chunkSize, metadata, headers: { Authorization: authorization },
      retryDelays: Array(60).fill(250),
      onAfterResponse: (req, res) => { link = res.getHeader('Upload-File') ?? link },
      onProgress: n => { if (n - last >= 1 << 20) { last = n; console.log('progress ' + n) } },
      onError: reject, onSuccess: () => resolve({ upload: u, link }),
      ...options,
    })
    started(u)
    u.start()
  })
}

const stream = () => fs.createReadStream(file)

async function get(link) {
  const res = await fetch(process.env.FILESHARE_DIRECT ? new URL(new URL(link).pathname, process.env.FILESHARE_DIRECT) : link)
  const hash = crypto.createHash('sha256')
  let size = 0
  for await (const part of res.body ?? []) { hash.update(part); size += part.length }
  return { status: res.status, size, sha256: hash.digest('hex'), type: res.headers.get('content-type'), name: res.headers.get('content-disposition') }
}

const modes = {
  async whole() { return get((await upload(stream(), {})).link) },
  async buffer() { return get((await upload(fs.readFileSync(file), {})).link) },
  async withdata() { return get((await upload(stream(), { uploadDataDuringCreation: true })).link) },
  async parallel() { return get((await upload(stream(), { parallelUploads: 4, chunkSize: Infinity })).link) },
  async deferred() {
    // A stream without a path: its length is known at its end only.
    const source = stream().pipe(new (await import('node:stream')).PassThrough())
    return get((await upload(source, { uploadLengthDeferred: true, chunkSize: 1 << 20 })).link)
  },
  // The IETF's draft, as far as this client speaks it: interop version 6.
  async draft() {
    let first
    const at = { endpoint: new URL('../uploads?ttl=600', endpoint).href, protocol: 'ietf-draft-05' }
    const { url, offset } = await new Promise((resolve, reject) => {
      upload(stream(), {
        ...at, chunkSize: 1 << 20, onError: reject,
        onChunkComplete: (size, sent) => { if (sent >= 2 << 20) first.abort().then(() => resolve({ url: first.url, offset: sent })) },
      }, u => { first = u }).catch(reject)
    })
    const { upload: done } = await upload(stream(), { ...at, uploadUrl: url })
    const head = await fetch(done.url, { method: 'HEAD', headers: { Authorization: authorization } })
    if (head.headers.get('upload-complete') !== '?1') throw new Error('not complete')
    const { status, sha256 } = await get(head.headers.get('upload-file'))
    return { status, sha256, resumedAt: offset }
  },
  async override() { return get((await upload(stream(), { overridePatchMethod: true })).link) },
  // Paused in the middle, gone on with by another process's knowledge: the address.
  async resume() {
    let first
    const paused = new Promise((resolve, reject) => {
      upload(stream(), {
        chunkSize: 1 << 20, onError: reject,
        onChunkComplete: (size, sent) => { if (sent >= 2 << 20) first.abort().then(() => resolve(first.url)) },
      }, u => { first = u }).catch(reject)
    })
    const url = await paused
    const head = await fetch(url, { method: 'HEAD', headers: { 'Tus-Resumable': '1.0.0', Authorization: authorization } })
    const done = await upload(stream(), { uploadUrl: url })
    return { ...await get(done.link), resumedAt: Number(head.headers.get('upload-offset')) }
  },
  // A daemon that gives uploads up after a second.
  async expired() {
    const headers = { 'Tus-Resumable': '1.0.0', Authorization: authorization }
    const url = (await fetch(endpoint, { method: 'POST', headers: { ...headers, 'Upload-Length': '10' } })).headers.get('location')
    while ((await fetch(url, { method: 'HEAD', headers })).ok) await new Promise(resolve => setTimeout(resolve, 200))
    try {
      await upload(stream(), { endpoint: null, uploadUrl: url, retryDelays: [] })
      return { expired: 'accepted' }
    } catch (e) {
      return { expired: e.originalResponse?.getStatus() ?? String(e) }
    }
  },
  async terminate() {
    const { upload: u, link } = await upload(stream(), {})
    await u.abort(true)
    const head = await fetch(u.url, { method: 'HEAD', headers: { 'Tus-Resumable': '1.0.0', Authorization: authorization } })
    return { head: head.status, link: (await get(link)).status }
  },
  async refused() {
    const statuses = {}
    const failing = async (name, source, options) => {
      try {
        await upload(source, { retryDelays: [], ...options })
        statuses[name] = 'accepted'
      } catch (e) {
        statuses[name] = e.originalResponse?.getStatus() ?? String(e)
      }
    }
    await failing('large', stream(), { uploadSize: 2 ** 50 })
    await failing('password', stream(), { headers: { Authorization: 'Basic ' + Buffer.from('a:b').toString('base64') } })
    // With no endpoint the client does not begin anew where an upload is unknown.
    await failing('unknown', stream(), { endpoint: null, uploadUrl: new URL('88e5905d-5d96-4750-ab3d-77a1ed26f569', endpoint).href })
    return statuses
  },
}

try {
  console.log(JSON.stringify(await modes[mode]()))
  process.exit(0)
} catch (e) {
  console.error(e)
  process.exit(1)
}
