import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { programFlags } from '#sys'
import { BOUNDARIES } from '../testing/boundaries.ts'
import { openEmbeddedChain } from './embedded.ts'
import type { Head } from './types.ts'

const ROUNDS = process.env.ZOS_NIGHTLY ? 200 : 20

/** Runs the writer until it dies; the hashes it was answered. BOUNDARY: where it kills itself, the NTH time. */
function writeUntilDeath(dir: string, boundary: string, nth: number): Promise<string[]> {
  const program = join(import.meta.dirname, '../testing/writer.ts')
  const env = { ...process.env, NODE_COMPILE_CACHE: join(dir, '../code') }
  const child = spawn(process.execPath, [...programFlags(), program, dir, boundary, String(nth)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env,
  })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (d: string) => {
    text += d
  })
  return new Promise((resolve, reject) => {
    child.on('close', (_, signal) => {
      if (signal !== 'SIGKILL') reject(new Error(`the writer ended by itself: ${signal}`))
      // the last line may be cut: it was not answered as far as anyone knows
      resolve(text.split('\n').slice(0, -1))
    })
  })
}

/** The head, and how many of HASHES have a receipt that says 1. */
async function look(dir: string, hashes: string[]): Promise<{ head: Head; found: number }> {
  await using engine = await openEmbeddedChain({ dir })
  let found = 0
  for (const hash of hashes) {
    const receipt = await engine.request({ method: 'eth_getTransactionReceipt', params: [hash] })
    if ((receipt as { status: string } | null)?.status === '0x1') found++
  }
  return { head: await engine.finalized(), found }
}

test(`kill -9 at each log boundary, ${ROUNDS} times: the same head, no answered transaction lost`, {
  timeout: 3_600_000,
}, async () => {
  const base = await mkdtemp(join(tmpdir(), 'zos-killed-'))
  const dir = join(base, 'chain')
  const answered: string[] = []
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const boundary = BOUNDARIES[round % BOUNDARIES.length]!
      // the first rounds die at the genesis record and the first block, later ones some blocks on
      answered.push(...(await writeUntilDeath(dir, boundary, 1 + (Math.floor(round / BOUNDARIES.length) % 5))))
      // every third time the power fails too: what the database had not yet on the disk is gone
      if (round % 3 === 2) await rm(join(dir, 'state.db-wal'), { force: true })
      // the journal alone gives the head that the state has
      if (round % 5 !== 4) continue
      const { head, found } = await look(dir, answered)
      assert.equal(found, answered.length, `after ${boundary}`)
      const copy = join(base, `copy-${round}`)
      await mkdir(copy)
      await copyFile(join(dir, 'journal.log'), join(copy, 'journal.log'))
      assert.deepEqual((await look(copy, [])).head, head, `replayed after ${boundary}`)
      await rm(copy, { recursive: true })
    }
    assert.ok(answered.length > ROUNDS, 'the writer was answered')
    const { head } = await look(dir, answered)
    await writeFile(join(dir, 'state.db'), 'not a database, but long enough to look like one'.repeat(100))
    const again = await look(dir, answered)
    assert.deepEqual([again.head, again.found], [head, answered.length], 'a state that is damaged is made anew')
  } finally {
    await rm(base, { recursive: true })
  }
})
