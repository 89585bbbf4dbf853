// A child that writes to a chain until it is killed: prints each transaction's hash once it was answered. With a BOUNDARY it
// kills itself the NTH time it comes there: what kill -9 or a power cut would do just then.
// usage: tools/node.sh src/contract/testing/writer.ts DIR [BOUNDARY NTH]
import { open } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'
import { createFeeMarket1559Tx } from '@ethereumjs/tx'
import { createAddressFromPrivateKey } from '@ethereumjs/util'
import { openEmbeddedChain } from '../engine/embedded.ts'
import { commonOf } from '../engine/trie.ts'
import { BOUNDARIES } from './boundaries.ts'

const [, , dir, boundary, nth] = process.argv

/** Between the engine and what it writes with: the journal's file and the database. */
async function dieAt(boundary: string, nth: number): Promise<void> {
  let left = nth
  const due = (name: string) => name === boundary && --left === 0
  const here = (name: string) => {
    if (due(name)) process.kill(process.pid, 'SIGKILL')
  }
  const handle = await open('/dev/null')
  const file = Object.getPrototypeOf(handle) as typeof handle
  await handle.close()
  const { write, datasync } = file as unknown as {
    write: (b: Buffer, from: number, length: number, at: number) => Promise<{ bytesWritten: number }>
    datasync: () => Promise<void>
  }
  Object.assign(file, {
    async write(this: object, b: Buffer, from: number, length: number, at: number) {
      here('before-write')
      if (due('half-written')) {
        await write.call(this, b, from, length >> 1, at)
        process.kill(process.pid, 'SIGKILL')
      }
      return write.call(this, b, from, length, at)
    },
    async datasync(this: object) {
      here('before-sync')
      await datasync.call(this)
      here('after-sync')
    },
  })
  const { exec } = DatabaseSync.prototype
  DatabaseSync.prototype.exec = function (this: DatabaseSync, sql: string) {
    if (sql.startsWith('BEGIN')) here('before-state')
    if (sql === 'COMMIT') here('before-commit')
    exec.call(this, sql)
    if (sql === 'COMMIT') here('after-commit')
  }
}

if (boundary !== undefined) {
  if (!BOUNDARIES.includes(boundary)) throw new Error(`no boundary "${boundary}"`)
  await dieAt(boundary, Number(nth))
}
const engine = await openEmbeddedChain({ dir: dir! })
const common = commonOf(engine.chainId)
const secret = new Uint8Array(32).fill(0x42)
const address = createAddressFromPrivateKey(secret).toString()
let nonce = Number(await engine.request({ method: 'eth_getTransactionCount', params: [address] }))
for (;;) {
  const batch = Array.from({ length: 3 }, async () => {
    // init code that stores 1 at its nonce's slot: state grows with each
    const data = `0x600161${nonce.toString(16).padStart(4, '0')}5500` as const
    const tx = createFeeMarket1559Tx({ nonce: nonce++, gasLimit: 200_000n, data }, { common }).sign(secret)
    const raw = `0x${Buffer.from(tx.serialize()).toString('hex')}`
    const hash = await engine.request({ method: 'eth_sendRawTransaction', params: [raw] })
    process.stdout.write(`${hash}\n`)
  })
  await Promise.all(batch)
}
