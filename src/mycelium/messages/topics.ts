import { readFile } from 'node:fs/promises'
import { codeOf, reasonOf, ZosError } from '#codec'
import { ipv6Bytes, writeAtomic } from '#sys'
import { formatAddress } from '../address.ts'
import { MAX_TOPIC } from './wire.ts'

const MAX_TOPICS = 256
const MAX_SOURCES = 256

/** By topic in hex: who may send to it; where it is forwarded to. */
type Rules = { default: boolean; topics: Record<string, string[]>; sockets: Record<string, string> }

const failure = (message: string, code: string) => new ZosError(message, { code })

/** "5ab::/64" or an address of the overlay; as it is written everywhere. */
function parseSource(text: string): { bytes: Buffer; bits: number } {
  const [address, length = '128', ...more] = text.split('/')
  const bytes = ipv6Bytes(address!)
  const bits = Number(length)
  if (!bytes || more.length > 0 || !/^\d{1,3}$/.test(length) || bits > 128)
    throw failure(`Read source "${text}": it looks like "5ab:1:2:3::/64"`, 'bad-source')
  return { bytes, bits }
}

function contains({ bytes, bits }: { bytes: Buffer; bits: number }, address: Buffer): boolean {
  for (let bit = 0; bit < bits; bit += 8) {
    const mask = bits - bit >= 8 ? 0xff : (0xff << (8 - (bits - bit))) & 0xff
    if ((bytes[bit >> 3]! & mask) !== (address[bit >> 3]! & mask)) return false
  }
  return true
}

export type Topics = Awaited<ReturnType<typeof openTopics>>

function checkSocket(path: unknown): asserts path is string {
  // sun_path holds 107 bytes and a zero
  if (typeof path !== 'string' || !path.startsWith('/') || Buffer.byteLength(path) > 107)
    throw failure(
      `Forward a topic to "${path}": it takes the absolute path of a unix socket, 107 bytes at most`,
      'bad-socket',
    )
}

/** Who may send to which topic, kept in FILE. A topic that is not listed follows the default, at first: anybody. */
export async function openTopics(file: string) {
  const rules: Rules = { default: true, topics: {}, sockets: {} }
  try {
    Object.assign(rules, JSON.parse(await readFile(file, 'utf8')))
    for (const sources of Object.values(rules.topics)) sources.map(parseSource)
    for (const path of Object.values(rules.sockets)) checkSocket(path)
  } catch (cause) {
    if (codeOf(cause) !== 'ENOENT')
      throw new ZosError(`Read who may send to which topic from "${file}": ${reasonOf(cause)}; mend or remove it`, {
        code: 'bad-topics',
        cause,
      })
  }
  const save = () => writeAtomic(file, `${JSON.stringify(rules)}\n`, { mode: 0o600 })

  function sourcesOf(topic: Buffer): string[] {
    const found = rules.topics[topic.toString('hex')]
    if (!found) throw failure(`Find topic "${topic}": it is not listed; add it first`, 'not-found')
    return found
  }

  async function add(topic: Buffer): Promise<void> {
    if (topic.length > MAX_TOPIC || Object.keys(rules.topics).length >= MAX_TOPICS)
      throw failure(`Add topic: at most ${MAX_TOPICS} of ${MAX_TOPIC} bytes each are kept`, 'too-many-topics')
    rules.topics[topic.toString('hex')] ??= []
    await save()
  }

  return {
    allows(topic: Buffer, address: Buffer): boolean {
      const sources = rules.topics[topic.toString('hex')]
      return sources ? sources.some((source) => contains(parseSource(source), address)) : rules.default
    },
    get accept(): boolean {
      return rules.default
    },
    async setDefault(accept: boolean): Promise<void> {
      rules.default = accept
      await save()
    },
    list: (): Buffer[] => Object.keys(rules.topics).map((hex) => Buffer.from(hex, 'hex')),
    add,
    async remove(topic: Buffer): Promise<void> {
      delete rules.topics[topic.toString('hex')]
      await save()
    },
    sources: (topic: Buffer): readonly string[] => sourcesOf(topic),
    /** The unix socket whose program gets the messages of a topic; undefined: they wait until somebody fetches them. */
    socket: (topic: Buffer): string | undefined => rules.sockets[topic.toString('hex')],
    async forwardTo(topic: Buffer, path: unknown): Promise<void> {
      checkSocket(path)
      if (topic.length > MAX_TOPIC || Object.keys(rules.sockets).length >= MAX_TOPICS)
        throw failure(`Forward a topic: at most ${MAX_TOPICS} of ${MAX_TOPIC} bytes each are`, 'too-many-topics')
      rules.sockets[topic.toString('hex')] = path
      await save()
    },
    async forwardNoMore(topic: Buffer): Promise<void> {
      delete rules.sockets[topic.toString('hex')]
      await save()
    },
    /** Lists the topic, too, when it was not. */
    async addSource(topic: Buffer, source: string): Promise<void> {
      const { bytes, bits } = parseSource(source)
      await add(topic)
      const sources = sourcesOf(topic)
      if (sources.length >= MAX_SOURCES)
        throw failure(`Add source: a topic has at most ${MAX_SOURCES}`, 'too-many-sources')
      const text = `${formatAddress(bytes)}/${bits}`
      if (!sources.includes(text)) sources.push(text)
      await save()
    },
    async removeSource(topic: Buffer, source: string): Promise<void> {
      const { bytes, bits } = parseSource(source)
      const text = `${formatAddress(bytes)}/${bits}`
      rules.topics[topic.toString('hex')] = sourcesOf(topic).filter((one) => one !== text)
      await save()
    },
  }
}
