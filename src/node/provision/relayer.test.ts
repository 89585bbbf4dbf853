import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Answer, formatAnswer, formatWord, WORDS_TOPIC } from '#contract'
import { Daemon, formatAddress, identityOf, parseEndpoint, serveApi } from '#mycelium'
import { freePort, until } from '#sys'
import { carryBy } from './relayer.ts'

const word = { beat: { node: 1, time: 5 }, signature: `0x${'ab'.repeat(65)}` as const }
const posted: Answer = { state: 'posted', tx: `0x${'11'.repeat(32)}`, block: 7 }

const messagesIn = async (dir: string) => (await readdir(dir)).filter((name) => name.endsWith('.message'))

test('a word goes to the relayer as a message and its answer comes back; a late answer does not stay here', {
  timeout: 180_000,
}, async () => {
  await using stack = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'zos-carry-'))
  stack.defer(() => rm(dir, { recursive: true, force: true }))
  const endpoint = parseEndpoint(`tcp://127.0.0.1:${await freePort()}`)
  const [secret, mine] = [randomBytes(32), randomBytes(32)]
  const own = join(dir, 'own')
  const relay = stack.use(await Daemon.start({ secret, listen: [endpoint], peers: [], messages: join(dir, 'relay') }))
  const far = stack.use(await Daemon.start({ secret: mine, listen: [], peers: [endpoint], messages: own }))
  const socket = join(dir, 'api.sock')
  const server = await serveApi(far, socket)
  stack.defer(() => {
    server.close()
    server.closeAllConnections()
  })
  await until('the two to be connected', 20_000, async () => (await far.peers()).some(({ state }) => state === 'up'))
  const address = formatAddress(identityOf(secret).address)
  const heard = async () =>
    (await relay.messages!.take({ topic: Buffer.from(WORDS_TOPIC) }, { peek: false, timeout: 20_000 }))!
  const say = (id: string, data: Buffer) =>
    relay.messages!.push({ to: identityOf(mine).address, topic: Buffer.alloc(0), data, replyTo: id })

  const told = carryBy(socket, address, 20_000)(word)
  const { id, payload } = await heard()
  assert.deepEqual(payload, formatWord(word))
  say(id, formatAnswer(posted))
  assert.deepEqual(await told, posted)

  const impatient = carryBy(socket, address, 700)
  await assert.rejects(impatient(word), { code: 'relayer-silent' })
  const late = await heard()
  say(late.id, formatAnswer(posted))
  await until('the late answer to come', 20_000, async () => (await messagesIn(own)).length === 1)
  const answered = async (data: Buffer) => {
    const asked = carryBy(socket, address, 20_000)(word)
    say((await heard()).id, data)
    return asked
  }
  await assert.rejects(answered(randomBytes(40)), { code: 'bad-word' })
  assert.equal((await messagesIn(own)).length, 1)
  // what an impatient one was told too late goes with its next word
  await until('the late answer to be forgotten', 20_000, async () => {
    const next = impatient(word).catch(() => {})
    say((await heard()).id, formatAnswer(posted))
    await next
    return (await messagesIn(own)).length === 0
  })
})
