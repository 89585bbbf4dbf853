// Two nodes of a private network on the hands of this thread, which confines itself once they are up; says which modules it loaded,
// what reached it from the other, and what it may still do.
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { confine, freePort, permissions } from '#sys'
import { identityOf } from '../identity.ts'

const loaded: string[] = []
registerHooks({
  load(url, context, next) {
    loaded.push(url)
    return next(url, context)
  },
})
const { Daemon } = await import('./daemon.ts')
const dir = mkdtempSync(join(tmpdir(), 'zos-loaded-'))
const network = { name: 'home', key: randomBytes(32) }
const endpoint = { scheme: 'tls', ip: '127.0.0.1', port: await freePort() } as const
const secret = randomBytes(32)
const echo = () => new PassThrough()
const served = { secret, listen: [endpoint], peers: [], network, services: { echo }, messages: join(dir, 'one') }
{
  await using one = await Daemon.start({ ...served, discovery: true })
  await using two = await Daemon.start({
    secret: randomBytes(32),
    listen: [],
    peers: [endpoint],
    network,
    messages: join(dir, 'two'),
  })
  confine({ opens: true, keeps: ['fs', 'net'] })
  const { address } = identityOf(secret)
  const stream = two.dial(address, 'echo')
  stream.end('a word')
  const streamed = String(await buffer(stream))
  two.messages!.push({ to: address, topic: Buffer.from('news'), data: Buffer.from('a message') })
  const message = await one.messages!.take({}, { peek: false, timeout: 20_000 })
  const left = permissions()
  process.stdout.write(JSON.stringify({ loaded, streamed, message: String(message?.payload), left }))
}
rmSync(dir, { recursive: true })
