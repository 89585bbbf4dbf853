/** In the guest, c/native.c has these in C: QuickJS would take a microsecond per byte for the loops below, more when emulated. */
type Native = { encode(text: string): ArrayBuffer; decode(bytes: Uint8Array, from: number, to: number): string | null }
const { native } = globalThis as { native?: Native }

/**
 * UTF-8 where no byte is lost: a byte that is no valid UTF-8 becomes U+DC80…U+DCFF and back (PEP 383), so that any file
 * name fits a string. Own code because QuickJS has no TextEncoder; host and guest must agree anyway.
 */
export function encodeUtf8(text: string): Uint8Array {
  if (native) return new Uint8Array(native.encode(text))
  const out = new Uint8Array(text.length * 3)
  let at = 0
  for (let i = 0; i < text.length; i++) {
    let c = text.charCodeAt(i)
    if (c < 0x80) {
      out[at++] = c
      continue
    }
    if (c >= 0xdc80 && c <= 0xdcff) {
      out[at++] = c & 0xff
      continue
    }
    const low = text.charCodeAt(i + 1)
    if (c >= 0xd800 && c < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
      c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00)
      i++
      out[at++] = 0xf0 | (c >> 18)
      out[at++] = 0x80 | ((c >> 12) & 0x3f)
    } else if (c >= 0x800) out[at++] = 0xe0 | (c >> 12)
    if (c >= 0x800) out[at++] = 0x80 | ((c >> 6) & 0x3f)
    else out[at++] = 0xc0 | (c >> 6)
    out[at++] = 0x80 | (c & 0x3f)
  }
  return out.subarray(0, at)
}

/** Length of the valid sequence at AT, or 0: rejects overlong forms, surrogates and what is above U+10FFFF (RFC 3629 §4). */
function sequence(bytes: Uint8Array, at: number): number {
  const a = bytes[at]!
  const b = bytes[at + 1] ?? 0
  const tail = (i: number) => ((bytes[at + i] ?? 0) & 0xc0) === 0x80
  if (a >= 0xc2 && a <= 0xdf) return tail(1) ? 2 : 0
  if (a >= 0xe0 && a <= 0xef) {
    const fits = a === 0xe0 ? b >= 0xa0 : a === 0xed ? b < 0xa0 : true
    return fits && tail(1) && tail(2) ? 3 : 0
  }
  if (a >= 0xf0 && a <= 0xf4) {
    const fits = a === 0xf0 ? b >= 0x90 : a === 0xf4 ? b < 0x90 : true
    return fits && tail(1) && tail(2) && tail(3) ? 4 : 0
  }
  return 0
}

export function decodeUtf8(bytes: Uint8Array, from = 0, to = bytes.length): string {
  const plain = native?.decode(bytes, from, to)
  if (plain !== undefined && plain !== null) return plain
  let text = ''
  let units: number[] = []
  for (let at = from; at < to; ) {
    const a = bytes[at]!
    if (a < 0x80) {
      units.push(a)
      at++
    } else {
      const length = sequence(bytes, at)
      if (length === 0 || at + length > to) {
        units.push(0xdc00 | a)
        at++
      } else {
        let c = a & (0xff >> (length + 1))
        for (let i = 1; i < length; i++) c = (c << 6) | (bytes[at + i]! & 0x3f)
        if (c >= 0x10000) units.push(0xd7c0 + (c >> 10), 0xdc00 | (c & 0x3ff))
        else units.push(c)
        at += length
      }
    }
    if (units.length >= 4096) {
      text += String.fromCharCode(...units)
      units = []
    }
  }
  return text + String.fromCharCode(...units)
}
