// A child that writes to a chain until it is killed: prints each transaction's hash once it was answered.
// usage: tools/node.sh src/contract/testing/writer.ts DIR
import { createFeeMarket1559Tx } from '@ethereumjs/tx'
import { createAddressFromPrivateKey } from '@ethereumjs/util'
import { openEmbeddedChain } from '../engine/embedded.ts'
import { commonOf } from '../engine/trie.ts'

const engine = await openEmbeddedChain({ dir: process.argv[2]! })
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
