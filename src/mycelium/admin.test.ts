import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { freePort, until } from '#sys'
import { formatAddress } from './address.ts'
import { serveApi } from './api.ts'
import { Daemon } from './daemon/daemon.ts'
import { parseEndpoint } from './endpoint.ts'
import { identityOf } from './identity.ts'

type Answer = { status: number; body: unknown }

/** What is recorded of the public daemon (vectors/http): the status and the body of one call. */
async function recorded(name: string): Promise<Answer> {
  const file = join(import.meta.dirname, 'vectors/http', `${name}.txt`)
  const text = (await readFile(file, 'utf8')).replaceAll('\r', '')
  const [, answer] = text.split(/\n\n(?=HTTP)/) as [string, string]
  const [head, ...body] = answer.split('\n\n') as [string, ...string[]]
  const json = /application\/json/.test(head)
  return { status: Number(head.split(' ')[1]), body: json ? JSON.parse(body.join('')) : undefined }
}

/** Names and kinds of values, of the first element where there are several. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.slice(0, 1).map(shapeOf)
  if (value === null || typeof value !== 'object') return value === null ? 'null' : typeof value
  return Object.fromEntries(
    Object.entries(value)
      .sort()
      .map(([name, of]) => [name, shapeOf(of)]),
  )
}

test("what ours answers under /api/v1 has the public daemon's names, kinds of values and statuses", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'zos-admin-'))
  t.after(() => rm(dir, { recursive: true }))
  const endpoint = `tcp://127.0.0.1:${await freePort()}`
  const secrets = [randomBytes(32), randomBytes(32)] as const
  await using _relay = await Daemon.start({ secret: secrets[0], listen: [parseEndpoint(endpoint)], peers: [] })
  await using daemon = await Daemon.start({ secret: secrets[1], listen: [], peers: [parseEndpoint(endpoint)] })
  const path = join(dir, 'api.sock')
  const server = await serveApi(daemon, path)
  t.after(() => server.close())
  const call = (method: string, at: string, body?: unknown): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const req = request({ socketPath: path, method, path: `/api/v1/${at}`, agent: false }, (res) => {
        let text = ''
        res.setEncoding('utf8').on('data', (d: string) => (text += d))
        res.on('end', () => resolve({ status: res.statusCode!, body: text === '' ? undefined : JSON.parse(text) }))
      })
      req.on('error', reject).end(body === undefined ? '' : JSON.stringify(body))
    })
  const same = async (name: string, method: string, at: string, body?: unknown): Promise<unknown> => {
    const [ours, theirs] = [await call(method, at, body), await recorded(name)]
    assert.equal(ours.status, theirs.status, name)
    if (theirs.body !== undefined) assert.deepEqual(shapeOf(ours.body), shapeOf(theirs.body), name)
    return ours.body
  }

  const [far, own] = secrets.map((secret) => identityOf(secret))
  await until('a route', 20_000, async () => (await daemon.routes()).length > 0)
  const info = (await same('admin', 'GET', 'admin')) as Record<string, unknown>
  assert.deepEqual([info.nodeIp, info.nodePubkey], [formatAddress(own!.address), own!.publicKey.toString('hex')])
  assert.ok(Math.abs(Number(info.nodeStartTime) - Date.now() / 1000) < 600)
  const [peer] = (await same('peers', 'GET', 'admin/peers')) as Record<string, unknown>[]
  assert.deepEqual(peer!.endpoint, { proto: 'tcp', addr: { socket: endpoint.slice(6) } })
  assert.deepEqual([peer!.type, peer!.connectionState], ['static', 'alive'])

  const known = (await same('pubkey-known', 'GET', `pubkey/${formatAddress(far!.address)}`)) as { publicKey: string }
  assert.equal(known.publicKey, far!.publicKey.toString('hex'))
  await same('pubkey-unknown', 'GET', 'pubkey/5ff::1')
  await same('pubkey-malformed', 'GET', 'pubkey/zzz')
  const [route] = (await same('routes-selected', 'GET', 'admin/routes/selected')) as { subnet: string }[]
  assert.ok(formatAddress(far!.address).startsWith(route!.subnet.replace('::/64', ':')))
  await same('routes-fallback', 'GET', 'admin/routes/fallback')
  await daemon.probe(Buffer.from('05ffdeadbeef00000000000000000001', 'hex'), 64, 1)
  const queried = (await same('routes-queried-while-unknown-pinged', 'GET', 'admin/routes/queried')) as unknown[]
  assert.equal((queried[0] as { subnet: string }).subnet, '5ff:dead:beef::/64')

  const other = 'tcp://127.0.0.1:1'
  await same('peer-add', 'POST', 'admin/peers', { endpoint: other })
  await same('peer-add-again', 'POST', 'admin/peers', { endpoint: other })
  await same('peer-add-bad', 'POST', 'admin/peers', { endpoint: 'nonsense' })
  const dead = async () =>
    ((await call('GET', 'admin/peers')).body as { connectionState: string; lastConnected: unknown }[]).filter(
      ({ lastConnected }) => lastConnected === null,
    )
  await until('it to be refused', 10_000, async () => (await dead())[0]?.connectionState === 'dead')
  await same('peer-delete', 'DELETE', `admin/peers/${encodeURIComponent(other)}`)
  await same('peer-delete-again', 'DELETE', `admin/peers/${encodeURIComponent(other)}`)
  assert.deepEqual(await dead(), [])
  assert.equal((await call('DELETE', `admin/peers/${encodeURIComponent(endpoint)}`)).status, 204)
  await until('no route', 10_000, async () => (await daemon.routes()).every(({ selected }) => !selected))
  await same('not-found', 'GET', 'nothing')
})
