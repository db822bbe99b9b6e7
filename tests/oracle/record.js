'use strict'
// Plays scenarios/*.json against a server that offers what README.md lists (it prints its port on the first line).
//   node record.js --app "target/release/examples/parity {config} 0" [--only cfg,cfg] [--scenario id,id] [--out dir] [--print] [--list]
const fs = require('fs')
const path = require('path')
const http = require('http')
const crypto = require('crypto')
const { spawn } = require('child_process')
const { parseSetCookie, PlainJar, BrowserJar } = require('./lib/jar')

const ROOT = __dirname
const STEP_LIMIT_MS = 15000

const option = (name) => { const i = process.argv.indexOf('--' + name); return i < 0 ? null : process.argv[i + 1] }

// What an id looks like: 24 random bytes in base64url.
const SID = /(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{32}/g

// ---- inputs ------------------------------------------------------------------------------------
function loadConfigs() {
  return JSON.parse(fs.readFileSync(path.join(ROOT, 'configs.json'), 'utf8'))
}

function loadScenarios(configs) {
  const names = new Set(configs.map((c) => c.name))
  const seen = new Set()
  const all = []
  for (const file of fs.readdirSync(path.join(ROOT, 'scenarios')).filter((f) => f.endsWith('.json')).sort()) {
    const list = JSON.parse(fs.readFileSync(path.join(ROOT, 'scenarios', file), 'utf8'))
    for (const s of list) {
      if (seen.has(s.id)) throw new Error('two scenarios are called ' + s.id)
      seen.add(s.id)
      s.file = file
      s.targets = new Set()
      for (const want of s.configs) {
        if (want.startsWith('@')) configs.filter((c) => c.groups.includes(want.slice(1))).forEach((c) => s.targets.add(c.name))
        else if (names.has(want)) s.targets.add(want)
        else throw new Error(`${s.id}: no config ${want}`)
      }
      for (const not of s.except || []) s.targets.delete(not)
      all.push(s)
    }
  }
  return all
}

// ---- one app process ------------------------------------------------------------------------------
class App {
  static async start(cfg, command) {
    const app = new App()
    await app.spawn(cfg, command)
    app.agent = new http.Agent({ keepAlive: false })
    app.info = await app.control('/__store/info')
    return app
  }

  async spawn(cfg, command) {
    const [file, ...args] = command.split(' ').map((w) => w.replace('{config}', cfg.name))
    this.child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'], cwd: process.cwd() })
    this.port = await new Promise((resolve, reject) => {
      let text = ''
      this.child.stdout.on('data', (d) => { text += d; if (text.includes('\n')) resolve(Number(text.split('\n')[0])) })
      this.child.once('error', reject)
      this.child.once('exit', (code) => reject(new Error(`${cfg.name} exited early (${code})`)))
    })
  }

  request({ method = 'GET', url, headers = {} }) {
    return new Promise((resolve, reject) => {
      const req = http.request({ host: '127.0.0.1', port: this.port, method, path: url, headers, agent: this.agent, timeout: STEP_LIMIT_MS }, (res) => {
        const chunks = []
        res.on('data', (c) => chunks.push(c))
        res.on('end', () => resolve({ status: res.statusCode, headers: res.headers, text: Buffer.concat(chunks).toString('utf8') }))
        res.on('error', reject)
      })
      req.on('timeout', () => req.destroy(new Error('no answer within the limit: ' + url)))
      req.on('error', reject)
      req.end()
    })
  }

  async control(url) { return JSON.parse((await this.request({ url })).text) }

  stop() {
    return new Promise((resolve) => { this.child.once('exit', resolve); this.child.kill('SIGTERM') })
  }
}

// ---- playing ----------------------------------------------------------------------------------------
const sleep = (ms) => new Promise((r) => setTimeout(r, ms))

class Play {
  constructor(app, cfg, scenario) {
    this.app = app
    this.cfg = cfg
    this.scenario = scenario
    this.jars = {}
    this.vars = {}
    this.pending = {}
    this.steps = []
    this.requests = 0
    this.cookieValues = new Set(['']) // every cookie value seen, to tell what a signature signs
  }

  jar(name = 'a') {
    if (!this.jars[name]) this.jars[name] = this.scenario.browser ? new BrowserJar() : new PlainJar()
    return this.jars[name]
  }

  fill(text) {
    const key = this.app.info.key
    return text.replace(/\{\{(\w+)\}\}/g, (_, v) => {
      if (v === 'key') return key
      if (!(v in this.vars)) throw new Error(`${this.scenario.id}: nothing captured as ${v}`)
      return this.vars[v]
    })
  }

  async run() {
    await this.app.control('/__store/reset')
    this.now = this.startedAt = (await this.app.control('/__clock/now')).now
    for (const step of this.scenario.steps) await this.step(step)
    if (Object.keys(this.pending).length) throw new Error(`${this.scenario.id}: a started request was never joined`)
    const log = await this.app.control('/__store/log')
    return this.transcript(log)
  }

  async step(step) {
    if (step.get !== undefined || step.request !== undefined) {
      const record = this.begin(step)
      if (step.as) {
        this.pending[step.as] = record
        await this.entered()
      } else {
        await this.finish(record)
      }
    } else if (step.join) {
      for (const handle of [].concat(step.join)) {
        const record = this.pending[handle]
        if (!record) throw new Error(`${this.scenario.id}: nothing started as ${handle}`)
        delete this.pending[handle]
        await this.finish(record)
      }
    } else if (step.parallel) {
      const records = []
      for (const s of step.parallel) {
        records.push(this.begin(s))
        await this.entered()
      }
      for (const r of records) await this.finish(r)
    } else if (step.ctl) {
      await this.app.control(this.fill(step.ctl))
      this.steps.push({ control: step.ctl })
    } else if (step.open) {
      await this.app.control('/__gate/open?name=' + step.open)
    } else if (step.reached) {
      await this.app.control('/__gate/reached?name=' + step.reached)
    } else if (step.wait_ms) {
      await sleep(step.wait_ms)
    } else if (step.advance_ms) {
      await this.app.control('/__clock/advance?ms=' + step.advance_ms)
      this.now += step.advance_ms
      this.steps.push({ advance_ms: step.advance_ms })
    } else if (step.inspect) {
      this.steps.push({ inspect: step.inspect, result: await this.app.control(step.inspect) })
    } else if (step.dump) {
      this.steps.push({ dump: await this.app.control('/__store/dump') })
    } else if (step.jar) {
      this.disturb(step)
      this.steps.push({ jar: step.jar, do: step.do })
    } else if (step.capture) {
      this.capture(step.capture, step.from || 'a', null)
    } else {
      throw new Error(`${this.scenario.id}: unknown step ${JSON.stringify(step)}`)
    }
  }

  // Every request sent so far has reached the application: keeps concurrent steps in order.
  entered() { return this.app.control('/__gate/entered?n=' + this.requests) }

  // What a client, or an attacker, may do to its cookies.
  disturb(step) {
    const jar = this.jar(step.jar)
    const key = this.app.info.key
    const sig = key + '.sig'
    const flip = (v) => {
      if (!v) throw new Error(`${this.scenario.id} on ${this.cfg.name}: there is no cookie to tamper with`)
      return (v[0] === 'A' ? 'B' : 'A') + v.slice(1)
    }
    const sign = (name, value, k) => crypto.createHmac('sha1', k).update(`${name}=${value}`).digest('base64url')
    switch (step.do) {
      case 'clear': jar.drop(); break
      case 'drop-value': jar.drop(key); break
      case 'drop-sig': jar.drop(sig); break
      case 'tamper-value': jar.set(key, flip(jar.value(key))); break
      case 'tamper-sig': jar.set(sig, flip(jar.value(sig))); break
      case 'quote-value': jar.set(key, `"${jar.value(key)}"`); break
      case 'set': {
        const value = this.fill(step.value)
        this.cookieValues.add(value)
        jar.set(step.name ? this.fill(step.name) : key, value, step.path)
        break
      }
      case 'forge': { // a cookie with a correct signature by the key of the given index
        const value = this.fill(step.value)
        this.cookieValues.add(value)
        jar.set(key, value, step.path)
        if (this.app.info.keys) jar.set(sig, sign(key, value, this.app.info.keys[step.by || 0]), step.path)
        break
      }
      case 'resign': jar.set(sig, sign(key, jar.value(key), step.secret || this.app.info.keys[step.by || 0])); break
      case 'copy-from': {
        const other = this.jar(step.other)
        for (const name of [key, sig]) if (other.value(name) !== undefined) jar.set(name, other.value(name))
        break
      }
      default: throw new Error(`${this.scenario.id}: unknown jar action ${step.do}`)
    }
  }

  begin(step) {
    const n = ++this.requests
    const method = step.request ? step.request.split(' ')[0] : 'GET'
    const url = this.fill(step.request ? step.request.split(' ')[1] : step.get)
    const headers = { 'x-step': String(n) }
    for (const [k, v] of Object.entries(step.headers || {})) headers[k] = this.fill(v)
    const target = { path: url.split('?')[0], secure: headers['x-forwarded-proto'] === 'https' }
    const jar = this.jar(step.jar)
    if (step.cookies === undefined || step.cookies === 'send') {
      const c = jar.header(target, this.now)
      if (c) headers.cookie = c
    } else if (step.cookies !== 'none') {
      headers.cookie = this.fill(step.cookies)
    }
    const record = { n, step, jar, target, method, url, sentCookies: (headers.cookie || '').split('; ').filter(Boolean).map((c) => c.split('=')[0]) }
    record.answer = this.app.request({ method, url, headers })
    record.answer.catch(() => {})
    record.slot = { n, started_as: step.as }
    this.steps.push(record.slot)
    return record
  }

  async finish(record) {
    const res = await record.answer
    const { step } = record
    const cookies = (res.headers['set-cookie'] || []).map(parseSetCookie)
    for (const c of cookies) this.cookieValues.add(c.value)
    if (step.absorb !== false) record.jar.absorb(cookies, this.now, record.target)
    let body = res.text
    if (/json/.test(res.headers['content-type'] || '')) body = JSON.parse(body)
    const out = {
      request: `${record.method} ${step.get !== undefined ? step.get : step.request.split(' ')[1]}`,
      jar: step.jar,
      sent: record.sentCookies,
      status: res.status,
      body,
      headers: pick(res.headers, ['x-session-id', 'location']),
      set_cookie: cookies.map((c) => this.describe(c)),
    }
    Object.assign(record.slot, out)
    if (step.capture) this.capture(step.capture, step.jar || 'a', { res, cookies })
    if (step.expect) this.check(step, res, cookies)
  }

  capture(what, jarName, got) {
    for (const [name, source] of Object.entries(what)) {
      const [kind, arg] = source.split(':')
      const key = this.app.info.key
      if (kind === 'sid') this.vars[name] = this.jar(jarName).value(key)
      else if (kind === 'sig') this.vars[name] = this.jar(jarName).value(key + '.sig')
      else if (kind === 'body') this.vars[name] = got.res.text
      else if (kind === 'header') this.vars[name] = got.res.headers[arg]
      else throw new Error('unknown capture ' + source)
      if (this.vars[name] === undefined) throw new Error(`${this.scenario.id} on ${this.cfg.name}: ${source} is not there to capture`)
    }
  }

  check(step, res, cookies) {
    const e = step.expect
    const fail = (msg) => { throw new Error(`${this.scenario.id} on ${this.cfg.name}, ${step.get || step.request}: ${msg} (status ${res.status}, body ${res.text})`) }
    if (e.status !== undefined && res.status !== e.status) fail('status should be ' + e.status)
    if (e.body !== undefined && res.text !== this.fill(e.body)) fail('body should be ' + e.body)
    if (e.matches !== undefined && !new RegExp(this.fill(e.matches)).test(res.text)) fail('body should match ' + e.matches)
    if (e.differs !== undefined && res.text === this.vars[e.differs]) fail('body should differ from ' + e.differs)
    if (e.json !== undefined && JSON.stringify(JSON.parse(res.text)) !== JSON.stringify(e.json)) fail('body should be ' + JSON.stringify(e.json))
    if (e.set_cookie !== undefined && (cookies.length > 0) !== e.set_cookie) fail('set-cookie presence should be ' + e.set_cookie)
    if (e.cookies !== undefined && cookies.length !== e.cookies) fail('number of cookies should be ' + e.cookies)
    if (e.httponly !== undefined && cookies.some((c) => Boolean(c.attrs.httponly) !== e.httponly)) fail('httponly should be ' + e.httponly)
    if (e.expires && !cookies.every((c) => c.attrs.expires)) fail('every cookie should carry expires')
    if (e.all_expired && !cookies.every((c) => Date.parse(c.attrs.expires) === 0)) fail('every cookie should be expired')
  }

  // A Set-Cookie as data: signature checked and replaced, expiry relative to the frozen clock.
  describe(c) {
    const out = { name: c.name, value: c.value }
    if (c.name.endsWith('.sig') && c.value) out.value = { sig: c.value, base: c.name.slice(0, -4) }
    for (const [k, v] of Object.entries(c.attrs)) {
      if (k !== 'expires') out[k] = v
      else if (Date.parse(v) === 0) out.expires = 'epoch'
      else if (Number.isNaN(Date.parse(v))) out.expires = 'invalid'
      else out.expires_in_s = Math.round((Date.parse(v) - this.now) / 1000)
    }
    return out
  }

  // ---- the result -------------------------------------------------------------------------------
  transcript(log) {
    const byReq = new Map()
    for (const ev of log.events) {
      const { req, ...rest } = ev
      if (!byReq.has(req)) byReq.set(req, [])
      byReq.get(req).push(rest)
    }
    const concurrent = this.scenario.steps.some((s) => s.as || s.parallel)
    const steps = this.steps.map((s) => {
      if (!s.n) return s
      const trace = byReq.get(s.n) || []
      const count = (op) => trace.filter((e) => e.op === op).length
      return {
        request: s.request,
        started_as: s.started_as,
        jar: s.jar,
        sent: s.sent,
        trace, // before the answer: placeholders are numbered in order of appearance
        status: s.status,
        body: s.body,
        headers: s.headers,
        set_cookie: s.set_cookie,
        store_ops: { get: count('get'), set: count('set'), destroy: count('destroy') },
      }
    })
    const out = { scenario: this.scenario.id, title: this.scenario.title, steps }
    if (concurrent) out.order = log.events.map((e) => `${e.req}:${e.op || e.hook || e.event}`)
    const loose = byReq.get(0)
    if (loose) out.outside_requests = loose
    if (log.unhandled.length) out.unhandled_rejections = log.unhandled
    if (log.warnings.length) out.warnings = log.warnings
    return this.normalize(out)
  }

  normalize(value) {
    const sids = new Map()
    const sidFor = (raw) => {
      if (!sids.has(raw)) sids.set(raw, `<sid${sids.size + 1}>`)
      return sids.get(raw)
    }
    const keys = this.app.info.keys || []
    const prefix = this.app.info.prefix // only told when nothing separates it from the sid
    const text = (s) => (prefix && s.startsWith(prefix) ? prefix + plain(s.slice(prefix.length)) : plain(s))
    const plain = (s) => s
      .replace(SID, (m) => sidFor(m))
      .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, (m) => {
        const d = Math.round((Date.parse(m) - this.startedAt) / 1000)
        return `<start${d < 0 ? '' : '+'}${d}s>`
      })
    const walk = (v) => {
      if (typeof v === 'string') return text(v)
      if (Array.isArray(v)) return v.map((x) => walk(x))
      if (v && typeof v === 'object') {
        if ('sig' in v && 'base' in v && Object.keys(v).length === 2) {
          return this.judge(v, keys)
        }
        const out = {}
        for (const [k, x] of Object.entries(v)) {
          if (x === undefined) continue
          out[text(k)] = walk(x)
        }
        return out
      }
      return v
    }
    return walk(value)
  }

  // Which key made a signature cookie, and over what: <sig> is the first key over a value seen.
  judge({ sig, base }, keys) {
    for (let i = 0; i < keys.length; i++) {
      for (const value of this.cookieValues) {
        const good = crypto.createHmac('sha1', keys[i]).update(`${base}=${value}`).digest('base64url')
        if (good === sig) return (value === '' ? '<sig-of-empty>' : '<sig>').replace('>', i ? ` key${i}>` : '>')
      }
    }
    return '<sig of something else>'
  }
}

