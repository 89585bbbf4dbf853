import { getRawPointer } from 'node:ffi'
import { setFlagsFromString } from 'node:v8'
import { ZosError } from '#codec'

/**
 * Waits until nothing of this thread is being compiled. As a thread ends Node frees what its calls of C are described by, which
 * V8 may at that moment be reading on another: "FastApiCallNode::ArityForArgc", or a segmentation fault (Node 26.10).
 */
function untilCompiled(): void {
  setFlagsFromString('--allow-natives-syntax')
  const wait = new Function('%FinalizeOptimization()')
  setFlagsFromString('--no-allow-natives-syntax')
  wait()
}
process.once('exit', untilCompiled)

/** Refuses a range outside BYTES: the kernel would read or write whatever lies behind it. */
export function checkRange(bytes: Uint8Array, offset: number, length: number): void {
  if (!(offset >= 0 && length >= 0 && offset + length <= bytes.length))
    throw new ZosError(`Call the kernel with bytes ${offset}+${length} of ${bytes.length}: out of range`, {
      code: 'ffi-range',
      kind: 'bug',
    })
}

let isConfined = false

/**
 * What C is given for a packet: addresses and numbers, each written as halves of a word and read as a BigInt where the call
 * stands. Compiled code makes no object of that; it does of each BigInt, and each number above 2^31, that a function returns.
 */
export type Words = { whole: BigUint64Array<ArrayBuffer>; halves: Uint32Array<ArrayBuffer> }
export function makeWords(count: number): Words {
  const whole = new BigUint64Array(count)
  return { whole, halves: new Uint32Array(whole.buffer) }
}

/** Addresses are below 2^53 on the machines Node runs on, so a number holds one. */
const addresses = new WeakMap<ArrayBufferLike, number>()

function baseOf(buffer: ArrayBufferLike): number | undefined {
  const known = addresses.get(buffer)
  if (known !== undefined || isConfined) return known
  const base = Number(getRawPointer(buffer as ArrayBuffer))
  addresses.set(buffer, base)
  return base
}

type Memory = Uint8Array | Int32Array | Uint32Array | BigUint64Array

/** Where BYTES[offset] lies, for a thread that is not confined. */
export function addressOf(bytes: Memory, offset: number): number {
  const base = baseOf(bytes.buffer)
  if (base === undefined)
    throw new ZosError('Look for the address of memory: this thread is confined', { code: 'confined', kind: 'bug' })
  return base + bytes.byteOffset + offset
}

/**
 * Writes the address of BYTES[offset] to word AT; false where a confined thread has none (it can look up no new ones). Check the
 * range first: an ArrayBuffer does not move and the caller keeps it alive, but one that was transferred has length 0.
 */
export function locate(bytes: Memory, offset: number, { halves }: Words, at: number): boolean {
  const base = baseOf(bytes.buffer)
  if (base === undefined) return false
  const address = base + bytes.byteOffset + offset
  halves[at * 2] = address
  halves[at * 2 + 1] = address / 2 ** 32
  return true
}

/** Memory with a known address, through which bytes without one are copied. */
export type Scratch = { bytes: Buffer; at: number }
export function scratch(size: number): Scratch {
  const bytes = Buffer.allocUnsafeSlow(size)
  return { bytes, at: addressOf(bytes, 0) }
}

/**
 * Bytes reserved for packet buffers, which come and go with peers and cards. Pages that nobody touched take up no memory, whereas
 * what the C library gives was mostly touched before. Enough for 64 peers and as many cards; a buffer that finds no place here
 * costs one copy more per call.
 */
const SLAB = 64 << 20
let slab: Buffer<ArrayBuffer> | undefined
function makeSlab(): Buffer<ArrayBuffer> {
  const made = Buffer.allocUnsafeSlow(SLAB)
  addressOf(made, 0)
  return made
}
let used = 0
/** What was given back, by its size. */
const free = new Map<number, Buffer<ArrayBuffer>[]>()

/** SIZE bytes that calls reach without a copy, on a confined thread too. Give them back by `giveBack`. */
export function callable(size: number): Buffer<ArrayBuffer> {
  const before = free.get(size)?.pop()
  if (before) return before
  slab ??= makeSlab()
  if (used + size > SLAB) return Buffer.allocUnsafeSlow(size)
  const bytes = slab.subarray(used, used + size)
  // words of any size are aligned
  used += (size + 63) & ~63
  return bytes
}

/** Nobody may use BYTES, which `callable` gave, any longer. */
export function giveBack(bytes: Buffer<ArrayBuffer>): void {
  if (bytes.buffer !== slab?.buffer) return
  const others = free.get(bytes.length)
  if (others) others.push(bytes)
  else free.set(bytes.length, [bytes])
}

const bounces: { size: number; made: { bytes: Buffer } }[] = []

/** SIZE bytes to copy memory without an address through. Only a confined thread has such memory, so they are made by `confine`. */
export function bounce(size: number): { readonly bytes: Buffer } {
  const made = { bytes: Buffer.alloc(0) }
  bounces.push({ size, made })
  return made
}

const gone: { own: Record<string, unknown>; opens: boolean }[] = []

/** CALLS, each of which throws once this thread is confined; those that OPEN stay where a thread confines itself with `opens`. */
export function untilConfined<T extends Record<string, unknown>>(calls: T, { opens = false } = {}): T {
  const own = { ...calls }
  gone.push({ own, opens })
  return own
}

const SCOPES = ['ffi', 'fs', 'child', 'worker', 'net', 'addon', 'wasi', 'inspector'] as const
export type Scope = Exclude<(typeof SCOPES)[number], 'ffi'>

/** What this thread may still do, by Node's names; all of it where there is no permission model. */
export const permissions = (): string[] => SCOPES.filter((scope) => process.permission?.has(scope) ?? true)

/**
 * Takes node:ffi away from this thread, for good: no library can be loaded, no function looked up, no address of memory be had,
 * nothing be read or written by one. What stays are the calls that `ffi.ts` and `ffi-gcm.ts` keep, in ranges of memory that
 * were known before; with OPENS also those that open taps and TUNs and give memory back. So are gone files, processes, threads
 * and Node's own sockets, but what it KEEPS; it may be called again to keep less. The thread must have been started with a
 * permission model (`--permission`).
 */
export function confine({ opens = false, keeps = [] }: { opens?: boolean; keeps?: readonly Scope[] } = {}): void {
  const { permission } = process
  if (!permission)
    throw new ZosError('Confine this thread: it was started without a permission model', {
      code: 'no-permission-model',
      kind: 'bug',
    })
  if (!isConfined)
    for (const { size, made } of bounces) {
      made.bytes = callable(size)
      addressOf(made.bytes, 0)
    }
  isConfined = true
  for (const calls of gone)
    if (!(opens && calls.opens))
      for (const name of Object.keys(calls.own))
        calls.own[name] = () => {
          throw new ZosError(`Call ${name}: this thread is confined`, { code: 'confined', kind: 'bug' })
        }
  for (const scope of SCOPES) if (scope === 'ffi' || !keeps.includes(scope)) permission.drop(scope)
}
