// A publish that is killed at any moment: nothing is named that is not whole, and the next attempt goes on where it was.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import test from 'node:test'
import { collect, homeOf, usage } from '#cas'
import { openLibrary, publish, reachable, resolveTag, verify } from '#zosfs'
import { library, root } from './publish.fixture.ts'

const ROUNDS = process.env.ZOS_NIGHTLY === '1' ? 40 : 2
const REPOSITORY = resolve(import.meta.dirname, '../../..')

/** A process that publishes SOURCE as "it" in HOME, killed after so many MS of storing, or at its end; whether it came there. */
async function killed(home: string, source: string, ms: number): Promise<boolean> {
  const program = `
    import { openLibrary, publish } from '#zosfs'
    const library = openLibrary({ home: ${JSON.stringify(home)} })
    await publish(library, ${JSON.stringify(source)}, 'it', { onProgress: ({ newBytes }) => newBytes > 0 && console.log('storing') })
    console.log('published')
    process.exit(0)`
  const args = ['--disable-warning=ExperimentalWarning', '-e', program]
  const child = spawn(process.execPath, args, { cwd: REPOSITORY, stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'close')
  let said = ''
  child.stdout.on('data', (text: Buffer) => {
    if (said === '') setTimeout(() => child.kill('SIGKILL'), ms)
    said += text
  })
  await ended
  return said.includes('published')
}

test('a publish killed at any moment leaves nothing half-done under its name, and goes on the next time', async () => {
  const source = join(root, 'killed')
  mkdirSync(source)
  for (let n = 0; n < 24; n++) writeFileSync(join(source, `f${n}`), randomBytes(300_000 + n))
  const { digest, chunks } = await publish(library(), `dir:${source}`, 'it')
  let resumed = 0
  for (let round = 0; round < ROUNDS; round++) {
    const home = join(root, `killed-${round}`)
    const whole = await killed(home, `dir:${source}`, randomInt(150))
    await using library = openLibrary({ home })
    const tag = await resolveTag(library, 'it')
    assert.ok(tag?.digest === digest || (tag === undefined && !whole), `round ${round}: ${tag?.digest}`)
    const again = await publish(library, `dir:${source}`, 'it')
    assert.equal(again.digest, digest)
    if (again.newChunks < chunks) resumed++
    assert.deepEqual((await verify(library.store, digest)).faults, [])
    // what the killed one said of itself keeps no collection from anything
    const stray = await library.store.put(randomBytes(5000))
    await new Promise((r) => setTimeout(r, 20))
    const { removed } = await collect(library.store, reachable(library.store, digest), { grace: 0 })
    assert.deepEqual([removed, await library.store.hasLocal(stray.id)], [1, false])
    assert.ok((await usage(homeOf(library.store))).objects >= chunks)
  }
  assert.equal(resumed, ROUNDS, 'what was stored before is found again each time')
})
