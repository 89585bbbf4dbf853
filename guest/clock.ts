import { close, must, O, open, sys } from './native.ts'

/** Unix time in nanoseconds, as decimal text: more than a double holds. */
export function setClock(time: string): void {
  const seconds = Number(time.slice(0, -9))
  const buffer = new Uint8Array(16)
  const view = new DataView(buffer.buffer)
  view.setUint32(0, seconds % 2 ** 32, true)
  view.setUint32(4, Math.floor(seconds / 2 ** 32), true)
  view.setUint32(8, Number(time.slice(-9)), true)
  must('Set the clock', sys('clock_settime', 0, buffer))
}

const TIMEX = { bytes: 208, offset: 8, seconds: 72, microseconds: 80 } // struct timex, linux/timex.h
const ADJ_SETOFFSET = 0x100
const ADJ_OFFSET_SINGLESHOT = 0x8001
/** From here on, in milliseconds, a clock is not off but stood still, or was set elsewhere. */
const FAR = 500

/** Unix time in milliseconds. */
function unixTime(): number {
  const buffer = new Uint8Array(16)
  must('Read the clock', sys('clock_gettime', 0, buffer))
  const view = new DataView(buffer.buffer)
  return (view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true)) * 1000 + view.getUint32(8, true) / 1e6
}

/**
 * Moves the clock by BY milliseconds and gives the Unix time in milliseconds: at once when that is far, else by a two-thousandth
 * of the time that goes by, so that it never goes back.
 */
export function moveClock(by: number): number {
  if (!Number.isFinite(by)) throw new Error(`Move the clock: "${by}" is no number`)
  if (by !== 0) {
    const timex = new Uint8Array(TIMEX.bytes)
    const view = new DataView(timex.buffer)
    const put = (at: number, value: number) => {
      view.setInt32(at, value, true)
      view.setInt32(at + 4, Math.floor(value / 2 ** 32), true)
    }
    view.setUint32(0, Math.abs(by) < FAR ? ADJ_OFFSET_SINGLESHOT : ADJ_SETOFFSET, true)
    if (Math.abs(by) < FAR) put(TIMEX.offset, Math.round(by * 1000))
    else {
      const seconds = Math.floor(by / 1000)
      put(TIMEX.seconds, seconds)
      put(TIMEX.microseconds, Math.floor((by - seconds * 1000) * 1000))
    }
    must('Move the clock', sys('adjtimex', timex))
  }
  return unixTime()
}

const RNDADDENTROPY = 0x40085203
const RNDRESEEDCRNG = 0x5207
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'

export function fromBase64(text: string): Uint8Array {
  const out = new Uint8Array(Math.floor((text.length * 3) / 4))
  let length = 0
  let bits = 0
  let held = 0
  for (const c of text) {
    const value = ALPHABET.indexOf(c)
    if (value < 0) break
    held = ((held << 6) | value) & 0xffffff
    bits += 6
    if (bits >= 8) {
      bits -= 8
      out[length++] = (held >> bits) & 0xff
    }
  }
  return out.subarray(0, length)
}

/** Clones of one template start with one state of the random generator: the host's bytes make them differ. */
export function reseed(entropy: string): void {
  const bytes = fromBase64(entropy)
  if (bytes.length < 32) throw new Error(`Reseed: ${bytes.length} bytes of entropy, at least 32 are needed`)
  // struct rand_pool_info, linux/random.h: bits credited, bytes, data
  const info = new Uint8Array(8 + bytes.length)
  const view = new DataView(info.buffer)
  view.setUint32(0, bytes.length * 8, true)
  view.setUint32(4, bytes.length, true)
  info.set(bytes, 8)
  const fd = must('Open /dev/urandom', open('/dev/urandom', O.WRONLY))
  must('Add entropy', sys('ioctl', fd, RNDADDENTROPY, info))
  must('Reseed', sys('ioctl', fd, RNDRESEEDCRNG, 0))
  close(fd)
}
