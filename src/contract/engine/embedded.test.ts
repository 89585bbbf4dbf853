import assert from 'node:assert/strict'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { verifyMerkleProof } from '@ethereumjs/mpt'
import { keccak256 } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { sleep } from '#sys'
import { openEmbeddedChain } from './embedded.ts'
import { callRpc } from './http.ts'
import { pruner } from './prune.ts'
import { Store } from './store.ts'
import type { Engine, Hex } from './types.ts'

const account = privateKeyToAccount(`0x${'42'.repeat(32)}`)
const STORE = '0x60013560003555' // runtime: sstore(calldata[0], calldata[1..33]); cheap state to write
const INIT = `0x66${STORE.slice(2)}60005260076019f3` as Hex

async function temporary(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'zos-chain-'))
}

function transact(
  engine: Engine,
  nonce: number,
  tx: { to?: Hex; data: Hex; gas?: bigint; chainId?: number },
): Promise<unknown> {
  const { chainId = engine.chainId, gas = 200_000n, ...rest } = tx
  const fees = { maxFeePerGas: 0n, maxPriorityFeePerGas: 0n }
  return account
    .signTransaction({ type: 'eip1559', chainId, nonce, gas, ...fees, ...rest })
    .then((raw) => engine.request({ method: 'eth_sendRawTransaction', params: [raw] }))
}

const word = (n: number) => n.toString(16).padStart(64, '0')
// biome-ignore lint/suspicious/noExplicitAny: JSON of many shapes, asserted on field by field
const get = (engine: Engine, method: string, ...params: unknown[]) => engine.request({ method, params }) as Promise<any>

test('the JSON-RPC that viem needs: blocks, receipts, calls, logs, proofs against the header', async () => {
  const dir = await temporary()
  try {
    await using engine = await openEmbeddedChain({ dir, chainId: 4242 })
    assert.equal(await get(engine, 'eth_chainId'), '0x1092')
    await transact(engine, 0, { data: INIT })
    const [first] = (await get(engine, 'eth_getBlockByNumber', 'latest', true)).transactions
    const { contractAddress: to, gasUsed } = await get(engine, 'eth_getTransactionReceipt', first.hash)
    assert.ok(BigInt(gasUsed) > 53000n)
    assert.equal(await get(engine, 'eth_getCode', to, 'latest'), STORE)
    for (let n = 1; n <= 70; n++) await transact(engine, n, { to, data: `0x${word(n)}${word(n)}` as Hex })
    assert.equal(await get(engine, 'eth_blockNumber'), '0x47')
    // all of the last 64 states are provable
    for (const n of [71, 40, 8]) {
      const block = await get(engine, 'eth_getBlockByNumber', `0x${n.toString(16)}`, false)
      const proof = await get(engine, 'eth_getProof', to, [`0x${word(5)}`], `0x${n.toString(16)}`)
      const at = Buffer.from(keccak256(to).slice(2), 'hex')
      const nodes = proof.accountProof.map((p: string) => Buffer.from(p.slice(2), 'hex'))
      const options = { root: Buffer.from(block.stateRoot.slice(2), 'hex') }
      assert.ok(await verifyMerkleProof(at, nodes, options), 'the account is under the state root')
      assert.ok(BigInt(proof.storageProof[0].value) > 0n)
      nodes[0]![20] ^= 1
      await assert.rejects(verifyMerkleProof(at, nodes, options))
    }
    assert.equal(await get(engine, 'eth_getTransactionCount', account.address, 'latest'), '0x47')
    assert.deepEqual(await get(engine, 'eth_getLogs', { fromBlock: '0x0', toBlock: 'latest' }), [])
    const full = await get(engine, 'eth_getBlockByNumber', '0x2', true)
    assert.equal(full.transactions[0].from, account.address.toLowerCase())
    assert.equal(await get(engine, 'eth_getBlockByNumber', '0xffffff', false), null)
    for (const method of [
      'anvil_setBalance',
      'evm_mine',
      'hardhat_impersonateAccount',
      'debug_traceTransaction',
      'personal_sign',
      'eth_sendTransaction',
      'eth_accounts',
      'constructor',
      '__proto__',
    ])
      await assert.rejects(get(engine, method), /not served/)
  } finally {
    await rm(dir, { recursive: true })
  }
})

