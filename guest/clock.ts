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