function pick(headers, names) {
  const out = {}
  for (const n of names) if (headers[n] !== undefined) out[n] = headers[n]
  return Object.keys(out).length ? out : undefined
}

// One readable line per step, so that two transcripts diff well.
function print(doc) {
  const lines = ['{']
  lines.push(`  "config": ${JSON.stringify(doc.config)},`, `  "lib": ${JSON.stringify(doc.lib)},`, `  "key": ${JSON.stringify(doc.key)},`, '  "scenarios": [')
  doc.scenarios.forEach((s, i) => {
    const { steps, ...rest } = s
    lines.push('    {')
    for (const [k, v] of Object.entries(rest)) lines.push(`      ${JSON.stringify(k)}: ${JSON.stringify(v)},`)
    lines.push('      "steps": [')
    steps.forEach((st, j) => lines.push(`        ${JSON.stringify(st)}${j < steps.length - 1 ? ',' : ''}`))
    lines.push('      ]', `    }${i < doc.scenarios.length - 1 ? ',' : ''}`)
  })
  lines.push('  ]', '}', '')
  return lines.join('\n')
}

async function playConfig(cfg, scenarios, command) {
  let app = await App.start(cfg, command)
  const doc = { config: cfg.name, lib: cfg.lib, key: app.info.key, scenarios: [] }
  let dirty = false
  try {
    for (const s of scenarios) {
      if (dirty || (s.fresh && doc.scenarios.length)) { await app.stop(); app = await App.start(cfg, command) }
      dirty = Boolean(s.fresh)
      doc.scenarios.push(await new Play(app, cfg, s).run())
    }
  } finally {
    await app.stop()
  }
  return doc
}