test('transactions that must not count are refused with one line; out of order ones wait', async (t) => {
  const dir = await temporary()
  try {
    await using engine = await openEmbeddedChain({ dir })
    await assert.rejects(transact(engine, 0, { data: INIT, chainId: 1 }), /Take transaction: /)
    await assert.rejects(transact(engine, 0, { data: INIT, gas: 20_000_000n }), /above the limit/)
    await assert.rejects(transact(engine, 0, { data: INIT, gas: 21_000n }), /Take transaction: /)
    await assert.rejects(get(engine, 'eth_sendRawTransaction', '0x02c0'), /Take transaction: /)
    await assert.rejects(get(engine, 'eth_sendRawTransaction', `0x${'00'.repeat(200_000)}`), /limit/)
    // EIP-155: a signature without a chain id would count on every chain
    const legacy = await account.signTransaction({ type: 'legacy', nonce: 0, gas: 200_000n, gasPrice: 0n, data: INIT })
    await assert.rejects(get(engine, 'eth_sendRawTransaction', legacy), /Take transaction: /)
    const order = [2, 1, 0].map((n) => transact(engine, n, { data: INIT }))
    await Promise.all(order)
    await assert.rejects(transact(engine, 1, { data: '0x00' }), /too low/)
    const raw = await account.signTransaction({
      type: 'eip1559',
      chainId: engine.chainId,
      nonce: 3,
      gas: 100_000n,
      maxFeePerGas: 0n,
      maxPriorityFeePerGas: 0n,
      data: INIT,
    })
    // known: the same answer, also while its block is being written and executed
    const again: Promise<Hex>[] = []
    await using probe = await open(join(dir, 'probe'), 'w')
    t.mock.method(Object.getPrototypeOf(probe), 'datasync').mock.mockImplementationOnce(async () => {
      while (again.length < 3) await sleep(1)
    })
    const first = get(engine, 'eth_sendRawTransaction', raw)
    let isIn = false
    void first.then(() => {
      isIn = true
    })
    while (!isIn) {
      again.push(get(engine, 'eth_sendRawTransaction', raw))
      await sleep(0)
    }
    assert.ok(again.length > 2, `${again.length}`)
    assert.deepEqual(
      new Set(await Promise.all([...again, get(engine, 'eth_sendRawTransaction', raw)])),
      new Set([await first]),
    )
    await assert.rejects(openEmbeddedChain({ dir }), { code: 'chain-in-use' })
  } finally {
    await rm(dir, { recursive: true })
  }
})

test('over HTTP: bounded, local, and closed to web pages', async () => {
  const dir = await temporary()
  try {
    await using engine = await openEmbeddedChain({ dir })
    const socket = join(dir, 'rpc.sock')
    await engine.serve({ socket })
    const post = (body: string | Buffer, headers: Record<string, string> = {}, method = 'POST') =>
      new Promise<{ status: number; body: string }>((resolve, reject) => {
        const req = request({ socketPath: socket, method, path: '/', headers }, (res) => {
          let text = ''
          res.on('data', (d) => (text += d)).on('end', () => resolve({ status: res.statusCode!, body: text }))
        })
        req.on('error', reject).end(body)
      })
    const call = (method: string, params: unknown[] = []) => JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
    assert.deepEqual(JSON.parse((await post(call('eth_chainId'))).body), { jsonrpc: '2.0', id: 1, result: '0x673a' })
    assert.equal(JSON.parse((await post(call('anvil_setBalance'))).body).error.code, -32601)
    assert.equal((await post(call('eth_chainId'), { origin: 'https://evil.example' })).status, 403)
    assert.equal((await post(call('eth_chainId'), { host: 'evil.example' })).status, 403)
    assert.equal((await post('', {}, 'GET')).status, 403)
    assert.equal((await post('{"jsonrpc":')).status, 400)
    assert.equal((await post(`[${Array(51).fill(call('eth_chainId'))}]`)).status, 400)
    assert.equal(JSON.parse((await post(`[${Array(50).fill(call('eth_chainId'))}]`)).body).length, 50)
    const cut = await post(Buffer.alloc(3 << 20, 32)).catch(() => ({ status: 413 }))
    assert.equal(cut.status, 413, 'a body above the limit is cut off')
    for (const params of [
      ['x'],
      [{ to: 5 }],
      [null, null],
      [{ to: `0x${'00'.repeat(20)}` }, '0xzz'],
      [{ data: '0x1' }],
    ])
      assert.equal(JSON.parse((await post(call('eth_call', params))).body).error.code, -32602)
    for (const odd of [
      'null',
      '5',
      '"x"',
      '{}',
      '[]',
      '[1,null]',
      '{"method":5}',
      '{"method":"eth_call","params":{}}',
    ]) {
      const { status, body } = await post(odd)
      assert.ok(status === 200 && JSON.parse(body), odd)
    }
    // code that never ends is ended by gas, and the chain goes on
    await transact(engine, 0, { data: '0x635b6000566000526004601cf3' })
    const [loop] = (await get(engine, 'eth_getBlockByNumber', 'latest', true)).transactions
    const { contractAddress } = await get(engine, 'eth_getTransactionReceipt', loop.hash)
    const spun = JSON.parse((await post(call('eth_call', [{ to: contractAddress, gas: '0x2dc6c0' }]))).body)
    assert.match(spun.error.message, /out of gas/)
    assert.equal(JSON.parse((await post(call('eth_blockNumber'))).body).result, '0x1')
  } finally {
    await rm(dir, { recursive: true })
  }
})

