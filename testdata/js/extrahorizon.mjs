// The SDK of Extra Horizon, unmodified, against a daemon: node extrahorizon.mjs URL PART…
// The accounts are those of TestProgram/extrahorizon. Every part stands alone.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import sdk from '@extrahorizon/javascript-sdk'

const { createOAuth1Client, createOAuth2Client, createProxyClient, rqlBuilder, rqlParser } = sdk
const [host, ...parts] = process.argv.slice(2)
const password = 'correct horse'
const viewer = 'viewer@example.com'
let serial = 0
const unique = what => `${what}-${process.pid}-${++serial}`

/** A client that is logged in. */
async function login(username = viewer, options = {}) {
  const exh = createOAuth2Client({ host, clientId: 'app', ...options })
  await exh.auth.authenticate({ username, password })
  return exh
}

/** What a call fails with: the name of the SDK's class, and the code. */
async function failure(promise, name, code) {
  await assert.rejects(promise, e => {
    assert.equal(e.constructor.name, name, `${e.stack}`)
    const told = e.response && (e.response.exh_error ?? e.response).code // some classes keep no response
    if (told !== undefined) assert.equal(told, code)
    return true
  })
}

/** Long enough for the next record to be younger: their order is that of milliseconds. */
const moment = () => new Promise(done => setTimeout(done, 3))

const bytes = async stream => {
  const hash = createHash('sha256')
  let size = 0
  for await (const chunk of stream) {
    hash.update(chunk)
    size += chunk.length
  }
  return { size, sha256: hash.digest('hex') }
}

/** A stream of so many MiB that no memory holds, and what it will be. */
function large(mib, onChunk = () => {}) {
  const chunk = n => createHash('sha256').update(`${n}`).digest().toString('hex').repeat(16384)
  const hash = createHash('sha256')
  for (let n = 0; n < mib; n++) hash.update(chunk(n))
  const stream = Readable.from((function* () {
    for (let n = 0; n < mib; n++) {
      onChunk(n)
      yield Buffer.from(chunk(n))
    }
  })())
  return { stream, size: mib << 20, sha256: hash.digest('hex') }
}

const token = /^[0-9a-f]{24}-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

