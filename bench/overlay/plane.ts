import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { identityOf } from '../../src/mycelium/index.ts'
import { openCards } from '../../src/node/compute/cards.ts'
import { flags, overlaySocket } from '../../src/node/network/place.ts'
import { callUnix, closeFd, makeTap, programFlags, until } from '../../src/sys/index.ts'

const PROGRAM = resolve(import.meta.dirname, '../../src/node/network/main.ts')
const FIRST_IPV4 = 0x0a00_0002

/**
 * The network plane as a node runs it in its folder DIR, told of COUNT workloads whose machines have taps in NAMESPACE, `id0` and
 * so on; each may reach the next one. START runs it there.
 */
export async function planeWithCards(
  start: (args: string[], cwd: string) => ChildProcess,
  dir: string,
  namespace: string,
  count: number,
): Promise<ChildProcess> {
  const none = ['--hub', 'http://127.0.0.1:1', '--far', '', '--listen', '', '--peer', '']
  const child = start([process.execPath, ...programFlags(), ...flags(dir), PROGRAM, '--run', dir, ...none], '/')
  const taps: number[] = []
  child.once('exit', () => taps.forEach(closeFd))
  const socket = overlaySocket(dir)
  await until('the network plane to answer', 20_000, async () => existsSync(socket) || undefined, 50)
  const tell = (path: string, body: unknown) => callUnix(socket, 'PUT', path, { body })
  await tell('/node', { secret: randomBytes(32).toString('hex') })
  const secrets = Array.from({ length: count }, () => randomBytes(32))
  const members = secrets.map((secret, n) => ({
    names: [`w${n}`],
    address: identityOf(secret).address.toString('hex'),
    ipv4: FIRST_IPV4 + n,
  }))
  const cards = openCards(dir)
  for (const [n, secret] of secrets.entries()) {
    taps.push(makeTap(`/var/run/netns/${namespace}`, `id${n}`))
    const card = join(dir, `card${n}`)
    writeFileSync(card, `tap ${child.pid} id${n}\n`)
    cards.plug(`w${n}`, card)
    const network = { domain: 'bench.zos', members: [members[n], members[(n + 1) % count]], people: [] }
    const ports = [{ protocol: 'tcp', port: 80 }]
    await tell(`/cards/w${n}`, { secret: secret.toString('hex'), network: { ...network, ports } })
  }
  const attached = await callUnix<unknown[]>(socket, 'GET', '/cards')
  if (attached.length !== count) throw new Error(`${attached.length} of ${count} cards are attached`)
  return child
}