test('hostile clients: half requests, drips and a crowd are ended, and others are served meanwhile', {
  timeout: 180_000,
}, async () => {
  const dir = await temporary()
  const sockets: Socket[] = []
  try {
    await using engine = await openEmbeddedChain({ dir })
    const path = join(dir, 'rpc.sock')
    await engine.serve({ socket: path })
    const ended = (begin: string) =>
      new Promise<number>((resolve) => {
        const begun = performance.now()
        const socket = connect({ path }, () => begin && socket.write(begin))
        sockets.push(socket)
        socket.on('error', () => {}).on('data', () => {})
        socket.on('close', () => resolve(performance.now() - begun))
      })
    const call = () => callRpc(`unix://${path}`, 'eth_blockNumber', [], 20_000)
    const half = Array.from({ length: 40 }, () => ended('POST / HTTP/1.1\r\nHost: x\r\n'))
    const mute = Array.from({ length: 40 }, () => ended(''))
    const noise = ended(`${'\0'.repeat(9000)}\r\n\r\n`)
    const headers = ended(`POST / HTTP/1.1\r\n${'X-A: b\r\n'.repeat(5000)}\r\n`)
    assert.equal(await call(), '0x0', 'served among eighty who do not finish')
    await Promise.all([noise, headers])
    // more than the server takes: the rest is turned away at once, and the slow ones are ended in time for others
    const crowd = Array.from({ length: 300 }, () => ended('POST / HTTP/1.1\r\n'))
    await Promise.race(crowd)
    for (const ms of await Promise.all([...half, ...mute, ...crowd])) assert.ok(ms < 30_000)
    assert.equal(await call(), '0x0')
    const deep = `${'['.repeat(50_000)}${']'.repeat(50_000)}`
    const answers = await Promise.all(
      [deep, '{"a":', '\uffff', `"${'x'.repeat(500_000)}"`].map((body) =>
        fetchUnix(path, body).then((status) => [200, 400].includes(status)),
      ),
    )
    assert.deepEqual(answers, [true, true, true, true])
    assert.equal(await call(), '0x0')
  } finally {
    for (const s of sockets) s.destroy()
    await rm(dir, { recursive: true })
  }
})

const fetchUnix = (socketPath: string, body: string) =>
  new Promise<number>((resolve, reject) => {
    const req = request({ socketPath, method: 'POST', path: '/' }, (res) => {
      res.resume().on('end', () => resolve(res.statusCode!))
    })
    req.on('error', reject).end(body)
  })

test('pruning frees old states and leaves the kept ones whole', async () => {
  const dir = await temporary()
  try {
    let slot: Hex
    let to: Hex
    {
      await using engine = await openEmbeddedChain({ dir })
      await transact(engine, 0, { data: INIT })
      const [first] = (await get(engine, 'eth_getBlockByNumber', 'latest', true)).transactions
      to = (await get(engine, 'eth_getTransactionReceipt', first.hash)).contractAddress
      // one slot over and over, so that most of what is written becomes garbage
      for (let n = 1; n <= 200; n++) await transact(engine, n, { to, data: `0x${word(n % 3)}${word(n)}` as Hex })
      slot = `0x${word(200 % 3)}`
    }
    const store = new Store(join(dir, 'state.db'))
    const size = () => Number(store.db.prepare('SELECT count(*) AS n FROM nodes').get()!.n)
    const before = size()
    const head = store.meta('head')!
    const prune = pruner(store, 1)
    for (let i = 0; i < 60; i++) prune(head, 1000)
    assert.ok(size() < before, `${size()} of ${before} nodes are left`)
    store[Symbol.dispose]()
    await using engine = await openEmbeddedChain({ dir })
    for (let n = head; n > head - 64; n--) {
      const proof = await get(engine, 'eth_getProof', to, [slot], `0x${n.toString(16)}`)
      assert.ok(proof.storageProof[0].proof.length > 0)
    }
    await assert.rejects(get(engine, 'eth_getProof', to, [slot], '0x2'), /only the last/)
    await transact(engine, 201, { to, data: `0x${word(1)}${word(9)}` as Hex })
  } finally {
    await rm(dir, { recursive: true })
  }
})
