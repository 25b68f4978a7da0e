// The SDK of Extra Horizon in a page of another origin than the daemon's. It is
// bundled as its users do; daemon and report are of the page around it.
import { createOAuth2Client, createProxyClient, rqlBuilder } from '@extrahorizon/javascript-sdk'

const told = promise => promise.then(() => 'nothing', e => `${e.constructor.name} ${e.response?.code ?? ''}`.trim())

async function visit() {
  const seen = {}
  const exh = createOAuth2Client({ host: daemon, clientId: 'app' })
  seen.anonymous = await told(exh.users.me())
  seen.wrong = await told(exh.auth.authenticate({ username: 'viewer@example.com', password: 'wrong' }))
  await exh.auth.authenticate({ username: 'viewer@example.com', password: 'correct horse' })
  seen.me = (await exh.users.me()).email

  const size = 20 << 20
  const content = new Uint8Array(size)
  for (let i = 0; i < size; i += 65536) crypto.getRandomValues(content.subarray(i, i + 65536))
  const progress = []
  const file = await exh.files.create('größe "x".bin', new Blob([content]), {
    tags: ['from a page', 'a,b+c'], headers: { 'X-Fileshare-TTL': '600' }, onUploadProgress: e => progress.push(e),
  })
  seen.name = file.name
  seen.size = file.size === size
  seen.lifetime = file.expiryTimestamp - file.creationTimestamp
  const last = progress.at(-1)
  seen.progress = progress.length > 0 && last.loaded === last.total && last.total > size && progress.every((e, i) => i === 0 || e.loaded >= progress[i - 1].loaded)
  const [{ token }] = file.tokens
  const got = new Uint8Array(await exh.files.retrieve(token))
  seen.same = got.length === size && got.every((b, i) => b === content[i])
  seen.found = (await exh.files.findByName(file.name, { rql: rqlBuilder().eq('tags', 'a,b+c').build() }))?.name
  seen.all = (await exh.files.findAll({ rql: rqlBuilder().eq('tags', 'from a page').build() })).length
  seen.text = new TextDecoder().decode(await exh.files.retrieve((await exh.files.createFromText('✓')).tokens[0].token))

  const read = await exh.files.generateToken(token, { accessLevel: 'read' })
  seen.read = await told(exh.files.remove(read.token))
  await exh.files.deleteToken(token, read.token)
  seen.settings = await told(exh.files.settings.update({ disableForceDownloadForMimeTypes: [] }))
  seen.removed = (await exh.files.remove(token)).affectedRecords
  seen.gone = await told(exh.files.getDetails(token))
  seen.path = await told(exh.files.find({ rql: 'nowhere' }))

  const stale = createOAuth2Client({ host: daemon, clientId: 'app', accessToken: 'f'.repeat(40), refreshToken: (await exh.auth.authenticate({ username: 'viewer@example.com', password: 'correct horse' })).refreshToken })
  seen.refreshed = (await Promise.all(Array.from({ length: 5 }, () => stale.users.me()))).length
  const proxy = createProxyClient({ host: daemon, headers: { Authorization: 'Bearer the viewer has this key' } }) // asks with credentials
  seen.proxy = (await proxy.users.me()).email
  return seen
}

visit().then(report, e => report({ error: String(e.stack || e) }))
