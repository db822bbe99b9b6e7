'use strict'
// The pages of the recorded application, for reading: `examples/parity/pages` has them in Rust. Each is written against
// a few verbs `h`:
//   h.load()      resolve to the session (awaits the deferred getter)
//   h.peek()      evaluate `ctx.session` once, without awaiting whatever it gives
//   h.assign(v)   `ctx.session = v`
//   h.regenerate(), h.save(), h.setSave(flag), h.getSave(), h.id(), h.isNew()
// Every handler sets ctx.body; text unless it is an object.
const clock = { now: 0 } // the recorder's own, which stands still until it is moved

const bump = (s) => { s.count = (s.count || 0) + 1; return s.count }
const num = (v) => (v === undefined ? undefined : Number(v))

const routes = {
  // -- plain use --------------------------------------------------------------------------
  '/session/get': async (ctx, h) => {
    await h.before()
    const s = await h.load()
    const n = bump(s)
    await h.pause()
    ctx.body = String(n)
  },
  '/session/nothing': async (ctx, h) => {
    const s = await h.load()
    await h.pause()
    ctx.body = String(s.count)
  },
  '/session/notuse': async (ctx, h) => { await h.pause(); ctx.body = 'not touched' },
  '/session/empty': async (ctx, h) => { await h.load(); ctx.body = 'read' },
  '/session/show': async (ctx, h) => { ctx.body = { session: (await h.load()) ?? null } },
  '/session/id': async (ctx, h) => { await h.load(); ctx.body = String(h.id()) },
  '/session/id-only': async (ctx, h) => { ctx.body = String(h.id()) },
  '/session/isnew': async (ctx, h) => { await h.load(); ctx.body = { isNew: h.isNew() } },
  '/session/same': async (ctx, h) => { const s = await h.load(); s.count = s.count; ctx.body = String(s.count) },
  '/session/set': async (ctx, h) => {
    const s = await h.load()
    if (ctx.query.num !== undefined) s.num = Number(ctx.query.num)
    if (ctx.query.data !== undefined) s.data = ctx.query.data
    await h.pause()
    ctx.body = String(s.data)
  },
  '/session/unset': async (ctx, h) => { const s = await h.load(); delete s[ctx.query.k]; ctx.body = 'unset' },
  '/session/reorder': async (ctx, h) => {
    const s = await h.load()
    const { cookie, ...rest } = s
    const keys = Object.keys(rest).reverse()
    for (const k of keys) delete s[k]
    for (const k of keys) s[k] = rest[k]
    ctx.body = Object.keys(s).join()
  },
  '/session/nested': async (ctx, h) => {
    const s = await h.load()
    s.user = s.user || { visits: [] }
    s.user.visits.push(s.user.visits.length)
    ctx.body = String(s.user.visits.length)
  },
  '/session/undo': async (ctx, h) => {
    const s = await h.load()
    bump(s)
    s.count--
    if (s.count === 0) delete s.count
    ctx.body = String(s.count)
  },

  // -- replacing and removing ---------------------------------------------------------------
  '/session/remove': async (ctx, h) => { await h.before(); h.assign(null); await h.pause(); ctx.body = '0' },
  '/session/remove-after-get': async (ctx, h) => { const s = await h.load(); bump(s); h.assign(null); ctx.body = '0' },
  '/session/remove-twice': async (ctx, h) => { h.assign(null); h.assign(null); ctx.body = '0' },
  '/session/remove-then-read': async (ctx, h) => { h.assign(null); ctx.body = { session: (await h.load()) ?? null } },
  '/session/remove-then-set': async (ctx, h) => { h.assign(null); h.assign({ foo: 'bar' }); ctx.body = { session: await h.load() } },
  '/session/rewrite': async (ctx, h) => { h.assign({ foo: 'bar' }); ctx.body = await h.load() },
  '/session/rewrite-after-get': async (ctx, h) => { await h.load(); h.assign({ foo: 'bar' }); ctx.body = await h.load() },
  '/session/rewrite-with-cookie': async (ctx, h) => {
    const s = await h.load()
    h.assign({ cookie: s.cookie, foo: 'bar' })
    ctx.body = await h.load()
  },
  '/session/assign': async (ctx, h) => { h.assign(JSON.parse(ctx.query.v)); ctx.body = 'assigned' },
  '/session/assign-undefined': async (ctx, h) => { h.assign(undefined); ctx.body = 'assigned' },
  '/session/drop-cookie-field': async (ctx, h) => { const s = await h.load(); delete s.cookie; ctx.body = 'dropped' },

  // -- cookie settings inside the session -----------------------------------------------------
  '/session/httponly': async (ctx, h) => {
    const s = await h.load()
    s.cookie.httpOnly = !s.cookie.httpOnly
    ctx.body = 'httpOnly: ' + s.cookie.httpOnly
  },
  '/session/maxage': async (ctx, h) => {
    const s = await h.load()
    s.cookie.maxAge = ctx.query.ms === 'null' ? null : ctx.query.ms === 'string' ? '1000' : Number(ctx.query.ms)
    ctx.body = 'maxAge: ' + s.cookie.maxAge
  },
  '/session/maxage-lower': async (ctx, h) => { const s = await h.load(); s.cookie.maxage = Number(ctx.query.ms); ctx.body = 'maxage' },
  '/session/expires': async (ctx, h) => {
    const s = await h.load()
    s.cookie.expires = new Date(clock.now + Number(ctx.query.s) * 1000)
    if (ctx.query.nomaxage) s.cookie.maxAge = null
    ctx.body = 'expires'
  },
  '/session/cookie-path': async (ctx, h) => { const s = await h.load(); s.cookie.path = ctx.query.p; ctx.body = 'path' },
  '/session/cookie-signed': async (ctx, h) => { const s = await h.load(); s.cookie.signed = ctx.query.v === 'true'; ctx.body = 'signed' },
  '/session/ttl': async (ctx, h) => {
    const s = await h.load()
    s.ttl = ctx.query.ms === 'string' ? '1000' : num(ctx.query.ms)
    ctx.body = 'ttl'
  },

  // -- regenerating ---------------------------------------------------------------------------
  '/session/regenerate': async (ctx, h) => {
    await h.regenerate()
    ;(await h.load()).data = 'foo'
    await h.pause()
    ctx.body = String(h.id())
  },
  '/session/regenerate-with-data': async (ctx, h) => {
    ;(await h.load()).foo = 'bar'
    await h.regenerate()
    const s = await h.load()
    s.data = 'foo'
    ctx.body = { foo: s.foo, hasSession: s !== undefined, sid: h.id() }
  },
  '/session/regenerate-empty': async (ctx, h) => { await h.regenerate(); ctx.body = String(h.id()) },
  '/session/regenerate-keep': async (ctx, h) => {
    const { cookie, ...rest } = await h.load()
    await h.regenerate()
    Object.assign(await h.load(), rest)
    ctx.body = String(h.id())
  },
  '/session/regenerate-twice': async (ctx, h) => {
    await h.regenerate()
    const first = h.id()
    await h.regenerate()
    ;(await h.load()).data = 'foo'
    ctx.body = { first, second: h.id() }
  },
  '/session/regenerate-remove': async (ctx, h) => { await h.regenerate(); h.assign(null); ctx.body = String(h.id()) },
  '/session/regenerate-save': async (ctx, h) => {
    await h.regenerate()
    ;(await h.load()).data = 'foo'
    const before = h.id()
    await h.save()
    ctx.body = { before, after: h.id() }
  },
  '/session/regenerate-prevent-save': async (ctx, h) => {
    h.setSave(false)
    await h.regenerate()
    ;(await h.load()).data = 'foo'
    ctx.body = String(h.id())
  },
  '/session/regenerate-throw': async (ctx, h) => {
    await h.regenerate()
    ;(await h.load()).data = 'foo'
    throw new Error('oops')
  },
  '/session/regenerate-result': async (ctx, h) => { ctx.body = { type: typeof (await h.regenerate()) } },

  // -- explicit save ----------------------------------------------------------------------------
  '/session/save': async (ctx, h) => {
    const s = await h.load()
    const n = bump(s)
    const before = h.id()
    await h.save()
    await h.pause()
    ctx.body = { count: n, sameId: before === h.id() }
  },
  '/session/save-unchanged': async (ctx, h) => { const s = await h.load(); await h.save(); ctx.body = String(s.count) },
  '/session/save-without-load': async (ctx, h) => { await h.save(); ctx.body = 'saved' },
  '/session/save-then-change': async (ctx, h) => {
    bump(await h.load())
    await h.save()
    ctx.body = String(bump(await h.load()))
  },
  '/session/save-twice': async (ctx, h) => { bump(await h.load()); await h.save(); await h.save(); ctx.body = 'saved' },
  '/session/save-null': async (ctx, h) => { await h.load(); h.assign(null); await h.save(); ctx.body = 'saved' },
  '/session/save-throw': async (ctx, h) => { bump(await h.load()); await h.save(); throw new Error('oops') },
  '/session/save-prevented': async (ctx, h) => { h.setSave(false); bump(await h.load()); await h.save(); ctx.body = 'saved' },
  '/session/save-forced': async (ctx, h) => { h.setSave(true); await h.load(); await h.save(); ctx.body = 'saved' },
  '/session/save-hold': async (ctx, h) => { bump(await h.load()); await h.pause(); await h.save(); ctx.body = String(h.id()) },
  '/session/save-caught': async (ctx, h) => {
    bump(await h.load())
    try { await h.save(); ctx.body = 'saved' } catch (err) { ctx.body = 'caught: ' + err.message }
  },
  '/session/save-wrong-path': async (ctx, h) => {
    bump(await h.load())
    ctx.request.path = '/elsewhere'
    try { await h.save(); ctx.body = 'saved' } catch (err) { ctx.body = 'caught: ' + err.message }
  },

  // -- per-request save override ----------------------------------------------------------------
  '/session/force-save': async (ctx, h) => { h.setSave(true); const s = await h.load(); ctx.body = s.count + ', ' + h.getSave() },
  '/session/force-save-untouched': async (ctx, h) => { h.setSave(true); ctx.body = 'forced' },
  '/session/prevent-save': async (ctx, h) => { h.setSave(false); const n = bump(await h.load()); ctx.body = n + ', ' + h.getSave() },
  '/session/prevent-remove': async (ctx, h) => { h.setSave(false); h.assign(null); ctx.body = '0, ' + h.getSave() },
  '/session/force-remove': async (ctx, h) => { h.setSave(true); h.assign(null); ctx.body = '0, ' + h.getSave() },
  '/session/prevent-then-reset': async (ctx, h) => { h.setSave(false); const n = bump(await h.load()); h.setSave(null); ctx.body = String(n) },
  '/session/prevent-zero': async (ctx, h) => { h.setSave(0); const n = bump(await h.load()); ctx.body = String(n) },

  // -- errors and unusual responses ---------------------------------------------------------------
  '/session/error': async (ctx, h) => { bump(await h.load()); throw new Error('oops') },
  '/session/error-untouched': async () => { throw new Error('oops') },
  '/session/error-remove': async (ctx, h) => { h.assign(null); throw new Error('oops') },
  '/session/error-status': async (ctx, h) => { bump(await h.load()); ctx.throw(403, 'not allowed') },
  '/session/status': async (ctx, h) => { const n = bump(await h.load()); ctx.status = Number(ctx.query.code); ctx.body = String(n) },
  '/session/redirect': async (ctx, h) => { bump(await h.load()); ctx.redirect('/session/get') },
  '/session/flush': async (ctx, h) => {
    const s = await h.load()
    ctx.status = 200
    ctx.flushHeaders()
    const n = bump(s)
    ctx.body = String(n)
  },
  '/session/flush-remove': async (ctx, h) => { await h.load(); ctx.status = 200; ctx.flushHeaders(); h.assign(null); ctx.body = '0' },

  // -- the deferred getter -------------------------------------------------------------------------
  '/session/touch-no-await': async (ctx, h) => { h.peek(); ctx.body = 'touched' },
  '/session/double-read': async (ctx, h) => {
    const [a, b] = await Promise.all([h.peek(), h.peek()])
    ctx.body = { first: typeof a, second: typeof b, same: a === b }
  },
  '/session/changepath': async (ctx, h) => {
    ctx.request.path = '/wrongpath'
    ctx.body = { type: typeof (await h.load()) }
  },
  '/session/has': async (ctx, h) => { const s = h.peek(); ctx.body = s !== undefined && s !== null ? 'has session' : 'no session' },

  // -- the session id and the store -------------------------------------------------------------------
  '/session/force-sid': async (ctx, h) => { const s = await h.load(); ctx.sessionId = ctx.query.sid; ctx.body = String(bump(s)) },
  '/session/store-get': async (ctx, h) => { const v = await ctx.sessionStore.get(ctx.query.sid); ctx.body = { value: v ?? null } },
  '/session/store-set': async (ctx, h) => {
    const sess = ctx.query.v ? JSON.parse(ctx.query.v) : { cookie: {}, count: 7 }
    await ctx.sessionStore.set(ctx.query.sid, sess)
    ctx.body = 'set'
  },
  '/session/store-destroy': async (ctx, h) => { await ctx.sessionStore.destroy(ctx.query.sid); ctx.body = 'destroyed' },
  '/session/store-prefix': async (ctx, h) => { ctx.body = String(ctx.sessionStore && ctx.sessionStore.options && ctx.sessionStore.options.prefix) },
}

// Anything else just tells whether this request has a session.
async function fallback(ctx, h) {
  const s = h.cfg.unawaitedFallback ? h.peek() : await h.load()
  ctx.body = s !== undefined ? 'has session' : 'no session'
}

module.exports = { routes, fallback }
