import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { type AddressInfo, connect, createServer as listen } from 'node:net'
import { Readable } from 'node:stream'
import { after, test } from 'node:test'
import type { Agent } from '#vm'
import { probe } from './probe.ts'
import type { WorkloadSpec } from './spec.ts'

/** An agent whose guest's loopback is this machine's. */
const agent = {
  dial: (port: number, { signal }: { signal: AbortSignal }) =>
    new Promise((resolve, reject) => {
      const line = connect({ port, host: '127.0.0.1', signal }).on('error', reject)
      line.on('connect', () => resolve(line))
    }),
} as unknown as Agent
const times = { interval: 1, retries: 1, startPeriod: 0, startInterval: 1 }
const look = (asked: { tcp: number } | { http: string }, timeout = 5000) =>
  probe(agent, {} as WorkloadSpec, { probe: asked, timeout, ...times })

const web = createServer((req, res) => {
  const status = Number(req.url!.slice(1))
  if (status) res.writeHead(status).end('page')
})
const silent = listen(() => {})
const portOf = async (server: typeof web | typeof silent) => {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return (server.address() as AddressInfo).port
}
const [page, mute] = [await portOf(web), await portOf(silent)]
after(() => {
  web.closeAllConnections()
  web.close()
  silent.close()
})

test('a page is well with a status from 200 to 399, a port when it takes a connection', async () => {
  for (const status of [200, 204, 302, 399])
    assert.deepEqual(await look({ http: `:${page}/${status}` }), { ExitCode: 0, Output: `HTTP status ${status}` })
  for (const status of [404, 500])
    assert.deepEqual(await look({ http: `:${page}/${status}` }), { ExitCode: 1, Output: `HTTP status ${status}` })
  assert.deepEqual(await look({ tcp: mute }), { ExitCode: 0, Output: '' })
})

test('what does not listen, does not answer or is no HTTP is not well', async () => {
  silent.on('connection', (line) => line.on('error', () => {}))
  const late = { ExitCode: -1, Output: 'Health check exceeded timeout (0.2s)' }
  assert.deepEqual(await look({ http: `:${page}/never` }, 200), late)
  assert.deepEqual(await look({ http: `:${mute}/` }, 200), late)
  silent.once('connection', (line) => line.end('SSH-2.0-x\r\n'))
  assert.equal((await look({ http: `:${mute}/` })).ExitCode, -1)
  silent.close()
  const refused = await look({ tcp: 1 })
  assert.equal(refused.ExitCode, -1)
  assert.match(refused.Output, /ECONNREFUSED/)
})

test('what a check wrote last is kept though its end is known first', async () => {
  const [stdout, stderr] = [new Readable({ read() {} }), new Readable({ read() {} })]
  const ended = { exec: async () => ({ stdout, stderr, exit: Promise.resolve({ code: 1 }), signal: async () => {} }) }
  const check = probe(ended as unknown as Agent, {} as WorkloadSpec, {
    probe: { argv: ['x'] },
    timeout: 5000,
    ...times,
  })
  setTimeout(() => {
    stdout.push('out\n')
    for (const stream of [stdout, stderr]) stream.push(null)
  }, 20)
  assert.deepEqual(await check, { ExitCode: 1, Output: 'out\n' })
})

test('a check that comes too late in a slow guest is killed when it begins there, and the next one waits for its end', async () => {
  const calls: string[] = []
  const [begun, exit] = [Promise.withResolvers<void>(), Promise.withResolvers<{ code: number }>()]
  const streams = () => ({ stdout: Readable.from([]).resume(), stderr: Readable.from([]).resume() })
  const slow = {
    async exec() {
      calls.push('exec')
      if (calls.length > 1) return { ...streams(), exit: Promise.resolve({ code: 0 }) }
      await begun.promise
      return { ...streams(), exit: exit.promise, signal: async (name: string) => void calls.push(name) }
    },
  } as unknown as Agent
  const check = (timeout: number) => probe(slow, {} as WorkloadSpec, { probe: { argv: ['x'] }, timeout, ...times })
  const late = { ExitCode: -1, Output: 'Health check exceeded timeout (0.02s)' }
  assert.deepEqual(await check(20), late)
  assert.deepEqual(await check(20), late)
  assert.deepEqual(calls, ['exec'], 'none beside one that may still begin')
  begun.resolve()
  assert.deepEqual(await check(20), late)
  assert.deepEqual(calls, ['exec', 'KILL'])
  exit.resolve({ code: 137 })
  assert.equal((await check(5000)).ExitCode, 0)
  assert.deepEqual(calls, ['exec', 'KILL', 'exec'])
})
