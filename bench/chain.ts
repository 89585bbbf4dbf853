import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts'
import { connectRpc, type Engine } from '#contract'
import { cpuSecondsOf } from './peer.ts'
import type { Benchmark } from './row.ts'

/** 100,000 by night; ZOS_CHAIN_TXS for another number. */
const COUNT = Number(process.env.ZOS_CHAIN_TXS ?? (process.env.ZOS_NIGHTLY ? 100_000 : 3000))
const SENDERS = 10
/** The bar of the design. */
const LIMIT_MB = 300

const DAEMON = resolve(import.meta.dirname, '../src/contract/engine/daemon.ts')
/** Init code of a contract that stores calldata[1..33] at calldata[0]: each call writes state. */
const INIT = '0x666001356000355560005260076019f3'

type Running = { child: ChildProcess; engine: Engine; ready: number }

async function start(dir: string): Promise<Running> {
  const begun = performance.now()
  const args = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=4', DAEMON, '--dir', dir]
  const child = spawn(process.execPath, [...args, '--socket', join(dir, 'rpc')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await new Promise<void>((done, fail) => {
    child.stdout!.once('data', () => done())
    child.once('exit', (code) => fail(new Error(`the chain ended: ${code}`)))
  })
  const ready = performance.now() - begun
  return { child, engine: await connectRpc([`unix://${join(dir, 'rpc')}`], { timeout: 120_000 }), ready }
}

const killed = (child: ChildProcess) =>
  new Promise<void>((done) => {
    child.removeAllListeners('exit')
    child.once('exit', () => done())
    child.kill('SIGKILL')
  })

const rss = (pid: number): number => {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmHWM:\s+(\d+)/m.exec(text)?.[1] ?? 0) / 1024
}

/** SENDERS at once, each one transaction after the other, as relayers do. */
async function load({ engine }: Running): Promise<void> {
  const deployer = privateKeyToAccount(generatePrivateKey())
  const common = { type: 'eip1559', chainId: engine.chainId, maxFeePerGas: 0n, maxPriorityFeePerGas: 0n } as const
  const send = async (account: typeof deployer, nonce: number, tx: { to?: `0x${string}`; data: `0x${string}` }) => {
    const raw = await account.signTransaction({ ...common, nonce, gas: 200_000n, ...tx })
    return engine.request({ method: 'eth_sendRawTransaction', params: [raw] })
  }
  const hash = await send(deployer, 0, { data: INIT })
  const receipt = await engine.request({ method: 'eth_getTransactionReceipt', params: [hash] })
  const to = (receipt as { contractAddress: `0x${string}` }).contractAddress
  let left = COUNT
  const sender = async (s: number) => {
    const account = privateKeyToAccount(generatePrivateKey())
    for (let nonce = 0; left > 0; nonce++) {
      const n = left--
      // a fifth writes new words, the rest writes over: as a ledger does
      const key = (n % 5 === 0 ? n : n % 997) + s * 1_000_000
      const word = (x: number) => x.toString(16).padStart(64, '0')
      await send(account, nonce, { to, data: `0x${word(key)}${word(n)}` })
    }
  }
  await Promise.all(Array.from({ length: SENDERS }, (_, s) => sender(s)))
}

export default {
  name: 'chain',
  claim: `peak memory of the embedded chain over ${COUNT} transactions of ${SENDERS} senders`,
  async run() {
    const dir = mkdtempSync(join(tmpdir(), 'zos-chain-bench-'))
    let running = await start(dir)
    try {
      const begun = performance.now()
      await load(running)
      const seconds = (performance.now() - begun) / 1000
      const cpu = cpuSecondsOf([running.child.pid!])
      const peak = rss(running.child.pid!)
      const head = (await running.engine.finalized()).hash
      await killed(running.child)
      running = await start(dir)
      const same = (await running.engine.finalized()).hash === head
      if (!same) throw new Error('another head after kill -9')
      const size = (name: string) => `${(statSync(join(dir, name)).size / 2 ** 20).toFixed(0)} MiB`
      return {
        ours: peak,
        peer: LIMIT_MB,
        peerName: 'the bar',
        unit: 'MiB',
        better: 'lower',
        must: 1,
        notes: {
          'transactions a second': (COUNT / seconds).toFixed(0),
          'CPU ms a transaction': ((cpu * 1000) / COUNT).toFixed(1),
          'ms from start to ready, after kill -9': running.ready.toFixed(0),
          'memory after that start, MiB': rss(running.child.pid!).toFixed(0),
          'journal, state': `${size('journal.log')}, ${size('state.db')}`,
        },
      }
    } finally {
      await killed(running.child)
      rmSync(dir, { recursive: true, force: true })
    }
  },
} satisfies Benchmark
