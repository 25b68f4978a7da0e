// Uppy and tus-js-client in a page of another origin than the daemon's; daemon and report are of the page around it.
import Uppy from '@uppy/core'
import Tus from '@uppy/tus'
import * as tus from 'tus-js-client'

const headers = { Authorization: 'Basic ' + btoa('foo:bar') }

async function same(link, blob) {
  const got = new Uint8Array(await (await fetch(new URL(link).pathname)).arrayBuffer())
  const want = new Uint8Array(await blob.arrayBuffer())
  return got.length === want.length && got.every((b, i) => b === want[i])
}

async function visit() {
  const seen = {}
  const content = new Uint8Array(5 << 20)
  for (let i = 0; i < content.length; i += 65536) crypto.getRandomValues(content.subarray(i, i + 65536))
  const blob = new Blob([content], { type: 'application/x-test' })

  let link = null
  const uppy = new Uppy().use(Tus, {
    endpoint: daemon + '/tus/', chunkSize: 1 << 20, headers, onAfterResponse: (req, res) => { link = res.getHeader('Upload-File') ?? link },
  })
  uppy.addFile({ name: 'größe.bin', type: blob.type, data: blob })
  const result = await uppy.upload()
  seen.uppy = [result.failed.length, result.successful.length, link !== null && await same(link, blob)]

  // Paused, found again by its fingerprint in the browser's storage, and gone on with.
  const upload = options => new Promise((resolve, reject) => {
    let last = null
    const u = new tus.Upload(new File([blob], 'a.bin', { type: blob.type, lastModified: 1 }), {
      endpoint: daemon + '/tus/', chunkSize: 1 << 20, headers, metadata: { filename: 'a.bin' }, onError: reject, onSuccess: () => resolve(last),
      onAfterResponse: (req, res) => { last = res.getHeader('Upload-File') ?? last }, ...options(resolve, () => u),
    })
    u.findPreviousUploads().then(previous => {
      if (previous.length) u.resumeFromPreviousUpload(previous[0])
      seen.found ??= 0
      seen.found += previous.length
      u.start()
    })
  })
  await upload((resolve, self) => ({ onChunkComplete: (size, sent) => { if (sent >= 2 << 20) self().abort().then(resolve) } }))
  seen.resumed = await same(await upload(() => ({})), blob)
  seen.parallel = await same(await upload(() => ({ parallelUploads: 3, chunkSize: Infinity, storeFingerprintForResuming: false, fingerprint: async () => null })), blob)
  return seen
}

visit().then(report)
