// The contract's suites run on whatever chain ZOS_TEST_RPC names: here on one in another process' hands.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { promisify } from 'node:util'
import { openEmbeddedChain } from './engine/embedded.ts'

test('with ZOS_TEST_RPC a suite makes its contract, its nodes and its groups there', { timeout: 180_000 }, async () => {
  const dir = await mkdtemp(join(tmpdir(), 'zos-rpc-'))
  try {
    await using engine = await openEmbeddedChain({ dir })
    const { port } = (await engine.serve({ port: 0 })).address() as AddressInfo
    const { NODE_TEST_CONTEXT: _, ...env } = process.env
    const args = ['--disable-warning=ExperimentalWarning', '--test', join(import.meta.dirname, 'contract.test.ts')]
    const rpc = `http://127.0.0.1:${port}`
    const run = (more: object) => promisify(execFile)(process.execPath, args, { env: { ...env, ...more } })
    const { stdout } = await run({ ZOS_TEST_RPC: rpc, ZOS_TEST_KEY: `0x${'42'.repeat(32)}` })
    assert.match(stdout, /pass 1\n/)
    assert.ok((await engine.finalized()).number > 5, 'it was done on this chain')
  } finally {
    await rm(dir, { recursive: true })
  }
})
