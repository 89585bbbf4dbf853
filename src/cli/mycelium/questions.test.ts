// What the commands that ask a node say when nothing answers, or when they are asked for what they have not.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import {
  Daemon,
  describeIdentity,
  formatEndpoint,
  identityOf,
  parseEndpoint,
  parseOverlayAddress,
  serveApi,
} from '#mycelium'
import { freePort, tryRun, until } from '#sys'

const zos = resolve(import.meta.dirname, '../../../zos')

test('a silent address is told why, as far as the node knows; words too many and paths for ids are refused', {
  timeout: 240_000,
}, async () => {
  await using stack = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'zos-questions-'))
  stack.defer(() => rm(dir, { recursive: true, force: true }))
  const [secret, far] = [randomBytes(32), randomBytes(32)]
  const endpoint = parseEndpoint(`tcp://127.0.0.1:${await freePort()}`)
  stack.use(await Daemon.start({ secret: far, listen: [endpoint], peers: [] }))
  const messages = join(dir, 'messages')
  const daemon = stack.use(await Daemon.start({ secret, listen: [], peers: [endpoint], messages }))
  const socket = join(dir, 'api.sock')
  const server = await serveApi(daemon, socket)
  stack.defer(() => {
    server.close()
    server.closeAllConnections()
  })
  await until('a route', 20_000, async () => (await daemon.routes()).length > 0)
  const env = { ...process.env, ZOS_HOME: dir, ZOS_MYCELIUM_API: `unix:${socket}` }
  const asked = async (...words: string[]) => {
    const { code, stdout, stderr } = await tryRun(zos, ['mycelium', ...words], { env, timeout: 60_000 })
    return { code, stdout: stdout.toString(), stderr }
  }

  const nobody = await asked('ping', '4aa::1', '-c', '1')
  assert.deepEqual([nobody.code, nobody.stderr], [1, ''])
  assert.match(
    nobody.stdout,
    /^no answer within 2 s\n0 of 1 answered: no route yet, it is still asked for: is its node/,
  )
  const many = Array.from({ length: 24 }, (_, n) => parseOverlayAddress(`4bb:0:0:${n + 1}::1`))
  await Promise.all(many.map((address) => daemon.probe(address, 64, 100)))
  await until('the search to end', 20_000, async () => !((await daemon.status()).searching as string[]).length)
  assert.match(
    (await asked('ping', '4aa::1', '-c', '1')).stdout,
    /\n0 of 1 answered: no route: it does not run, or no peer/,
  )
  const rows = (await asked('routes')).stdout.split('\n')
  assert.equal(rows.filter((row) => / none .* no route: it does not run/.test(row)).length, 20, rows.join('\n'))
  assert.match(rows.at(-2)!, /^and 5 more were not reached, before these$/)
  const { subnet } = describeIdentity(identityOf(far))
  const there = await asked('ping', subnet.replace('/64', 'ffff'), '-c', '1')
  assert.match(there.stdout, /0 of 1 answered: a route leads there by tcp:/)

  const own = describeIdentity(identityOf(secret)).address
  assert.match((await asked('ping', own, '-c', '1')).stdout, /\n1 of 1 answered/)
  assert.match((await asked('send', own)).stderr, /^zos: Send a message to ".*": that is this node itself\n$/)

  for (const command of ['status', 'metrics', 'capture'])
    assert.match((await asked(command, 'more')).stderr, /^zos mycelium [a-z]+: "more" is not understood/)
  assert.match(
    (await asked('send', '4aa::1', '--reply-to', '../../admin')).stderr,
    /^zos: Read message id "..\/..\/admin":/,
  )

  // who is not connected is waited for, and said to be
  const watch = async (peer: string, what: RegExp) => {
    const child = spawn(zos, ['mycelium', 'capture', '--peer', peer], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    const ended = once(child, 'close')
    stack.defer(() => void child.kill('SIGKILL'))
    const text = { out: '', err: '' }
    child.stdout.on('data', (data) => (text.out += data))
    child.stderr.on('data', (data) => (text.err += data))
    await until(`${what} of ${peer}`, 20_000, () => what.test(text.out + text.err))
    assert.equal(child.exitCode, null)
    const end = async () => {
      child.kill('SIGINT')
      await ended
      return text
    }
    return { text, end }
  }
  const unknown = await watch('tcp://192.0.2.9:1', /Waiting/)
  assert.match(unknown.text.err, /^zos: No peer "tcp:\/\/192.0.2.9:1" is connected now; [^\n]*\n$/)
  // three Hellos are three seconds: time enough to be told otherwise
  const known = await watch(formatEndpoint(endpoint), /(hello[\s\S]*){3}/i)
  assert.equal((await known.end()).err, '')
  assert.equal((await unknown.end()).out, '', 'another who watches sees frames of its own peer alone')

  const mine = join(dir, 'mine.key')
  await writeFile(mine, far, { mode: 0o600 })
  const start = ['run', '--key-file', mine, '--api', `unix:${join(dir, 'other.sock')}`]
  assert.match(
    (await asked(...start, '--tun', '')).stderr,
    /^zos: Open TUN interface "": the name must be 1 to 15 letters/,
  )
  assert.match(
    (await asked(...start, '--api', `unix:${mine}`)).stderr,
    /^zos: Listen on ".*": what is there is no socket/,
  )
  assert.deepEqual(await readFile(mine), far)
})
