import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { identityOf, ipv4OfSlot } from '../src/mycelium/index.ts'
import { cardsDir, flags, overlaySocket } from '../src/node/network/place.ts'
import { callUnix, programFlags, until } from '../src/sys/index.ts'
import { ROOT } from './harness.ts'
import { askingLeft, DENIED, NOTHING } from './left.ts'

const dir = mkdtempSync(join(tmpdir(), 'zos-confined-'))
const children: ChildProcess[] = []
const servers: Server[] = []
after(() => {
  for (const child of children) child.kill('SIGKILL')
  for (const server of servers) server.close()
  rmSync(dir, { recursive: true, force: true })
})

/** COMMAND, and what its main thread can still do, which it says in the file SAID. */
function started(said: string, [file, ...args]: string[]): () => Promise<unknown> {
  const { env, left } = askingLeft(said)
  const child = spawn(file!, args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, ZOS_HOME: join(dir, 'home'), ...env },
  })
  children.push(child)
  return () => left(child)
}

const answers = (socket: string, path: string) =>
  until(`an answer at ${socket}`, 20_000, () =>
    callUnix(socket, 'GET', path).then(
      () => true,
      () => false,
    ),
  )

test('the main thread of the network plane has no node:ffi when others are first heard, and opens cards without', async () => {
  const run = join(dir, 'run')
  mkdirSync(cardsDir(run), { recursive: true })
  const args = ['--run', run, '--hub', 'http://127.0.0.1:9']
  const main = join(ROOT, 'src/node/network/main.ts')
  const left = started(join(run, 'left.json'), [process.execPath, ...programFlags(), ...flags(run), main, ...args])
  const overlay = overlaySocket(run)
  await answers(overlay, '/ping')
  const without = { library: DENIED, address: DENIED, memory: DENIED, program: 'yes' }
  assert.deepEqual(await left(), { ...without, thread: 'yes' })

  await callUnix(overlay, 'PUT', '/node', { body: { secret: randomBytes(32).toString('hex') } })
  assert.deepEqual(await left(), { ...without, thread: DENIED })

  const path = join(dir, 'card')
  const machine = createServer()
  servers.push(machine)
  const connected = new Promise((done) => machine.once('connection', done))
  await new Promise<void>((done) => machine.listen(path, done))
  symlinkSync(path, join(cardsDir(run), 'web'))
  const secret = randomBytes(32)
  const members = [{ names: ['web'], address: identityOf(secret).address.toString('hex'), ipv4: ipv4OfSlot(0) }]
  const network = { domain: 'shop.zos', members, people: [], ports: [] }
  await callUnix(overlay, 'PUT', '/cards/web', { body: { secret: secret.toString('hex'), network } })
  await connected
})

test('nor has that of "zos mycelium run", and it starts no programs', async () => {
  const key = join(dir, 'key')
  const api = join(dir, 'api.sock')
  writeFileSync(key, randomBytes(32), { mode: 0o600 })
  const args = ['--key-file', key, '--no-discovery', '--api', `unix:${api}`]
  const left = started(join(dir, 'left.json'), [join(ROOT, 'zos'), 'mycelium', 'run', ...args])
  await answers(api, '/status')
  assert.deepEqual(await left(), NOTHING)
})