async function main() {
  const args = process.argv.slice(2)
  const opt = option
  const configs = loadConfigs()
  const scenarios = loadScenarios(configs)
  const only = opt('only') && opt('only').split(',')
  const ids = opt('scenario') && opt('scenario').split(',')
  const outDir = path.resolve(opt('out') || 'target/parity')
  if (args.includes('--list')) {
    let plays = 0
    for (const s of scenarios) { plays += s.targets.size; console.log(`${s.file}  ${s.id}  [${[...s.targets].join(' ')}]  ${s.title}`) }
    console.log(`${scenarios.length} scenarios, ${configs.length} configs, ${plays} plays`)
    return
  }
  if (!opt('app')) throw new Error('--app "command {config} 0" is needed')
  fs.mkdirSync(outDir, { recursive: true })
  const queue = configs.filter((c) => !only || only.includes(c.name))
  let plays = 0
  let failed = 0
  const worker = async () => {
    for (let cfg = queue.shift(); cfg; cfg = queue.shift()) {
      const mine = scenarios.filter((s) => s.targets.has(cfg.name) && (!ids || ids.includes(s.id)))
      if (!mine.length) continue
      try {
        const doc = await playConfig(cfg, mine, opt('app'))
        plays += doc.scenarios.length
        const text = print(doc)
        if (args.includes('--print')) process.stdout.write(text)
        else fs.writeFileSync(path.join(outDir, cfg.name + '.json'), text)
      } catch (err) {
        failed++
        console.error(`${cfg.name}: ${err.message}`)
      }
    }
  }
  await Promise.all([worker(), worker()])
  console.error(`${plays} plays recorded, ${failed} configs failed`)
  if (failed) process.exitCode = 1
}

main()