const tests = {
  async login() {
    const exh = createOAuth2Client({ host, clientId: 'app' })
    await failure(exh.auth.authenticate({ username: viewer, password: 'wrong' }), 'InvalidGrantError', 106)
    await failure(exh.auth.authenticate({ username: 'nobody', password }), 'InvalidGrantError', 106)
    await failure(exh.files.find(), 'UserNotAuthenticatedError', 104)
    await failure(exh.users.me(), 'UserNotAuthenticatedError', 104)
    await failure(exh.files.create('x', Buffer.from('x')), 'UserNotAuthenticatedError', 104)
    const tokens = await exh.auth.authenticate({ username: viewer, password })
    assert.match(tokens.accessToken, /^[0-9a-f]{40}$/)
    assert.match(tokens.refreshToken, /^[0-9a-f]{40}$/)
    assert.match(tokens.userId, /^[0-9a-f]{24}$/)
    assert.match(tokens.applicationId, /^[0-9a-f]{24}$/)
    assert.equal(tokens.tokenType, 'bearer')
    assert.equal(tokens.expiresIn, 300)
    const me = await exh.users.me()
    assert.equal(me.id, tokens.userId)
    assert.equal(me.email, viewer)
    assert.equal(await exh.raw.userId, me.id)
    assert.equal(await exh.auth.health(), true)
    assert.equal(await exh.users.health(), true)

    await failure(createOAuth2Client({ host, clientId: 'other' }).auth.authenticate({ username: viewer, password }), 'InvalidClientError', 123)
    await failure(createOAuth2Client({ host, clientId: 'safe', clientSecret: 'no' }).auth.authenticate({ username: viewer, password }), 'InvalidClientError', 124)
    await login('boss@example.com', { clientId: 'safe', clientSecret: 'client secret' }) // by the email address
  },

  async refresh() {
    const exh = createOAuth2Client({ host, clientId: 'app' })
    const first = await exh.auth.authenticate({ username: viewer, password })
    const second = await exh.auth.authenticate({ refreshToken: first.refreshToken })
    assert.notEqual(second.accessToken, first.accessToken)
    assert.equal(second.userId, first.userId)
    await failure(exh.auth.authenticate({ refreshToken: 'a'.repeat(40) }), 'InvalidGrantError', 119)

    // Five calls in parallel, each of which finds its access token unknown and redeems the same refresh token.
    const stale = { host, clientId: 'app', accessToken: 'f'.repeat(40), refreshToken: second.refreshToken }
    let fresh = 0
    const parallel = createOAuth2Client({ ...stale, freshTokensCallback: () => fresh++ })
    const pages = await Promise.all(Array.from({ length: 5 }, () => parallel.files.find()))
    assert.equal(pages.length, 5)
    assert.ok(fresh >= 1)

    // One whose time is over by what it was told, before the call.
    const early = createOAuth2Client({ ...stale, expiresIn: 300, creationTimestamp: new Date(Date.now() - 295_000) })
    await early.files.find()

    // What a file's token opens does not mind.
    const file = await exh.files.create('stale.txt', Buffer.from('x'))
    const over = createOAuth2Client({ ...stale, refreshToken: 'e'.repeat(40) })
    const [full] = file.tokens
    assert.equal((await over.files.retrieve(full.token)).toString(), 'x')
    assert.equal((await over.files.getDetails(full.token)).name, 'stale.txt')
    const { token: read } = await over.files.generateToken(full.token, { accessLevel: 'read' })
    await over.files.deleteToken(full.token, read)
    assert.deepEqual(await over.files.remove(full.token), { affectedRecords: 1 })
    await failure(over.files.find(), 'InvalidGrantError', 119)
  },

  async expired() {
    // EXPIRED and ITS_REFRESH are a login that has just ended.
    let fresh = 0
    const exh = createOAuth2Client({ host, clientId: 'app', accessToken: process.env.EXPIRED, refreshToken: process.env.ITS_REFRESH, freshTokensCallback: () => fresh++ })
    const seen = []
    exh.raw.interceptors.response.use(undefined, e => { seen.push(e.response?.data?.code); throw e })
    assert.equal((await exh.users.me()).email, 'alice@example.com')
    assert.equal(fresh, 1)
  },

  async files() {
    const exh = await login()
    const me = await exh.raw.userId
    for (const [name, data, type, size, options] of [
      ['report.pdf', Buffer.from('%PDF'), 'application/pdf', 4, { tags: ['ecg-report'] }],
      ['grüße "an" \\ 100% + a&b; c/d.txt', Buffer.from('é'), 'text/plain', 2, { tags: ['b', '', ' a ', 'b', 'x,y', 'größe, (é) + "q"'] }],
      ['line\r\nX-Evil: 1', Buffer.from('x'), 'application/octet-stream', 1],
      ['empty.bin', Buffer.alloc(0), 'application/octet-stream', 0],
      ['text without type', 'just text', 'text/plain; charset=utf-8', 9],
      ['', Buffer.from('\x00'), 'application/octet-stream', 1],
      ['stream.csv', Readable.from([Buffer.from('a,b\n'), Buffer.from('1,2\n')]), 'text/csv', 8],
    ]) {
      const file = await exh.files.create(name, data, options)
      assert.equal(file.name, name)
      assert.equal(file.mimetype, type, name)
      assert.equal(file.size, size)
      assert.deepEqual(file.tags, options?.tags ?? [])
      assert.equal(file.creatorId, me)
      assert.ok(file.creationTimestamp instanceof Date && file.updateTimestamp instanceof Date && file.expiryTimestamp instanceof Date)
      assert.equal(file.tokens.length, 1)
      assert.equal(file.tokens[0].accessLevel, 'full')
      assert.match(file.tokens[0].token, token)
      assert.deepEqual(await exh.files.getDetails(file.tokens[0].token), file)
      const got = await exh.files.retrieve(file.tokens[0].token)
      assert.equal(got.length, size)
      if (Buffer.isBuffer(data)) assert.deepEqual(got, data)
      assert.deepEqual(await exh.files.findByName(name, { rql: rqlBuilder().eq('creatorId', me).build() }), file)
      await exh.files.remove(file.tokens[0].token)
    }
    const text = await exh.files.createFromText('some text ✓')
    assert.equal(text.name, 'data')
    assert.equal((await exh.files.retrieve(text.tokens[0].token)).toString(), 'some text ✓')
    assert.deepEqual(await exh.files.remove(text.tokens[0].token), { affectedRecords: 1 })
    await failure(exh.files.remove(text.tokens[0].token), 'InvalidTokenError', 2605)
    const key = createOAuth2Client({ host, clientId: 'x', accessToken: 'the viewer has this key', refreshToken: 'unused' })
    const byKey = await key.files.create('key.txt', Buffer.from('x'))
    assert.equal(byKey.creatorId, me)
  },

  async tokens() {
    const exh = await login()
    const anyone = createOAuth2Client({ host, clientId: 'app' }) // needs no login
    const file = await exh.files.create('shared.txt', Buffer.from('shared'))
    const other = await exh.files.create('other.txt', Buffer.from('other'))
    const full = file.tokens[0].token
    await moment()
    const read = await anyone.files.generateToken(full, { accessLevel: 'read' })
    assert.equal(read.accessLevel, 'read')
    assert.match(read.token, token)
    assert.equal((await anyone.files.generateToken(full)).accessLevel, 'read')
    assert.equal((await anyone.files.generateToken(full, {})).accessLevel, 'read')
    await moment()
    const second = await anyone.files.generateToken(full, { accessLevel: 'full' })
    assert.equal(second.accessLevel, 'full')
    for (const accessLevel of ['write', 'FULL', '', 7, ['read']]) await failure(anyone.files.generateToken(full, { accessLevel }), 'FieldFormatError', 15)

    const details = await anyone.files.getDetails(full)
    assert.deepEqual(details.tokens.map(t => t.accessLevel), ['full', 'read', 'read', 'read', 'full'])
    assert.ok(details.updateTimestamp > file.updateTimestamp)
    const seen = await anyone.files.getDetails(read.token)
    assert.equal(seen.name, 'shared.txt')
    assert.equal(seen.size, 6)
    assert.equal(seen.mimetype, 'text/plain')
    assert.ok(!('tokens' in seen))
    assert.equal((await anyone.files.retrieve(read.token)).toString(), 'shared')

    await failure(anyone.files.remove(read.token), 'UnauthorizedTokenError', 2606)
    await failure(anyone.files.generateToken(read.token, { accessLevel: 'read' }), 'UnauthorizedTokenError', 2606)
    await failure(anyone.files.generateToken(read.token, { accessLevel: 'nonsense' }), 'UnauthorizedTokenError', 2606)
    await failure(anyone.files.deleteToken(read.token, read.token), 'UnauthorizedTokenError', 2606)
    await failure(anyone.files.deleteToken(full, other.tokens[0].token), 'InvalidTokenError', 2605) // of another file
    const mixed = other.tokens[0].token.slice(0, 24) + full.slice(24) // the parts of two
    for (const bad of [mixed, full.toUpperCase(), full + '0', full.slice(1), 'x', 'f'.repeat(61)]) {
      await failure(anyone.files.getDetails(bad), 'InvalidTokenError', 2605)
      await failure(anyone.files.generateToken(bad, { accessLevel: 'nonsense' }), 'InvalidTokenError', 2605)
      await failure(anyone.files.deleteToken(full, bad), 'InvalidTokenError', 2605)
      await assert.rejects(anyone.files.retrieve(bad), e => e.status === 400)
    }
    await anyone.files.deleteToken(full, read.token)
    await failure(anyone.files.getDetails(read.token), 'InvalidTokenError', 2605)
    await anyone.files.deleteToken(full, full) // itself, as there is another
    await failure(anyone.files.getDetails(full), 'InvalidTokenError', 2605)
    await failure(anyone.files.deleteToken(second.token, second.token), 'TokenNotDeleteableError', 2607)
    await anyone.files.remove(second.token)
    for (const gone of details.tokens) await failure(anyone.files.getDetails(gone.token), 'InvalidTokenError', 2605)
    await failure(exh.files.remove(''), 'ResourceUnknownError', 16)
    assert.equal((await anyone.files.getDetails(other.tokens[0].token)).name, 'other.txt')
  },

  async streams() {
    const exh = await login()
    const up = large(20)
    const file = await exh.files.create('large.bin', up.stream)
    assert.equal(file.size, up.size)
    const { data } = await exh.files.retrieveStream(file.tokens[0].token)
    assert.deepEqual(await bytes(data), { size: up.size, sha256: up.sha256 })

    const name = unique('aborted')
    const control = new AbortController()
    await assert.rejects(exh.files.create(name, large(20, n => n === 10 && control.abort()).stream, { signal: control.signal }))
    assert.equal(await exh.files.findByName(name), undefined)
    await failure(exh.files.create(name, large(25).stream), 'FileTooLargeError', 2610)
    assert.equal(await exh.files.findByName(name), undefined)
    await exh.files.remove(file.tokens[0].token)
  },

  async ttl() {
    const exh = await login()
    const name = unique('brief')
    const headers = { 'X-Fileshare-TTL': '1' }
    const file = await exh.files.create(name, Buffer.from('x'), { headers })
    assert.equal(file.expiryTimestamp - file.creationTimestamp, 1000)
    const text = await exh.files.createFromText('x', { headers: { ...headers } })
    await new Promise(done => setTimeout(done, 1100))
    for (const { tokens: [{ token }] } of [file, text]) {
      await failure(exh.files.getDetails(token), 'InvalidTokenError', 2605)
      await failure(exh.files.remove(token), 'InvalidTokenError', 2605)
      await assert.rejects(exh.files.retrieve(token), e => e.status === 400)
    }
    assert.equal(await exh.files.findByName(name), undefined)
    await failure(exh.files.create(name, Buffer.from('x'), { headers: { 'X-Fileshare-TTL': 'soon' } }), 'FieldFormatError', 15)
  },

  async find() {
    const exh = await login()
    const mark = unique('mark')
    const mine = extra => rqlBuilder(extra).eq('tags', mark).build()
    const names = ["it's", 'a,b', 'a+b', 'a b', 'größe', '100%', '"quoted"', '(1)', 'a&b', 'a;b=c', 'date:x', '123', 'true', '~!*\'', 'null', '日本語']
    for (const [i, name] of names.entries()) {
      await exh.files.create(name, Buffer.alloc(i), { tags: [mark, `n${i % 3}`] })
      await moment()
    }
    const found = async rql => (await exh.files.find({ rql })).data.map(f => f.name)
    const all = await exh.files.find({ rql: mine() })
    assert.deepEqual(all.page, { total: names.length, offset: 0, limit: 20 })
    assert.deepEqual(all.data.map(f => f.name), names) // in the order of their creation
    for (const name of names) {
      assert.deepEqual(await found(rqlBuilder(mine()).eq('name', name).build()), [name])
      assert.deepEqual(await found(rqlBuilder(mine()).in('name', [name, 'x,y']).build()), [name])
      assert.deepEqual(await found(rqlBuilder(mine()).like('name', name.slice(0, 2).toUpperCase()).build()).then(l => l.includes(name)), true)
      assert.equal((await exh.files.findByName(name, { rql: mine() })).name, name)
      assert.equal((await found(rqlBuilder(mine()).ne('name', name).build())).length, names.length - 1)
    }
    assert.deepEqual(await found(rqlBuilder(mine()).gt('size', 3).le('size', 5).build()), ['größe', '100%'].slice(0, 2))
    assert.deepEqual(await found(rqlBuilder(mine()).sort(['-size', '+name']).limit(2).build()), ['日本語', 'null'])
    assert.deepEqual(await found(rqlBuilder(mine()).sort('+name').limit(2, 3).build()), [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))).slice(3, 5))
    assert.deepEqual(await found(rqlBuilder(mine()).or(rqlBuilder().eq('name', 'a,b').intermediate(), rqlBuilder().eq('tags', 'n1').eq('size', 1).intermediate()).build()), ['a,b'])
    assert.deepEqual(await found(rqlBuilder(mine()).out('tags', ['n0', 'n1']).build()), names.filter((_, i) => i % 3 === 2))
    assert.deepEqual(await found(rqlBuilder(mine()).contains('tokens', rqlBuilder().eq('accessLevel', 'read').intermediate()).build()), [])
    assert.deepEqual(await found(rqlBuilder(mine()).eq('tokens.token', all.data[4].tokens[0].token).build()), ['größe'])
    assert.deepEqual(await found(rqlBuilder(mine()).ge('creationTimestamp', all.data[14].creationTimestamp.toISOString()).build()), names.slice(14))
    assert.deepEqual(await found(rqlBuilder(mine()).eq('creatorId', 'f'.repeat(24)).build()), [])
    assert.deepEqual(await found(rqlBuilder(mine()).eq('color', 'red').build()), [])
    assert.deepEqual((await exh.files.find({ rql: rqlBuilder(mine()).select(['name', 'size']).limit(1).build() })).data, [{ name: names[0], size: 0 }])
    assert.deepEqual((await exh.files.find({ rql: rqlBuilder(mine()).skipCount().limit(3, 2).build() })).page, { offset: 2, limit: 3 })
    assert.deepEqual((await exh.files.find({ rql: rqlBuilder(mine()).limit(1000, 500).build() })), { page: { total: names.length, offset: 500, limit: 200 }, data: [] })
    // The builder forgets separators where it removes a limit.
    assert.deepEqual(await found(rqlBuilder(`eq(tags,${mark})&limit(5)&gt(size,13)`).limit(6).build()), ['null', '日本語'])
    assert.deepEqual(await found(`?eq(tags,${mark})&eq(name,gr%C3%B6%C3%9Fe)`), ['größe']) // by hand
    assert.equal((await exh.files.findFirst({ rql: mine() })).name, names[0])
    assert.equal(await exh.files.findFirst({ rql: rqlBuilder().eq('tags', 'nowhere').build() }), undefined)
    for (const bad of ['?nope(name,x)', '?eq(name', '?limit(x)', '?eq(name,a)|eq(name,b)', '?%zz']) await failure(exh.files.find({ rql: bad }), 'InvalidRqlError', 19)
    await failure(exh.files.find({ rql: rqlParser('eq(name,x)') }), 'ResourceUnknownError', 16)
  },

  async pages() {
    const exh = await login()
    const mark = unique('page')
    const count = 123
    for (let i = 0; i < count; i += 10) {
      await Promise.all(Array.from({ length: Math.min(10, count - i) }, (_, n) => exh.files.create(`p${i + n}`, Buffer.from('x'), { tags: [mark] })))
    }
    const rql = rqlBuilder().eq('tags', mark).build()
    const all = await exh.files.findAll({ rql })
    assert.equal(all.length, count)
    assert.equal(new Set(all.map(f => f.name)).size, count)
    const sorted = await exh.files.findAll({ rql: rqlBuilder(rql).sort('-name').build() })
    assert.deepEqual(sorted.map(f => f.name), all.map(f => f.name).sort().reverse())
  },

  async permissions() {
    const plain = await login('plain@example.com')
    await failure(plain.files.find(), 'NoPermissionError', 10)
    await failure(plain.files.settings.get(), 'NoPermissionError', 10)
    const viewing = await login()
    await failure(viewing.files.settings.update({ disableForceDownloadForMimeTypes: [] }), 'NoPermissionError', 10)
    const mark = unique('whose')
    const file = await plain.files.create(mark, Buffer.from('x')) // everybody may upload
    assert.equal(await viewing.files.findByName(mark), undefined) // only one's own
    const boss = await login('boss')
    const found = await boss.files.findByName(mark)
    assert.equal(found.tokens[0].token, file.tokens[0].token)
    assert.equal(found.creatorId, await plain.raw.userId)
    await boss.files.remove(found.tokens[0].token)
    await failure(plain.files.getDetails(file.tokens[0].token), 'InvalidTokenError', 2605)
  },

  async settings() {
    const boss = await login('boss')
    const get = async token => (await fetch(`${host}/files/v1/${token}/file`)).headers
    const before = await boss.files.settings.get()
    assert.deepEqual(before.disableForceDownloadForMimeTypes, [])
    const png = await boss.files.create('a "b" é.png', Buffer.from('x'))
    const html = await boss.files.create('a.html', Buffer.from('<script>'))
    const [image, page] = [png.tokens[0].token, html.tokens[0].token]
    let headers = await get(image)
    assert.match(headers.get('content-disposition'), /^attachment; filename=".*"; filename\*=UTF-8''a%20%22b%22%20%C3%A9\.png$/)
    assert.equal(headers.get('content-type'), 'image/png')
    assert.equal(headers.get('x-content-type-options'), 'nosniff')
    assert.equal(headers.get('content-length'), '1')
    assert.deepEqual(await boss.files.settings.update({ disableForceDownloadForMimeTypes: ['image/PNG', 'text/*', 'any string'] }), { affectedRecords: 1 })
    const after = await boss.files.settings.get()
    assert.deepEqual(after.disableForceDownloadForMimeTypes, ['image/PNG', 'text/*', 'any string'])
    assert.ok(after.updateTimestamp instanceof Date)
    assert.match((await get(image)).get('content-disposition'), /^inline/) // also what was there before
    assert.match((await get(page)).get('content-disposition'), /^attachment/) // no such wildcard
    for (const bad of ['image/png', [7], [null], null, { a: 1 }]) {
      await failure(boss.files.settings.update({ disableForceDownloadForMimeTypes: bad }), 'FieldFormatError', 15)
    }
    await boss.files.settings.update({})
    assert.deepEqual((await boss.files.settings.get()).disableForceDownloadForMimeTypes, ['image/PNG', 'text/*', 'any string'])
    await boss.files.settings.update({ disableForceDownloadForMimeTypes: ['*/*'] })
    headers = await get(page)
    assert.match(headers.get('content-disposition'), /^inline/)
    assert.match(headers.get('content-security-policy'), /sandbox/)
    await boss.files.settings.update({ disableForceDownloadForMimeTypes: [] })
  },

  async oauth1() {
    const options = { host, consumerKey: 'consumer key', consumerSecret: 'consumer & secret' }
    await failure(createOAuth1Client({ ...options, consumerKey: 'x' }).auth.authenticate({ email: viewer, password }), 'OauthKeyError', 107)
    await failure(createOAuth1Client({ ...options, consumerSecret: 'x' }).auth.authenticate({ email: viewer, password }), 'OauthSignatureError', 109)
    await failure(createOAuth1Client(options).auth.authenticate({ email: viewer, password: 'x' }), 'AuthenticationError', 106)
    let signed
    const exh = createOAuth1Client({ ...options, requestLogger: c => { signed = c } })
    const login = await exh.auth.authenticate({ email: viewer, password })
    assert.match(login.userId, /^[0-9a-f]{24}$/)
    const me = await exh.users.me()
    assert.equal(me.id, login.userId)
    const file = await exh.files.create('signed, "é".txt', Buffer.from('signed'), { tags: ['a b', 'c'] })
    assert.equal(file.creatorId, me.id)
    const rql = rqlBuilder().eq('tags', 'a b').in('name', ['signed, "é".txt', 'x']).sort('+name').limit(50).build()
    assert.equal((await exh.files.find({ rql })).data[0].name, file.name)
    await exh.files.findAll({ rql: rqlBuilder().eq('name', file.name).build() })

    const again = createOAuth1Client(options)
    await again.auth.authenticate({ token: login.token, tokenSecret: login.tokenSecret })
    assert.equal((await again.users.me()).id, me.id)
    await failure(createOAuth1Client(options).auth.authenticate({ token: login.token, tokenSecret: 'x' }).then(() => 0), 'OauthSignatureError', 109)
    await failure(createOAuth1Client(options).auth.authenticate({ token: 'x', tokenSecret: 'x' }).then(() => 0), 'OauthTokenError', 108)

    // The same request a second time.
    let authorization
    const spy = createOAuth1Client({ ...options, token: login.token, tokenSecret: login.tokenSecret, responseLogger: a => { authorization = a.config.headers.Authorization } })
    await spy.users.me()
    assert.match(authorization, /^OAuth /)
    const replayed = await fetch(`${host}/users/v1/me`, { headers: { Authorization: authorization } })
    assert.equal(replayed.status, 401)
    assert.equal((await replayed.json()).code, 110)
  },

  async code() {
    const exh = await login()
    const me = await exh.raw.userId
    const given = await exh.auth.oauth2.createAuthorization({ responseType: 'code', clientId: 'safe', redirectUri: 'http://localhost/callback', state: 'state' })
    assert.equal(given.userId, me)
    assert.equal(given.clientId, 'safe')
    assert.equal(given.state, 'state')
    assert.ok(given.expiryTimestamp > new Date())
    const client = () => createOAuth2Client({ host, clientId: 'safe', clientSecret: 'client secret' })
    const other = client()
    assert.equal((await other.auth.authenticate({ code: given.authorizationCode })).userId, me)
    await other.files.find()
    await failure(client().auth.authenticate({ code: given.authorizationCode }), 'InvalidGrantError', 115) // once
    const wrong = await exh.auth.oauth2.createAuthorization({ responseType: 'code', clientId: 'safe' })
    await failure(createOAuth2Client({ host, clientId: 'app' }).auth.authenticate({ code: wrong.authorizationCode }), 'InvalidGrantError', 115)
    const { id } = await exh.auth.oauth2.createAuthorization({ responseType: 'code', clientId: 'app', state: 'to be taken back' })
    const listed = await exh.auth.oauth2.authorizations.findById(id)
    assert.equal(listed.state, 'to be taken back')
    assert.equal(listed.userId, me)
    assert.equal(listed.authorizationCode, undefined)
    assert.deepEqual(await exh.auth.oauth2.deleteAuthorization(id), { affectedRecords: 1 })
    assert.ok((await exh.auth.oauth2.authorizations.findAll()).every(a => a.id !== id))
    assert.equal(await exh.auth.oauth2.authorizations.findById(id), undefined)
    await failure(exh.auth.oauth2.deleteAuthorization(id), 'ResourceUnknownError', 16)
    await failure(exh.auth.oauth2.createAuthorization({ responseType: 'token', clientId: 'safe' }), 'MissingRequiredFieldsError', 14)
  },

  async proxy() {
    const exh = createProxyClient({ host, headers: { Authorization: 'Bearer the viewer has this key' } })
    assert.equal((await exh.users.me()).email, viewer)
    const file = await exh.files.create('proxy.txt', Buffer.from('x'))
    assert.equal((await exh.files.findByName('proxy.txt')).creatorId, file.creatorId)
    await exh.files.remove(file.tokens[0].token)
    await exh.auth.logout()
  },

  async native() {
    // One store, two faces.
    const exh = await login()
    const basic = { Authorization: 'Basic ' + Buffer.from(`${viewer}:${password}`).toString('base64') }
    const name = unique('both')
    const file = await exh.files.create(name, Buffer.from('both'), { tags: ['shared tag'] })
    const list = await (await fetch(`${host}/uploads?tag=shared%20tag`, { headers: basic })).json()
    const native = list.items.find(f => f.name === name)
    assert.equal(native.size, 4)
    assert.equal(native.owner, viewer)
    assert.equal(await (await fetch(native.url)).text(), 'both')
    assert.equal((await fetch(native.url, { method: 'DELETE', headers: basic })).status, 204)
    await failure(exh.files.getDetails(file.tokens[0].token), 'InvalidTokenError', 2605)

    const other = unique('native') + '.txt'
    const form = new FormData()
    form.append('file', new Blob(['native']), other)
    const made = await (await fetch(`${host}/uploads`, { method: 'POST', headers: basic, body: form })).json()
    const seen = await exh.files.findByName(other)
    assert.equal(seen.size, 6)
    assert.deepEqual(seen.tokens, [])
    assert.equal(seen.creatorId, await exh.raw.userId)
    await fetch(`${host}/uploads/${made.id}`, { method: 'PATCH', headers: { ...basic, 'Content-Type': 'application/json' }, body: JSON.stringify({ name: 'renamed.txt', tags: ['new'] }) })
    assert.deepEqual((await exh.files.find({ rql: rqlBuilder().eq('name', 'renamed.txt').build() })).data[0].tags, ['new'])
  },
}

for (const part of parts) {
  await tests[part]()
  console.log(`ok ${part}`)
}
