// web3.js' Whisper client (web3-shh), driven by one JSON request per line on standard input:
//
//   {"id":1,"cmd":"open","args":["ws://127.0.0.1:8545/token"]}     a client with a provider for the URL
//   {"id":2,"cmd":"surface","args":[]}                              the names of all its functions
//   {"id":3,"cmd":"getVersion","args":[]}, {"cmd":"net.getId",…}    a function of the client
//   {"id":4,"cmd":"on","args":["name","messages",{…}]}              subscribe; what comes is printed as {"subscription":"name","data":…}
//   {"id":5,"cmd":"off","args":["name"]}                            end it by its own unsubscribe
//   {"id":6,"cmd":"batch","args":[["getVersion"],["hasSymKey",id]]} functions in one batch
//   {"id":7,"cmd":"extend","args":["name","shh_method",params]}     add a function
//
// Answers are {"id":…,"result":…} or {"id":…,"error":text}. It ends with its input.
'use strict'

const Shh = require('web3-shh')

let shh
const subscriptions = new Map()

const print = (line) => process.stdout.write(JSON.stringify(line) + '\n')

// functionOf finds a function of the client by its dotted name.
function functionOf (name) {
  const path = name.split('.')
  const last = path.pop()
  const owner = path.reduce((o, part) => o[part], shh)
  if (typeof owner[last] !== 'function') throw new Error('there is no function ' + name)
  return owner[last].bind(owner)
}

const commands = {
  open (url) { shh = new Shh(url) },

  surface () {
    const names = (o) => Object.keys(o).filter((k) => typeof o[k] === 'function' && !k.startsWith('_'))
    return names(shh).concat(names(shh.net).map((k) => 'net.' + k)).sort()
  },

  on (name, ...args) {
    return new Promise((resolve, reject) => {
      const s = shh.subscribe(...args)
      subscriptions.set(name, s)
      s.on('connected', resolve)
      s.on('data', (data) => print({ subscription: name, data }))
      s.on('error', (e) => { reject(e); print({ subscription: name, error: String(e.message || e) }) })
    })
  },

  off (name) {
    return new Promise((resolve, reject) => {
      subscriptions.get(name).unsubscribe((err, done) => err ? reject(err) : resolve(done))
      subscriptions.delete(name)
    })
  },

  batch (...calls) {
    const batch = new shh.BatchRequest()
    const results = calls.map(([name, ...args]) => new Promise((resolve, reject) => {
      const f = shh[name].request
      batch.add(f(...args, (err, result) => err ? reject(err) : resolve(result)))
    }))
    batch.execute()
    return Promise.all(results)
  },

  extend (name, call, params) { shh.extend({ methods: [{ name, call, params }] }) }
}

async function answer ({ id, cmd, args }) {
  try {
    const result = await (commands[cmd] || functionOf(cmd))(...args)
    print({ id, result: result === undefined ? null : result })
  } catch (e) {
    print({ id, error: String((e && e.message) || e) })
  }
}

const lines = require('readline').createInterface({ input: process.stdin })
lines.on('line', (line) => answer(JSON.parse(line)))
lines.on('close', () => process.exit(0))
