import { randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import {
  encodeCredit,
  encodeFrame,
  encodeJson,
  encodeU64,
  FILLER,
  Frame,
  HEADER,
  MAGIC,
  NONCE,
  TRAILER,
} from './protocol.ts'

const RECORD = Buffer.from(JSON.stringify({ path: 'f', type: 'file', mode: 420, uid: 0, gid: 0, mtime: '1', size: 2 }))
const COPY = Buffer.concat([Buffer.from([RECORD.length, 0, 0, 0]), RECORD, Buffer.from('ab'), Buffer.alloc(4)])
const process = { argv: ['cat'], env: ['A=b'], cwd: '/', user: '', tty: null, stdin: true }

/** Everything a host may say but what ends the workload: its stdin, signals, power off. */
function valid(stream: number): Uint8Array {
  const asked = (method: string, params: unknown) => encodeJson(Frame.request, stream, { method, params })
  const all = [
    () => asked('exec', process),
    () => asked('exec', { ...process, tty: { rows: 20, columns: 70 } }),
    () => asked('exec', { ...process, argv: ['true'], user: '7:9', rlimits: [{ name: 'nofile', soft: 9, hard: 9 }] }),
    () => asked('stat', { path: '/etc/passwd', follow: true }),
    () => asked('copyOut', { path: '/etc', follow: false }),
    () => asked('copyIn', { path: '/tmp', keepOwner: false }),
    () => asked('dial', { port: 80, host: '127.0.0.1' }),
    () => asked('processes', null),
    () => asked('stats', null),
    () => asked('resize', { stream: Math.max(1, stream - 1), rows: 3, columns: 4 }),
    () => encodeFrame(Frame.data, Math.max(1, stream - 1), COPY),
    () => encodeFrame(Frame.data, Math.max(1, stream - 2), randomBytes(randomInt(2000))),
    () => encodeFrame(Frame.end, Math.max(1, stream - 1), new Uint8Array(0)),
    () => encodeCredit(Math.max(1, stream - 1), randomInt(2 ** 31)),
    () => encodeFrame(Frame.reset, Math.max(1, stream - 3), new Uint8Array(0)),
    () => encodeU64(Frame.ack, 0, randomInt(2 ** 40)),
  ]
  return all[randomInt(all.length)]!()
}

/** As a rule only the payload changes, so that the frame gets past the first check. */
function mutate(frame: Uint8Array): Buffer {
  const bytes = Buffer.from(frame)
  if (randomInt(3) === 0) return bytes
  const payload = bytes.length - HEADER - TRAILER
  for (let k = randomInt(1, 4); k > 0 && payload > 0; k--)
    bytes[HEADER + randomInt(payload)] = randomInt(2) === 0 ? '{}[]",:0-9'.charCodeAt(randomInt(10)) : randomInt(256)
  // out of step: the guest then skips everything up to the next hello
  if (randomInt(200) === 0) bytes[0] = randomInt(256)
  return bytes
}

const helloFrame = (): Uint8Array =>
  encodeFrame(Frame.hello, 0, Buffer.concat([MAGIC, randomBytes(NONCE), Buffer.from([1, 0, 0, 0]), Buffer.alloc(8)]))

/** A host that asks for a process and is followed by another before it can run. */
export async function leaveMidway(socket: string, argv: string[]): Promise<void> {
  const host = connect(socket)
  await once(host, 'connect')
  host.resume()
  const request = encodeJson(Frame.request, 1, { method: 'exec', params: { ...process, argv } })
  host.end(Buffer.concat([Buffer.alloc(FILLER), helloFrame(), request, helloFrame()]))
  await once(host, 'close')
}

/** RUNS frames from hosts that come and go, to the agent behind SOCKET; what it answers is read and dropped. */
export async function fuzzGuest(socket: string, runs: number): Promise<void> {
  for (let run = 0; run < runs; ) {
    const host = connect(socket).on('error', () => {})
    await once(host, 'connect')
    host.resume()
    host.write(Buffer.concat([Buffer.alloc(FILLER), helloFrame()]))
    for (let stream = 1; stream < 100 && run < runs; stream++, run++) {
      if (!host.write(mutate(valid(stream)))) await Promise.race([once(host, 'drain'), once(host, 'close')])
    }
    host.end()
    await once(host, 'close')
  }
}
