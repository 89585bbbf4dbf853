// What a taken-over guest may send: the node must stay up, keep its memory, and be told no lies it cannot bear.
import assert from 'node:assert/strict'
import { randomBytes, randomInt } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import type { Agent } from './agent.ts'
import { connectAgent } from './client.ts'
import {
  encodeCredit,
  encodeFrame,
  encodeJson,
  Frame,
  HEADER,
  MAGIC,
  NONCE,
  putU64,
  RING,
  TRAILER,
  VERSION,
  WINDOW,
} from './protocol.ts'

const RUNS = Number(process.env.ZOS_FUZZ ?? 4000)
const STATE = { version: VERSION, phase: 'running', pid: 7, from: 0, to: 0, stdinCredit: WINDOW }

let dir: string
let server: Server
let guest: Socket
let state: unknown = STATE
before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'zos-hostile-'))
  server = createServer((socket) => {
    guest = socket.on('error', () => {})
    let held = Buffer.alloc(0)
    socket.on('data', (bytes: Buffer) => {
      if (held.length > 100) return
      held = Buffer.concat([held, bytes])
      const nonce = held.subarray(HEADER + MAGIC.length, HEADER + MAGIC.length + NONCE)
      if (nonce.length < NONCE) return
      socket.write(encodeFrame(Frame.helloAck, 0, Buffer.concat([nonce, Buffer.from(JSON.stringify(state))])))
    })
  })
  await new Promise<void>((done) => server.listen(join(dir, 's'), done))
})
after(() => {
  server.close()
  rmSync(dir, { recursive: true, force: true })
})

const connect = () => connectAgent(join(dir, 's'), { fresh: true, timeout: 5000 })

function output(offset: number, bytes: Uint8Array): Uint8Array {
  const payload = new Uint8Array(8 + bytes.length)
  putU64(payload, 0, offset)
  payload[7] = 1
  payload.set(bytes, 8)
  return encodeFrame(Frame.output, 0, payload)
}

/** Everything a host can be waiting for at once; streams are numbered in this order. */
function askAll(agent: Agent): Promise<unknown>[] {
  const spec = { argv: ['x'], env: [], cwd: '', user: '', tty: null, stdin: true }
  const drain = async () => {
    for await (const { content } of agent.copyOut('/')) for await (const _ of content ?? []);
  }
  return [
    agent.exec(spec).then((e) => Promise.all([e.exit, e.stdout.resume()])),
    agent.dial(80).then((d) => d.on('error', () => {}).resume()),
    drain(),
    agent.stat('/x'),
    agent.processes(),
    agent.stats(),
    agent.copyIn('/', []),
    agent.exited,
  ]
}

const EXIT = { code: 0, signal: null, oom: false, reason: 'exit code 0' }
const ENTRY = Buffer.from(JSON.stringify({ path: 'a', type: 'file', mode: 420, uid: 0, gid: 0, mtime: '1', size: 3 }))
const RECORD = Buffer.concat([Buffer.from([ENTRY.length, 0, 0, 0]), ENTRY, Buffer.from('abc'), Buffer.alloc(4)])

const valid = (stream: number): Uint8Array[] => [
  encodeJson(Frame.reply, stream, { ok: { pid: 9 } }),
  encodeJson(Frame.reply, stream, { error: { code: 'no', message: 'because', exitCode: 127 } }),
  encodeFrame(Frame.data, stream, RECORD),
  encodeFrame(Frame.errorData, stream, Buffer.from('words')),
  encodeFrame(Frame.end, stream, new Uint8Array(0)),
  encodeCredit(stream, 70_000),
  encodeFrame(Frame.reset, stream, new Uint8Array(0)),
  encodeJson(Frame.exit, stream, EXIT),
  output(0, Buffer.from('hello')),
  encodeJson(Frame.exited, 0, EXIT),
]

/** Bytes of the payload changed, the frame itself still whole as a rule: deeper than the first check. */
function mutate(frame: Uint8Array): Buffer {
  const bytes = Buffer.from(frame)
  if (randomInt(4) === 0) return bytes
  for (let k = randomInt(1, 5); k > 0; k--) {
    const payload = bytes.length - HEADER - TRAILER
    const at = payload > 0 && randomInt(20) > 0 ? HEADER + randomInt(payload) : randomInt(bytes.length)
    bytes[at] = randomInt(3) === 0 ? '{}[]",:0-9'.charCodeAt(randomInt(10)) : randomInt(256)
  }
  return bytes
}

test('mutated frames end the line or an answer, never the process', { timeout: 1_200_000 }, async () => {
  const stray: unknown[] = []
  const note = (error: unknown) => void stray.push(error)
  process.on('uncaughtException', note).on('unhandledRejection', note)
  try {
    for (let run = 0; run < RUNS; ) {
      await using agent = await connect()
      const asked = Promise.allSettled(askAll(agent))
      for (let k = 0; k < 60 && !guest.destroyed; k++, run++) {
        const frames = valid(randomInt(1, 9))
        guest.write(mutate(frames[randomInt(frames.length)]!))
        // so that what comes after a line has ended is not counted
        await new Promise((r) => setImmediate(r))
      }
      guest.end()
      await agent.closed
      await asked
    }
    await new Promise((r) => setImmediate(r))
    assert.deepEqual(stray, [])
  } finally {
    process.off('uncaughtException', note).off('unhandledRejection', note)
  }
})

test('more than was granted ends the line: on a stream, and as output', async () => {
  for (const flood of [
    (n: number) => encodeFrame(Frame.data, 1, Buffer.alloc(32_768, n)),
    (n: number) => output(n * 32_768, Buffer.alloc(32_768)),
  ]) {
    await using agent = await connect()
    const session = agent.exec({ argv: ['x'], env: [], cwd: '', user: '', tty: null, stdin: false })
    session.catch(() => {})
    guest.write(encodeJson(Frame.reply, 1, { ok: { pid: 1 } }))
    for (let n = 0; n <= RING / 32_768 && !guest.destroyed; n++) guest.write(flood(n))
    assert.match(await agent.closed, /more than it was granted|nobody asked for/)
  }
})

test('grants without end are a window at most', async () => {
  await using agent = await connect()
  let received = 0
  guest.on('data', (bytes) => {
    received += bytes.length
  })
  for (let n = 0; n < 10; n++) guest.write(encodeCredit(0, 2 ** 32 - 1))
  // the answer to a question shows that the grants were read
  const stats = agent.stats()
  guest.write(encodeJson(Frame.reply, 1, { ok: {} }))
  await stats
  agent.stdin.write(randomBytes(8 * WINDOW))
  await new Promise((r) => setTimeout(r, 200))
  assert.ok(received > 0 && received < WINDOW + 4096, `${received} bytes were sent`)
})

test('a state or an exit that is none is refused; words cannot steer a terminal', async () => {
  for (const lie of [null, 7, [], { ...STATE, phase: 'flying' }, { ...STATE, to: -1 }, { ...STATE, pid: '7' }]) {
    state = lie
    await assert.rejects(connect(), { code: 'agent-gone' })
  }
  state = STATE
  {
    await using agent = await connect()
    guest.write(encodeJson(Frame.exited, 0, { ...EXIT, code: 'x' }))
    await assert.rejects(agent.exited, { code: 'agent-gone' })
  }
  await using agent = await connect()
  guest.write(encodeJson(Frame.exited, 0, { ...EXIT, reason: 'red\u001b[31m\nnext' }))
  assert.equal((await agent.exited).reason, 'red\ufffd[31m\ufffdnext')
})
