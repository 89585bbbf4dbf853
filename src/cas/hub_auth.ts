import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import { sha256Hex, ZosError } from '#codec'

// docs/formats/hub.md. Keys are Ed25519, named by the 64 hex digits of the public key.

/** How far a request's time may be from the hub's own. Seconds. */
const DRIFT = 300

const DER = Buffer.from('302a300506032b6570032100', 'hex')
const publicOf = (name: string): KeyObject =>
  createPublicKey({ key: Buffer.concat([DER, Buffer.from(name, 'hex')]), format: 'der', type: 'spki' })

/** The name of a key, private or public. */
export const keyName = (key: KeyObject): string =>
  Buffer.from(createPublicKey(key).export({ format: 'der', type: 'spki' }))
    .subarray(-32)
    .toString('hex')

type Request = { method: string; path: string; body: Uint8Array }

const said = ({ method, path, body }: Request, time: number) =>
  Buffer.from(`zos hub request 1\n${method}\n${path}\n${time}\n${sha256Hex(body)}`)

/** The `authorization` header of a request signed by KEY. */
export function signRequest(key: KeyObject, request: Request, time = Math.floor(Date.now() / 1000)): string {
  return `ZOS1 ${keyName(key)} ${time} ${sign(null, said(request, time), key).toString('hex')}`
}

const refuse = (reason: string) => new ZosError(`Check signature: ${reason}`, { code: 'not-authorized' })

/** Who signed a request; undefined when nobody claims to have. A claim that does not hold is refused. */
export function signerOfRequest(
  header: string | undefined,
  request: Request,
  now = Date.now() / 1000,
): string | undefined {
  if (header === undefined) return undefined
  const [, name, at, signature] = /^ZOS1 ([0-9a-f]{64}) (\d{1,12}) ([0-9a-f]{128})$/.exec(header) ?? []
  if (!name) throw refuse('the header is not of the form "ZOS1 KEY TIME SIGNATURE"')
  const time = Number(at)
  if (Math.abs(time - now) > DRIFT) throw refuse(`its time is ${Math.round(Math.abs(time - now))} s from this hub's`)
  if (!verify(null, said(request, time), publicOf(name), Buffer.from(signature!, 'hex')))
    throw refuse('it is not by this key for this request')
  return name
}

const reading = (hub: string, time: number) => Buffer.from(`zos hub reads 1\n${hub}\n${time}`)

/** The `authorization` header of any GET and HEAD at the hub named HUB, for as long as its time is near. */
export function signReads(key: KeyObject, hub: string, time = Math.floor(Date.now() / 1000)): string {
  return `ZOS1-READS ${keyName(key)} ${time} ${sign(null, reading(hub, time), key).toString('hex')}`
}

/** One signature serves for reads of so many milliseconds: half of what a hub's clock may be away from ours. */
const READS = 150_000

/** Such headers, each used for a while. */
export function readsSigner(key: KeyObject, hub: string): () => string {
  let header = ''
  let since = Number.NEGATIVE_INFINITY
  return () => {
    if (performance.now() - since > READS) {
      header = signReads(key, hub)
      since = performance.now()
    }
    return header
  }
}

/** Who signed such a header for one of HUBS, and until when it is good (Unix seconds). One that does not hold is refused. */
export function signerOfReads(
  header: string,
  hubs: readonly string[],
  now = Date.now() / 1000,
): { by: string; until: number } {
  const [, name, at, signature] = /^ZOS1-READS ([0-9a-f]{64}) (\d{1,12}) ([0-9a-f]{128})$/.exec(header) ?? []
  if (!name) throw refuse('the header is not of the form "ZOS1-READS KEY TIME SIGNATURE"')
  const time = Number(at)
  if (Math.abs(time - now) > DRIFT) throw refuse(`its time is ${Math.round(Math.abs(time - now))} s from this hub's`)
  if (!hubs.some((hub) => verify(null, reading(hub, time), publicOf(name), Buffer.from(signature!, 'hex'))))
    throw refuse(`it is not by this key for reading at "${hubs.join('" or "')}"`)
  return { by: name, until: time + DRIFT }
}

/** What an owner lets a reader read: one object, or all that are the owner's ("*"). until: Unix seconds. */
export type Grant = { owner: string; reader: string; id: string; until: number }

const granted = (g: Grant) => Buffer.from(`zos hub grant 1\n${g.owner}\n${g.reader}\n${g.id}\n${g.until}`)

/** A grant as the text that goes into the `x-zos-grant` header. */
export function signGrant(owner: KeyObject, g: Omit<Grant, 'owner'>): string {
  const grant = { owner: keyName(owner), ...g }
  return `${grant.owner} ${g.reader} ${g.id} ${g.until} ${sign(null, granted(grant), owner).toString('hex')}`
}

/** Whether TEXT lets READER read ID, an object of one of OWNERS, now. */
export function grants(
  text: string | undefined,
  { id, owners, reader }: { id: string; owners: readonly string[]; reader: string },
  now = Date.now() / 1000,
): boolean {
  const [, owner, to, what, until, signature] =
    /^([0-9a-f]{64}) ([0-9a-f]{64}) ([0-9a-f]{64}|\*) (\d{1,12}) ([0-9a-f]{128})$/.exec(text ?? '') ?? []
  if (!owner || !owners.includes(owner) || to !== reader || (what !== '*' && what !== id) || Number(until) < now)
    return false
  const grant = { owner, reader: to, id: what!, until: Number(until) }
  return verify(null, granted(grant), publicOf(owner), Buffer.from(signature!, 'hex'))
}
