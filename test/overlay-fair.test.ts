import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Daemon } from '../src/mycelium/index.ts'
import { Guest, tcp } from '../src/mycelium/nic/guest.fixture.ts'
import { ipv4OfSlot } from '../src/mycelium/nic/network.ts'
import { ICMPV6, ipv6Packet } from '../src/mycelium/nic/packet.ts'
import { freePort } from '../src/sys/index.ts'
import { slowLink } from './slow-link.ts'

const SIZE = 1_400
const MEGABYTE = 1_000_000
/** Bytes over the line by when it is full. */
const FULL = MEGABYTE

// shares of the queue by themselves: src/mycelium/daemon/out-queue.test.ts
const nightly = { skip: process.env.ZOS_NIGHTLY ? false : 'five seconds of a full line: ZOS_NIGHTLY=1' }

test(
  'a workload that floods a narrow line takes nothing from its neighbour: packets and echoes of that one arrive',
  nightly,
  async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'zos-fair-'))
    t.after(() => rmSync(dir, { recursive: true, force: true }))
    const [loud, quiet, far] = ['loud', 'quiet', 'far'].map((n) => new Guest(t, dir, n)) as [Guest, Guest, Guest]
    const network = {
      domain: 'fair.zos',
      members: [loud, quiet, far].map(({ identity }, n) => ({
        names: [`w${n}`],
        address: identity.address,
        ipv4: ipv4OfSlot(n),
      })),
      ports: [{ protocol: 'tcp' as const, port: 80 }],
    }
    const port = await freePort()
    const two = await Daemon.start({
      secret: randomBytes(32),
      listen: [{ scheme: 'tcp', ip: '127.0.0.1', port }],
      peers: [],
    })
    t.after(() => two[Symbol.asyncDispose]())
    const line = await slowLink(port, { delay: 2, rate: MEGABYTE })
    t.after(() => line[Symbol.asyncDispose]())
    const peers = [{ scheme: 'tcp' as const, ip: '127.0.0.1', port: line.port }]
    const one = await Daemon.start({ secret: randomBytes(32), listen: [], peers })
    t.after(() => one[Symbol.asyncDispose]())
    for (const [node, guest] of [
      [one, loud],
      [one, quiet],
      [two, far],
    ] as const) {
      await node.attach({ secret: guest.secret, port: { kind: 'nic', path: guest.path, network } })
      await guest.attached()
    }
    for (const guest of [loud, quiet]) {
      guest.send(tcp(guest.identity, far.identity, 40_000, 80))
      await far.next()
    }
    const packet = (from: Guest, source: number) => tcp(from.identity, far.identity, source, 80, SIZE - 40)
    const echo = ipv6Packet(
      quiet.identity.address,
      far.identity.address,
      ICMPV6,
      Buffer.from('8000000000010001', 'hex'),
      2,
    )
    const loudOne = packet(loud, 40_001)
    const quietOne = packet(quiet, 40_002)
    const sent = { loud: 0, quiet: 0, echoes: 0 }
    // by what the line has carried, not by the clock: the quiet one sends a fifth of it, in tens
    let flooding = true
    const flood = (async () => {
      for (let _turn = 0; flooding; _turn++) {
        for (let n = 0; n < 30; n++, sent.loud++) loud.send(loudOne)
        if (sent.quiet * SIZE < (line.bytes.up - FULL) * 0.2) {
          for (let n = 0; n < 10; n++, sent.quiet++) quiet.send(quietOne)
          quiet.send(echo)
          sent.echoes++
        }
        await sleep(5)
      }
    })()
    while (line.bytes.up < FULL + 5 * MEGABYTE) await sleep(20)
    flooding = false
    await flood
    // what is under way arrives; routers go on greeting each other
    for (let before = 0; line.bytes.up - before > 10 * SIZE; ) {
      before = line.bytes.up
      await sleep(500)
    }
    const from = (guest: Guest) =>
      far.received.filter((f) => f.subarray(14 + 8, 14 + 24).equals(guest.identity.address))
    const isEcho = (frame: Buffer) => frame[14 + 6] === ICMPV6
    const arrived = from(quiet)
    const got = {
      loud: from(loud).length,
      quiet: arrived.filter((f) => !isEcho(f)).length,
      echoes: arrived.filter(isEcho).length,
    }
    t.diagnostic(`sent ${JSON.stringify(sent)}, arrived ${JSON.stringify(got)}`)
    assert.ok(got.loud < sent.loud * 0.7, 'the line was never full')
    // a third without shares of the queue
    assert.ok(sent.quiet > 100 && got.quiet >= sent.quiet * 0.85, `${got.quiet} of ${sent.quiet} packets`)
    assert.ok(got.echoes >= sent.echoes * 0.97, `${got.echoes} of ${sent.echoes} echoes`)
  },
)
