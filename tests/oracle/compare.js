'use strict'
// Compares two directories of transcripts, step by step.
//   node compare.js transcripts ../../target/parity [--only cfg,cfg] [--fields status,body,...] [--accept file.json]
// An accept file lists the differences that are meant: {"config": "..."|"*", "scenario": "...", "why": "...", "at": [...]}.
// `at` says where: the step's number and the field. A difference elsewhere is one too many, and so is an entry, or a
// place of one, where nothing differs. Ends with 1 if there is anything to say.
const fs = require('fs')
const path = require('path')

const args = process.argv.slice(2)
const [ours, theirs] = args
const opt = (name) => { const i = args.indexOf('--' + name); return i < 0 ? null : args[i + 1] }
const only = opt('only') && opt('only').split(',')
const fields = (opt('fields') || 'status,body,headers,set_cookie,trace,dump').split(',')
const accepted = opt('accept') ? JSON.parse(fs.readFileSync(opt('accept'), 'utf8')) : []

const SLACK = { expires_in_s: 2, ttl: 2000 } // clocks that run

function same(a, b, key) {
  if (typeof a === 'number' && typeof b === 'number' && SLACK[key]) return Math.abs(a - b) <= SLACK[key]
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((x, i) => same(x, b[i]))
  if (a && b && typeof a === 'object' && typeof b === 'object') {
    const keys = new Set([...Object.keys(a), ...Object.keys(b)])
    return [...keys].every((k) => same(a[k], b[k], k))
  }
  return a === b
}

let complaints = 0
const complain = (text) => { complaints++; console.log(text) }

let steps = 0
const used = new Set() // of the accepted: "number of the entry/place"
for (const file of fs.readdirSync(ours).filter((f) => f.endsWith('.json')).sort()) {
  const config = file.slice(0, -5)
  if (only && !only.includes(config)) continue
  const a = JSON.parse(fs.readFileSync(path.join(ours, file), 'utf8'))
  if (!a.scenarios.length) continue
  if (!fs.existsSync(path.join(theirs, file))) { complain(`${config}: not played by the other side`); continue }
  const b = JSON.parse(fs.readFileSync(path.join(theirs, file), 'utf8'))
  const other = new Map(b.scenarios.map((s) => [s.scenario, s]))
  for (const s of a.scenarios) {
    const t = other.get(s.scenario)
    if (!t) { complain(`${config}/${s.scenario}: missing`); continue }
    const entry = accepted.findIndex((x) => (x.config === '*' || x.config === config) && x.scenario === s.scenario)
    s.steps.forEach((step, i) => {
      steps++
      for (const f of fields) {
        const there = (t.steps[i] || {})[f]
        if (same(step[f], there)) continue
        const place = `${i + 1} ${f}`
        if (entry >= 0 && accepted[entry].at.includes(place)) { used.add(`${entry}/${place}`); continue }
        complain(`${config}/${s.scenario} step ${i + 1} ${step.request || ''} ${f}\n   - ${JSON.stringify(step[f])}\n   + ${JSON.stringify(there)}`)
      }
    })
  }
}
if (!only) {
  accepted.forEach((x, entry) => x.at.forEach((place) => {
    if (!used.has(`${entry}/${place}`)) complain(`accepted but not needed: ${x.config}/${x.scenario} at ${place}`)
  }))
}
console.log(`${steps} steps compared, ${complaints} complaints`)
process.exitCode = complaints ? 1 : 0
