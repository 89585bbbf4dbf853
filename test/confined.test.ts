import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { Duplex } from 'node:stream'
import { after, test } from 'node:test'
import { Daemon, formatAddress, identityOf, ipv4OfSlot } from '../src/mycelium/index.ts'
import { cardsDir, flags, overlaySocket } from '../src/node/network/place.ts'
import { alive, callUnix, freePort, programFlags, until } from '../src/sys/index.ts'
import { places } from '../src/wire/index.ts'
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

/** The processes that have connected to PORT of this machine. */
function connectedTo(port: number): number[] {
  const rows = readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1)
  const ours = rows
    .map((row) => row.trim().split(/\s+/))
    .filter((row) => Number.parseInt(row[2]?.slice(9) ?? '', 16) === port)
  const sockets = new Set(ours.map((row) => `socket:[${row[9]}]`))
  const holds = (fd: string) => {
    try {
      return sockets.has(readlinkSync(fd))
    } catch {
      // closed or ended meanwhile
      return false
    }
  }
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .map(Number)
    .filter((pid) => {
      const fds = join('/proc', String(pid), 'fd')
      try {
        return readdirSync(fds).some((fd) => holds(join(fds, fd)))
      } catch {
        return false
      }
    })
}

test('nor has what speaks with peers for a command that no "zos join" leads; it ends with the command, however that ends', async () => {
  const secret = randomBytes(32)
  const port = await freePort()
  let asked = () => {}
  const isAsked = new Promise<void>((resolve) => (asked = resolve))
  // a chain that never answers
  const chain = () => {
    asked()
    return new Duplex({ read() {}, write: (_bytes, _encoding, done) => done() })
  }
  const listen = [{ scheme: 'tcp', ip: '127.0.0.1', port } as const]
  await using _relay = await Daemon.start({ secret, listen, peers: [], services: { chain } })
  const at = `mycelium://[${formatAddress(identityOf(secret).address)}]`
  const facts = { format: 'zos-grid/1', rpc: [`${at}/chain`], hub: [`${at}/hub`], peers: [`tcp://127.0.0.1:${port}`] }
  const file = join(dir, 'grid.json')
  writeFileSync(file, JSON.stringify(facts))

  const home = join(dir, 'home')
  const { run } = places({ ZOS_HOME: home })
  const { env } = askingLeft('')
  // it writes to the folder of its sockets alone, which is called by the process of the command
  const words = ['-c', 'export ZOS_LEFT="$0-way-$$/left.json"; exec "$@"', run, join(ROOT, 'zos'), 'node', 'ls']
  const command = spawn('sh', words, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, ZOS_HOME: home, ZOS_GRID: file, ...env },
  })
  children.push(command)
  await isAsked
  const speakers = connectedTo(port)
  assert.equal(speakers.length, 1)
  const way = `${run}-way-${command.pid}`
  const { left } = askingLeft(join(way, 'left.json'))
  assert.deepEqual(await left({ kill: (signal) => process.kill(speakers[0]!, signal) }), NOTHING)

  command.kill('SIGKILL')
  await until('what speaks for it to end', 20_000, () => !alive(speakers[0]!))
  assert.ok(!existsSync(way), 'and its sockets with it')
})

test('why a command has no such node is told in one line, and no folder of it stays', () => {
  const home = join(dir, 'home')
  const facts = { format: 'zos-grid/1', rpc: ['mycelium://[400::1]/chain'], hub: [], peers: ['tcp://nowhere'] }
  const file = join(dir, 'nowhere.json')
  writeFileSync(file, JSON.stringify(facts))
  const env = { ...process.env, ZOS_HOME: home, ZOS_GRID: file }
  const { status, stderr } = spawnSync(join(ROOT, 'zos'), ['node', 'ls'], { env })
  assert.equal(status, 1)
  assert.match(String(stderr), /^zos: Read peer "tcp:\/\/nowhere": .*\n$/)
  const { run } = places({ ZOS_HOME: home })
  const ways = readdirSync(dirname(run)).filter((name) => name.startsWith(`${basename(run)}-way-`))
  assert.deepEqual(ways, [])
})
